"""Convolutions that, once training is over, take the fastest way to the same result.

Without gradients, batch normalisation is folded into the weights before it, and wide 3×3 convolutions on a CPU take
Winograd's transform. What is derived from weights is kept beside them and derived anew when they change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from rotomem.vos.winograd import transform_weight, winograd_conv3x3

NARROWEST = 1 << 14
"""Input times output channels from which Winograd's transform was measured to pay: 128 x 128."""
WIDEST_FOR_LARGE_TILES = 1 << 18
"""From 512 x 512 channels on, tiles of 4 would keep four times the weights for 15 % less time."""

NARROWEST_TO_FOLD = 32
"""Output channels; normalising fewer costs no more than looking up what was folded."""

_plain: ContextVar[bool] = ContextVar("plain_arithmetic", default=False)


@contextmanager
def plain_arithmetic() -> Iterator[None]:
    """Compute every convolution and normalisation as it is written, to compare with."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


class Convolution(nn.Conv2d):
    """A convolution, with the same parameters and state as ``nn.Conv2d``.

    Args:
        precise: keep to tiles of 2, whose rounding errors are below those of the direct sum: for what keys are made
            of, since rounding decides which of two nearly equal memory elements is read.
    """

    def __init__(self, *arguments: Any, precise: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._precise = precise
        self._derived: dict[str, tuple[tuple[object, ...], tuple[Tensor, Tensor | None]]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H', W')."""
        return self.partial(x, slice(None))

    def partial(self, x: Tensor, channels: slice, *, bias: bool = True) -> Tensor:
        """Convolve ``x`` with the weights of some of the input channels alone."""
        weight, offset = self.weight[:, channels], self.bias if bias else None
        # The tile first: where there is none, as on CUDA, a compiler can follow what happens.
        tile = self._tile_for(x, weight)
        if not tile or not _may_derive(self.weight):
            return self._direct(x, weight, offset)
        name = f"winograd {tile} {channels.start} {channels.stop}"
        planes, _ = self._derive(name, (self.weight,), lambda: (transform_weight(weight, tile), None))
        return winograd_conv3x3(x, planes, offset, tile)

    def normalised(self, x: Tensor, norm: nn.Module) -> Tensor:
        """Return ``norm`` of this convolution."""
        foldable = isinstance(norm, nn.BatchNorm2d) and not norm.training and self.out_channels >= NARROWEST_TO_FOLD
        if not foldable or not _may_derive(self.weight):
            normed: Tensor = norm(self(x))
            return normed
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        sources = (self.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
        weight, bias = self._derive("folded", sources, lambda: self._fold(norm))
        tile = self._tile_for(x, weight)
        if not tile:
            return self._direct(x, weight, bias)
        planes, bias = self._derive(f"folded {tile}", sources, lambda: (transform_weight(weight, tile), bias))
        return winograd_conv3x3(x, planes, bias, tile)

    def _direct(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolved: Tensor = self._conv_forward(x, weight, bias)
        return convolved

    def _fold(self, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        bias = norm.bias.double() - norm.running_mean.double() * scale
        if self.bias is not None:
            bias = bias + self.bias.double() * scale
        weight = self.weight.double() * scale[:, None, None, None]
        return weight.to(self.weight.dtype), bias.to(self.weight.dtype)

    def _tile_for(self, x: Tensor, weight: Tensor) -> int:
        """Return the side of Winograd's tiles, 0 for the direct sum."""
        if self.kernel_size != (3, 3) or self.stride != (1, 1) or self.padding != (1, 1):
            return 0
        pairs = weight.shape[0] * weight.shape[1]
        if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu") or pairs < NARROWEST:
            return 0
        return 2 if self._precise or pairs >= WIDEST_FOR_LARGE_TILES else 4

    def _derive(
        self, name: str, sources: tuple[Tensor, ...], make: Callable[[], tuple[Tensor, Tensor | None]]
    ) -> tuple[Tensor, Tensor | None]:
        """Return what ``make`` gives, kept until one of ``sources`` changes or is replaced."""
        state = tuple((source.data_ptr(), source._version) for source in sources)
        held = self._derived.get(name)
        if held is None or held[0] != state:
            held = (state, make())
            self._derived[name] = held
        return held[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_derived": {}}


def _may_derive(weight: Tensor) -> bool:
    """Only where no gradient is wanted, and changes of the weights can be noticed."""
    return not (_plain.get() or torch.is_grad_enabled() or weight.is_inference())
