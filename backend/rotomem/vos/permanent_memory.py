"""Annotated frames: always kept as they are, whatever else is compressed or forgotten."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rotomem.errors import SettingError
from rotomem.vos.memory_elements import MemoryElements, as_rows, value_rows
from rotomem.vos.network import FrameFeatures
from rotomem.vos.similarity import augment_memory_key


@dataclass(frozen=True)
class PermanentEntry:
    """What was annotated on one frame.

    Args:
        masks: (K, H, W) as given, to tell whether a later annotation of the frame differs.
        known: for each object, whether ``masks`` says anything of it; an absent object is known and empty.
        weight: 1 for what an artist has drawn. Less, above 0, marks an entry of lower rank: nobody has drawn it, such
            as an exemplar found by motion; its share in every readout is so many times what its similarity gives.
    """

    masks: Tensor
    known: tuple[bool, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise SettingError(f"a permanent entry's weight is {self.weight}; give more than 0 and at most 1")


class PermanentMemory:
    """Entries by frame number, each h·w rows of :attr:`elements`, in the order in which the frames were first put."""

    def __init__(self, object_count: int) -> None:
        self.elements = MemoryElements(object_count)
        self._entries: dict[int, PermanentEntry] = {}
        self._grid = (0, 0)
        self._origin: Tensor | None = None

    def __contains__(self, frame: int) -> bool:
        return frame in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, frame: int) -> PermanentEntry:
        return self._entries[frame]

    @property
    def frames(self) -> list[int]:
        """Annotated frames in storage order."""
        return list(self._entries)

    @property
    def weighted(self) -> bool:
        """True if some entry is of lower rank."""
        return any(entry.weight < 1 for entry in self._entries.values())

    def forget_undrawn(self, frame: int, *, within: int) -> list[int]:
        """Remove the entries of lower rank ``within`` so many frames of ``frame``; return their frames."""
        near = [other for other, entry in self._entries.items() if entry.weight < 1 and abs(other - frame) <= within]
        for other in near:
            self.forget(other)
        return near

    def knows(self, object_index: int) -> bool:
        """Return True if some entry shows what the object looks like."""
        return any(entry.known[object_index] for entry in self._entries.values())

    def put(self, frame: int, entry: PermanentEntry, features: FrameFeatures, value: Tensor) -> None:
        """Add an entry with its value (1, K, Cv, h, w), or replace that of the same frame where it lies."""
        self._grid = (value.shape[-2], value.shape[-1])
        if self._origin is None:
            self._origin = as_rows(features.key).mean(dim=0)
        augmented_key = augment_memory_key(self.centred_key(features), as_rows(features.shrinkage))
        log_weight = augmented_key.new_full((len(augmented_key),), math.log(entry.weight))
        columns = {"augmented_key": augmented_key, "value": value_rows(value), "log_weight": log_weight}
        if frame in self._entries:
            self.elements.overwrite(self._rows_of(frame).start, columns, entry.known)
        else:
            self.elements.append(columns, entry.known)
        self._entries[frame] = entry
        self._refresh_completeness()

    def centred_key(self, features: FrameFeatures) -> Tensor:
        """Return a frame's key as rows (h·w, C), less the mean key of the first annotated frame.

        Similarity depends on differences of keys alone. Without their common part, the squares that cancel in it are
        small, so that float32 orders memory elements as float64 does, on any device and with any number of threads.
        """
        key = as_rows(features.key)
        return key if self._origin is None else key - self._origin

    def value_of(self, frame: int) -> Tensor:
        """Return a frame's value (1, K, Cv, h, w) for the sensory memory's deep update; it is never encoded twice."""
        rows = self.elements["value"][self._rows_of(frame)]
        return torch.unflatten(rows.permute(1, 2, 0), 2, self._grid)[None]

    def forget(self, frame: int) -> None:
        """Remove exactly that frame's elements."""
        rows = self._rows_of(frame)
        self.elements.remove(rows.start, rows.stop)
        del self._entries[frame]
        self._refresh_completeness()

    def add_object(self) -> None:
        """Make room for one more object, unknown on every present entry."""
        self.elements.add_object()
        for frame, entry in self._entries.items():
            masks = torch.cat([entry.masks, torch.zeros_like(entry.masks[:1])])
            self._entries[frame] = dataclasses.replace(entry, masks=masks, known=(*entry.known, False))

    def _rows_of(self, frame: int) -> slice:
        size = self._grid[0] * self._grid[1]
        start = self.frames.index(frame) * size
        return slice(start, start + size)

    def _refresh_completeness(self) -> None:
        known = [entry.known for entry in self._entries.values()]
        self.elements.set_complete([all(flags) for flags in zip(*known, strict=True)])
