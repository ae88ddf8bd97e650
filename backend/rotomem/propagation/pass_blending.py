"""Forward and backward pass to one result, with how far it can be trusted."""

from __future__ import annotations

import math
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEAST_CERTAINTY = 0.1
"""So that two passes which are both at a loss are still blended by distance."""
MAX_HELD_BYTES = 1 << 28
"""A longer gap's first pass lies in a temporary file instead of main memory."""


def forward_weight(frame: int, annotated: Sequence[int]) -> float:
    """Return the forward pass's share at ``frame``, by distance to the annotated frames on both sides.

    Args:
        annotated: frames on which the object is annotated, ascending, at least one.
    """
    left = bisect_right(annotated, frame) - 1
    right = bisect_left(annotated, frame)
    if left < 0:
        return 0.0
    if right == len(annotated):
        return 1.0
    distance = annotated[right] - annotated[left]
    return 1.0 if distance == 0 else (annotated[right] - frame) / distance


def certainty(masks: Tensor) -> Tensor:
    """Return 1 minus the entropy in bits of probabilities: 1 at 0 and 1, 0 at a half."""
    nats = torch.xlogy(masks, masks) + torch.xlogy(1 - masks, 1 - masks)
    return 1 + nats / math.log(2)


def blend_passes(forward: Tensor, backward: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return masks and confidence, both (K, h, w), of two passes' masks.

    Each pass counts by its weight times its certainty; confidence falls where the result is undecided and where the
    passes contradict each other.

    Args:
        forward: (K, h, w) in [0, 1].
        backward: (K, h, w) in [0, 1].
        weights: (K,), the forward pass's share per object; at 0 and 1 the other pass is not asked.
    """
    weights = weights[:, None, None]
    forward_share = weights * (LEAST_CERTAINTY + certainty(forward))
    backward_share = (1 - weights) * (LEAST_CERTAINTY + certainty(backward))
    masks = (forward_share * forward + backward_share * backward) / (forward_share + backward_share)
    asked_both = (weights > 0) & (weights < 1)
    contradiction = torch.where(asked_both, (forward - backward).abs(), 0.0)
    return masks, certainty(masks) * (1 - contradiction)


class HeldPass:
    """One pass's masks over a gap, at network size in 16 bits."""

    def __init__(self, frames: Sequence[int], shape: tuple[int, int, int]) -> None:
        self._first = frames[0]
        full_shape = (len(frames), *shape)
        self._masks: NDArray[np.uint16]
        if 2 * int(np.prod(full_shape)) <= MAX_HELD_BYTES:
            self._masks = np.empty(full_shape, np.uint16)
        else:
            self._file = tempfile.TemporaryFile(prefix="rotomem-pass-")
            self._masks = np.memmap(self._file, np.uint16, "w+", shape=full_shape)

    def put(self, frame: int, masks: Tensor) -> None:
        """Hold masks (K, h, w) in [0, 1]; they come back within 1/131070."""
        self._masks[frame - self._first] = (masks * 65535).round().to(torch.int32).cpu().numpy()

    def get(self, frame: int, device: torch.device) -> Tensor:
        """Return what was put for a frame."""
        return torch.from_numpy(self._masks[frame - self._first].astype(np.float32)).to(device) / 65535
