"""Frames' features, kept between passes and rounds of annotation as far as memory allows."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from rotomem.vos.network import FrameFeatures


class FeatureCache:
    """Features by frame number; the least recently used go first.

    A frame's image is kept beside its features and compared, so that a changed plate is never answered from the cache.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._frames: OrderedDict[int, tuple[Tensor, FrameFeatures]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._frames)

    def find(self, frame: int, image: Tensor) -> FrameFeatures | None:
        """Return the features of ``image`` (1, 3, H, W) on that frame, if they are held."""
        held = self._frames.get(frame)
        if held is None or held[0].shape != image.shape or not torch.equal(held[0], image):
            return None
        self._frames.move_to_end(frame)
        return held[1]

    def keep(self, frame: int, image: Tensor, features: FrameFeatures) -> None:
        """Hold a frame's features; call again when they have grown."""
        self._frames[frame] = (image, features)
        self._frames.move_to_end(frame)
        sizes = {frame: _byte_count(held, features) for frame, (held, features) in self._frames.items()}
        total = sum(sizes.values())
        while total > self.max_bytes:
            oldest, _ = self._frames.popitem(last=False)
            total -= sizes[oldest]


def _byte_count(image: Tensor, features: FrameFeatures) -> int:
    return sum(tensor.nbytes for tensor in (image, *features.tensors()))
