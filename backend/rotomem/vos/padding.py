"""Frames to multiples of the network's stride and back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

STRIDE = 16


@dataclass(frozen=True)
class Padding:
    """Pixels added on each side; the smaller half lies on the left and the top."""

    left: int
    right: int
    top: int
    bottom: int

    @classmethod
    def to_stride(cls, height: int, width: int, *, stride: int = STRIDE) -> Padding:
        """Return what makes (height, width) multiples of ``stride``."""
        extra_y, extra_x = -height % stride, -width % stride
        return cls(left=extra_x // 2, right=extra_x - extra_x // 2, top=extra_y // 2, bottom=extra_y - extra_y // 2)

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Return the padded size of (height, width)."""
        return height + self.top + self.bottom, width + self.left + self.right

    def add(self, x: Tensor) -> Tensor:
        """Surround (..., H, W) by zeros."""
        return F.pad(x, (self.left, self.right, self.top, self.bottom))

    def remove(self, x: Tensor) -> Tensor:
        """Cut what :meth:`add` added from (..., H, W)."""
        height, width = x.shape[-2:]
        return x[..., self.top : height - self.bottom, self.left : width - self.right]
