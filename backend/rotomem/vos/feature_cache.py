"""Frames' features, kept between passes and rounds of annotation as far as memory allows."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict

import torch
from torch import Tensor

from rotomem.vos.network import FrameFeatures


class FeatureCache:
    """Features by frame number, in two tiers.

    Where room is short, frames lose their finer features first, four fifths of their size and the part that can be
    computed again without the deep end of the encoder; then whole frames go. In both, the least recently used go
    first. A frame's image is kept beside its features and compared, so that a changed plate is never answered from
    the cache.

    With the published widths in float32, a frame of 854 x 480 takes 12.5 MB, and 59 MB with its finer features: 100
    frames fit 1.3 GB, and all of their features 5.9 GB.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._frames: OrderedDict[int, tuple[Tensor, FrameFeatures]] = OrderedDict()
        self._sizes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def byte_count(self) -> int:
        """Bytes held, images included."""
        return sum(self._sizes.values())

    def find(self, frame: int, image: Tensor) -> FrameFeatures | None:
        """Return the features of ``image`` (1, 3, H, W) on that frame, if they are held; ``finer`` may be None."""
        held = self._frames.get(frame)
        if held is None or held[0].shape != image.shape or not torch.equal(held[0], image):
            return None
        self._frames.move_to_end(frame)
        return held[1]

    def keep(self, frame: int, image: Tensor, features: FrameFeatures) -> None:
        """Hold a frame's features; call again when they have grown."""
        self._put(frame, image, features)
        self._frames.move_to_end(frame)
        excess = self.byte_count - self.max_bytes
        for oldest in list(self._frames):
            if excess <= 0:
                return
            excess -= self._drop_finer(oldest)
        while excess > 0:
            oldest, _ = self._frames.popitem(last=False)
            excess -= self._sizes.pop(oldest)

    def _drop_finer(self, frame: int) -> int:
        """Return how many bytes that freed."""
        image, features = self._frames[frame]
        if features.finer is None:
            return 0
        before = self._sizes[frame]
        # A copy: whoever was handed these features may be decoding with them.
        self._put(frame, image, dataclasses.replace(features, finer=None))
        return before - self._sizes[frame]

    def _put(self, frame: int, image: Tensor, features: FrameFeatures) -> None:
        self._frames[frame] = (image, features)
        self._sizes[frame] = sum(tensor.nbytes for tensor in (image, *features.tensors()))
