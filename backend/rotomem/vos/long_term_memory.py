"""Old working memory, compressed to prototypes; bounded by evicting what is read least."""

from __future__ import annotations

import torch
from torch import Tensor

from rotomem.vos.config import MemoryConfig
from rotomem.vos.memory_elements import MemoryElements
from rotomem.vos.similarity import augment_memory_key, augment_query, read_memory, similarity_of
from rotomem.vos.working_memory import NEWBORN_LIFE, WorkingMemory


class LongTermMemory:
    """Prototypes in :attr:`elements`, oldest first."""

    def __init__(self, object_count: int, config: MemoryConfig) -> None:
        self.elements = MemoryElements(object_count)
        self._config = config
        self._known: set[int] = set()

    def knows(self, object_index: int) -> bool:
        """Return True if the object was ever consolidated."""
        return object_index in self._known

    def consolidate(self, working: WorkingMemory) -> None:
        """Take over all but the newest frames of working memory as prototypes.

        Source: XMem §3.3 (prototype selection by usage, memory potentiation), as ``specs/xmem.md`` §2 states it.
        """
        self._make_room()
        source = working.elements
        count = working.rows_but_newest(self._config.min_mid_term_frames)
        usage = source["usage"][:count] / source["life"][:count]
        chosen = usage.topk(min(self._config.num_prototypes, count)).indices
        key, readable = source["key"][chosen], source["readable"][:count]
        query = augment_query(key, source["selection"][chosen])
        similarity = similarity_of(query, source["augmented_key"][:count])
        shrinkage = read_memory(similarity, source["shrinkage"][:count])
        columns = {
            "augmented_key": augment_memory_key(key, shrinkage),
            "value": _potentiate(similarity, source, count),
            "usage": torch.zeros_like(shrinkage[:, 0]),
            "life": torch.full_like(shrinkage[:, 0], NEWBORN_LIFE),
        }
        known = readable.any(dim=0).tolist()
        self._known |= {index for index, flag in enumerate(known) if flag}
        self.elements.append(columns, known)
        working.drop_oldest(count)

    def add_object(self) -> None:
        """Make room for one more object, unknown to every present prototype."""
        self.elements.add_object()

    def clear(self) -> None:
        """Forget every prototype."""
        self.elements.clear()
        self._known.clear()

    def _make_room(self) -> None:
        """Drop elements, if need be, so that ``num_prototypes`` more fit."""
        size = self.elements.size
        excess = size - (self._config.max_long_term_elements - self._config.num_prototypes)
        if excess <= 0:
            return
        if not self._config.count_long_term_usage:
            self.elements.remove(0, excess)
            return
        usage = self.elements["usage"] / self.elements["life"]
        threshold = usage.kthvalue(excess).values
        self.elements.keep(torch.nonzero(usage > threshold).flatten())


def _potentiate(similarity: Tensor, source: MemoryElements, count: int) -> Tensor:
    """Return prototype values (P, K, Cv), each object's read only from rows that know it.

    Args:
        similarity: (P, count) of the prototypes to the candidates, the first ``count`` rows of ``source``.
    """
    values = source["value"][:count]
    if all(source.is_complete(index) for index in range(values.shape[1])):
        return read_memory(similarity, values.flatten(1)).view(-1, *values.shape[1:])
    per_object = []
    for index in range(values.shape[1]):
        hidden = similarity.masked_fill(~source["readable"][:count, index], -torch.inf)
        # An object that no candidate knows has no weights at all; its prototypes are marked unreadable by the caller.
        per_object.append(read_memory(hidden, values[:, index]).nan_to_num(0))
    return torch.stack(per_object, dim=1)
