"""Reading from long-term, working and permanent memory as if they were one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rotomem.vos.config import MemoryConfig
from rotomem.vos.long_term_memory import LongTermMemory
from rotomem.vos.memory_elements import MemoryElements, as_rows
from rotomem.vos.network import FrameFeatures
from rotomem.vos.permanent_memory import PermanentMemory
from rotomem.vos.similarity import augment_query, gather_readout, similarity_of, top_k_softmax
from rotomem.vos.working_memory import WorkingMemory

CHUNK_ELEMENTS = 1 << 24
"""Similarities held at once (64 MiB in float32): queries are read in chunks, so that a long shot at high resolution
costs time but not memory."""


class MemoryBank:
    """The memories of one pass over a shot; permanent memory may be shared with other passes."""

    def __init__(self, config: MemoryConfig, permanent: PermanentMemory) -> None:
        object_count = permanent.elements.object_count
        self.permanent = permanent
        self.working = WorkingMemory(object_count)
        self.long_term = LongTermMemory(object_count, config)
        self._config = config

    def knows(self, object_index: int) -> bool:
        """Return True if the object can be read at all."""
        return any(memory.knows(object_index) for memory in (self.permanent, self.working, self.long_term))

    def add(self, features: FrameFeatures, value: Tensor, readable: Sequence[bool]) -> None:
        """Memorise a propagated frame with its value (1, K, Cv, h, w); consolidates when working memory is full."""
        self.working.add(self.permanent.centred_key(features), features, value, readable)
        if self.working.frame_count >= self._config.max_mid_term_frames:
            self.long_term.consolidate(self.working)

    def read(self, features: FrameFeatures, objects: Sequence[int]) -> Tensor:
        """Return (1, len(objects), Cv, h, w), read for each pixel from the ``top_k`` elements most like it.

        Every one of ``objects`` must be known. Usage is counted in working memory and, if configured, in long-term
        memory, from the first group of objects that share an affinity.
        """
        query = augment_query(self.permanent.centred_key(features), as_rows(features.selection))
        memories = [m.elements for m in (self.long_term, self.working, self.permanent) if m.elements.size]
        offsets = [0]
        for memory in memories:
            offsets.append(offsets[-1] + memory.size)
        groups = _group_by_affinity(memories, objects)
        values = [[_values_of(memory, group) for memory in memories] for group in groups]
        chunk = max(1, CHUNK_ELEMENTS // offsets[-1])
        usage = query.new_zeros(offsets[-1])
        parts: list[list[Tensor]] = [[] for _ in groups]
        for rows in torch.split(query, chunk):
            similarity = rows.new_empty(len(rows), offsets[-1])
            for memory, start, stop in zip(memories, offsets, offsets[1:], strict=False):
                similarity_of(rows, memory["augmented_key"], out=similarity[:, start:stop])
            if self.permanent.weighted:
                similarity[:, offsets[-2] :] += self.permanent.elements["log_weight"]
            for index, group in enumerate(groups):
                readable = _mask_unreadable(similarity, memories, group[0])
                indices, weights = top_k_softmax(readable, self._config.top_k)
                parts[index].append(_gather(values[index], offsets, indices, weights))
                if index == 0:
                    usage.scatter_add_(0, indices.flatten(), weights.flatten())
        self._count_usage(usage)
        return _assemble(parts, groups, objects, features.key.shape[-2:])

    def follow_permanent_objects(self) -> None:
        """Make room in the memories of this pass for objects that joined permanent memory, from whichever pass."""
        while self.working.elements.object_count < self.permanent.elements.object_count:
            self.working.add_object()
            self.long_term.add_object()

    def clear_temporary(self) -> None:
        """Forget working and long-term memory."""
        self.working.clear()
        self.long_term.clear()

    def _count_usage(self, usage: Tensor) -> None:
        """Add one read's usage, (N,) over long-term, working and permanent elements in this order."""
        start = self.long_term.elements.size
        counted = [(self.working.elements, start)]
        if self._config.count_long_term_usage:
            counted.append((self.long_term.elements, 0))
        for elements, offset in counted:
            if elements.size:
                elements["usage"].add_(usage[offset : offset + elements.size])
                elements["life"].add_(1)


def _group_by_affinity(memories: Sequence[MemoryElements], objects: Sequence[int]) -> list[list[int]]:
    """Return objects that may read every element as one group, and each other object alone."""
    complete = [index for index in objects if all(memory.is_complete(index) for memory in memories)]
    partial = [[index] for index in objects if index not in complete]
    return [complete, *partial] if complete else partial


def _values_of(memory: MemoryElements, group: Sequence[int]) -> Tensor:
    """Return (N, len(group) · Cv), contiguous; a view in the usual case of all objects."""
    values = memory["value"]
    if len(group) < values.shape[1]:
        values = values[:, group]
    return values.flatten(1)


def _mask_unreadable(similarity: Tensor, memories: Sequence[MemoryElements], object_index: int) -> Tensor:
    if all(memory.is_complete(object_index) for memory in memories):
        return similarity
    readable = torch.cat([memory["readable"][:, object_index] for memory in memories])
    return similarity.masked_fill(~readable, -torch.inf)


def _gather(values: Sequence[Tensor], offsets: Sequence[int], indices: Tensor, weights: Tensor) -> Tensor:
    """Read each memory with the weights that fall into it, and sum: (Q, C)."""
    if len(values) == 1:
        return gather_readout(values[0], indices, weights)
    total: Tensor | None = None
    for table, start, stop in zip(values, offsets, offsets[1:], strict=False):
        inside = (indices >= start) & (indices < stop)
        readout = gather_readout(table, (indices - start).clamp(0, stop - start - 1), weights * inside)
        total = readout if total is None else total.add_(readout)
    assert total is not None  # read() is called with at least one known object, hence with elements
    return total


def _assemble(
    parts: Sequence[Sequence[Tensor]], groups: Sequence[Sequence[int]], objects: Sequence[int], grid: Sequence[int]
) -> Tensor:
    """Return (1, len(objects), Cv, h, w) in the order of ``objects`` from chunks (Q, len(group) · Cv)."""
    by_object: dict[int, Tensor] = {}
    for chunks, group in zip(parts, groups, strict=True):
        readout = torch.unflatten(torch.cat(list(chunks)), 1, (len(group), -1))
        by_object.update(zip(group, readout.unbind(1), strict=True))
    stacked = torch.stack([by_object[index] for index in objects])
    return torch.unflatten(stacked.transpose(1, 2), 2, list(grid))[None]
