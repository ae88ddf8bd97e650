"""Recently propagated frames in full, with what consolidation will need to know of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from rotomem.vos.memory_elements import MemoryElements, as_rows, value_rows
from rotomem.vos.network import FrameFeatures
from rotomem.vos.similarity import augment_memory_key

NEWBORN_LIFE = 1e-7
"""Reads that a new element has lived through; above zero, so that usage per read is defined at once."""


class WorkingMemory:
    """Frames in :attr:`elements`, oldest first."""

    def __init__(self, object_count: int) -> None:
        self.elements = MemoryElements(object_count)
        self._frames: deque[tuple[bool, ...]] = deque()
        self._frame_size = 0

    @property
    def frame_count(self) -> int:
        """Frames held."""
        return len(self._frames)

    def knows(self, object_index: int) -> bool:
        """Return True if some frame shows what the object looks like."""
        return any(readable[object_index] for readable in self._frames)

    def add(self, key: Tensor, features: FrameFeatures, value: Tensor, readable: Sequence[bool]) -> None:
        """Add a frame.

        Args:
            key: (h·w, C), centred as in permanent memory.
            features: of the frame.
            value: (1, K, Cv, h, w).
            readable: one flag per object.
        """
        shrinkage = as_rows(features.shrinkage)
        columns = {
            "augmented_key": augment_memory_key(key, shrinkage),
            "value": value_rows(value),
            "key": key,
            "shrinkage": shrinkage,
            "selection": as_rows(features.selection),
            "usage": torch.zeros_like(shrinkage[:, 0]),
            "life": torch.full_like(shrinkage[:, 0], NEWBORN_LIFE),
        }
        self._frame_size = len(key)
        self._frames.append(tuple(readable))
        self.elements.append(columns, readable)

    def rows_but_newest(self, frame_count: int) -> int:
        """Return how many rows lie before the newest ``frame_count`` frames."""
        return max(0, self.frame_count - frame_count) * self._frame_size

    def drop_oldest(self, row_count: int) -> None:
        """Drop whole frames from the front."""
        self.elements.remove(0, row_count)
        frames = islice(self._frames, row_count // self._frame_size, None)
        self._frames = deque(frames)
        self.elements.set_complete([all(flags) for flags in zip(*self._frames, strict=True)])

    def add_object(self) -> None:
        """Make room for one more object, unknown on every present frame."""
        self.elements.add_object()
        self._frames = deque((*readable, False) for readable in self._frames)

    def clear(self) -> None:
        """Forget every frame."""
        self.elements.clear()
        self._frames.clear()
