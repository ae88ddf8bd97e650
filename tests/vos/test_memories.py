"""Working and long-term memory, by elements small enough to follow by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rotomem.vos.config import MemoryConfig
from rotomem.vos.long_term_memory import LongTermMemory
from rotomem.vos.memory_bank import MemoryBank
from rotomem.vos.memory_elements import MemoryElements
from rotomem.vos.network import FrameFeatures, Pyramid
from rotomem.vos.permanent_memory import PermanentEntry, PermanentMemory
from rotomem.vos.working_memory import WorkingMemory


def frame_of(keys: list[float]) -> FrameFeatures:
    """One row of pixels with one key channel, shrinkage 1 and selection 1."""
    key = torch.tensor(keys).view(1, 1, 1, -1)
    one = torch.ones_like(key)
    return FrameFeatures(key=key, shrinkage=one, selection=one, f16=one, finer=Pyramid(one, one))


def value_of(values: list[float]) -> Tensor:
    """One object, one value channel: (1, 1, 1, 1, w)."""
    return torch.tensor(values).view(1, 1, 1, 1, -1)


def bank_of(config: MemoryConfig, keys: list[float], values: list[float]) -> MemoryBank:
    permanent = PermanentMemory(1)
    permanent.put(0, PermanentEntry(torch.zeros(1, 1, len(keys)), (True,)), frame_of(keys), value_of(values))
    return MemoryBank(config, permanent)


def test_reading_by_hand() -> None:
    # S = -(k - q)^2: 0 and -4 from q = 1 to keys 1 and 3
    bank = bank_of(MemoryConfig(), [1.0, 3.0], [10.0, 20.0])
    weight = 1 / (1 + math.exp(-4))
    assert bank.read(frame_of([1.0]), [0]).item() == pytest.approx(10 * weight + 20 * (1 - weight))


def test_reading_chunk_by_chunk_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    query = frame_of([0.5, 1.0, 1.5, 2.0, 2.5])
    whole = bank_of(MemoryConfig(), [1.0, 3.0], [10.0, 20.0]).read(query, [0])
    monkeypatch.setattr("rotomem.vos.memory_bank.CHUNK_ELEMENTS", 4)
    bank = bank_of(MemoryConfig(), [1.0, 3.0], [10.0, 20.0])
    torch.testing.assert_close(bank.read(query, [0]), whole)


def test_far_queries_read_the_nearest_element_instead_of_nan() -> None:
    # S = -(0 - 20)^2 = -400, where exp gives 0 in float32
    bank = bank_of(MemoryConfig(), [0.0], [7.0])
    assert bank.read(frame_of([20.0]), [0]).item() == pytest.approx(7)


def test_all_memories_are_read_as_one() -> None:
    bank = bank_of(MemoryConfig(), [0.0], [1.0])
    bank.add(frame_of([0.0]), value_of([4.0]), [True])
    assert bank.read(frame_of([0.0]), [0]).item() == pytest.approx(2.5)


def test_usage_is_affinity_summed_over_queries_per_read_lived_through() -> None:
    bank = bank_of(MemoryConfig(), [0.0], [1.0])
    bank.add(frame_of([0.0]), value_of([1.0]), [True])
    bank.read(frame_of([0.0, 0.0]), [0])  # half of each of two queries
    bank.read(frame_of([0.0, 0.0]), [0])
    working = bank.working.elements
    assert working["usage"].tolist() == pytest.approx([2.0])
    assert working["life"].tolist() == pytest.approx([2 + 1e-7])


def test_usage_comes_from_the_first_group_of_objects_alone() -> None:
    permanent = PermanentMemory(2)
    value = torch.ones(1, 2, 1, 1, 1)
    permanent.put(0, PermanentEntry(torch.zeros(2, 1, 1), (True, False)), frame_of([0.0]), value)
    bank = MemoryBank(MemoryConfig(), permanent)
    bank.add(frame_of([0.0]), value, [True, True])
    bank.read(frame_of([0.0]), [0, 1])
    # Object 0 reads permanent and working memory by halves; object 1 reads working memory alone, and is not counted.
    assert bank.working.elements["usage"].tolist() == pytest.approx([0.5])
    assert bank.working.elements["life"].tolist() == pytest.approx([1.0])


@pytest.mark.parametrize("counted", [True, False])
def test_usage_falls_on_the_elements_that_were_read(counted: bool) -> None:
    config = MemoryConfig(
        min_mid_term_frames=1, max_mid_term_frames=2, num_prototypes=1, count_long_term_usage=counted, top_k=1
    )
    bank = bank_of(config, [50.0], [0.0])
    bank.add(frame_of([0.0, 99.0]), value_of([10.0, 99.0]), [True])
    bank.read(frame_of([0.0]), [0])  # so that key 0 becomes the prototype
    bank.add(frame_of([9.0, 20.0]), value_of([5.0, 6.0]), [True])
    assert (bank.long_term.elements.size, bank.working.elements.size) == (1, 2)

    readout = bank.read(frame_of([0.0, 0.0, 0.0, 20.0, 20.0, 50.0]), [0])
    assert readout.flatten().tolist() == pytest.approx([10, 10, 10, 6, 6, 0])
    assert bank.working.elements["usage"].tolist() == [0, 2]
    assert bank.working.elements["life"].tolist() == pytest.approx([1, 1])
    assert bank.long_term.elements["usage"].tolist() == [3 if counted else 0]
    assert bank.long_term.elements["life"].tolist() == pytest.approx([1 if counted else 0], abs=1e-6)


def test_consolidation_keeps_the_most_used_keys_and_averages_their_values() -> None:
    config = MemoryConfig(
        min_mid_term_frames=1, max_mid_term_frames=2, num_prototypes=1, max_long_term_elements=10, top_k=30
    )
    bank = bank_of(config, [50.0], [0.0])
    bank.add(frame_of([0.0, 1.0]), value_of([10.0, 20.0]), [True])
    bank.read(frame_of([1.0]), [0])  # the element with key 1 is used most
    bank.add(frame_of([9.0, 9.0]), value_of([5.0, 5.0]), [True])

    assert bank.working.frame_count == 1
    weight = 1 / (1 + math.exp(-1))  # similarity of prototype 1 to candidates 1 and 0: 0 and -1
    elements = bank.long_term.elements
    assert elements["value"].flatten().tolist() == pytest.approx([20 * weight + 10 * (1 - weight)])
    # The prototype's key is 1 as it was, less the origin 50: -k^2, 2k, -1 with shrinkage 1
    assert elements["augmented_key"][0].tolist() == pytest.approx([-(49.0**2), -98.0, -1.0])
    assert elements["usage"].tolist() == [0.0]


def test_consolidation_averages_a_late_objects_values_over_its_own_frames() -> None:
    config = MemoryConfig(min_mid_term_frames=1, max_mid_term_frames=3, num_prototypes=1)
    working, memory = WorkingMemory(2), LongTermMemory(2, config)
    for values, readable in (([10.0, 77.0], [True, False]), ([20.0, 5.0], [True, True]), ([0.0, 0.0], [True, True])):
        features = frame_of([0.0])
        working.add(features.key.view(1, 1), features, torch.tensor(values).view(1, 2, 1, 1, 1), readable)
    memory.consolidate(working)
    # All similarities are 0: object 0 averages 10 and 20, object 1 has 5 alone.
    assert memory.elements["value"].flatten().tolist() == pytest.approx([15, 5])
    assert working.elements.is_complete(1)


def filled_long_term(config: MemoryConfig, usage: list[float]) -> LongTermMemory:
    memory = LongTermMemory(1, config)
    count = len(usage)
    columns = {
        "augmented_key": torch.zeros(count, 3),
        "value": torch.arange(count, dtype=torch.float32).view(count, 1, 1),
        "usage": torch.tensor(usage),
        "life": torch.ones(count),
    }
    memory.elements.append(columns, [True])
    return memory


def full_working() -> WorkingMemory:
    working = WorkingMemory(1)
    for value in (100.0, 101.0):
        features = frame_of([0.0])
        working.add(features.key.view(1, 1), features, value_of([value]), [True])
    return working


@pytest.mark.parametrize(
    ("capacity", "kept"),
    [
        (6, [0, 1, 2, 3]),  # room for two more
        (5, [0, 1, 2, 3]),  # exactly full after this: published indexes an empty tensor
        (4, [0, 2, 3]),  # one must go: the least used, element 1
        (3, [0, 2]),  # two must go
    ],
)
def test_the_least_used_are_evicted(capacity: int, kept: list[int]) -> None:
    config = MemoryConfig(
        min_mid_term_frames=1, max_mid_term_frames=2, num_prototypes=1, max_long_term_elements=capacity
    )
    memory = filled_long_term(config, [4.0, 1.0, 3.0, 2.0])
    memory.consolidate(full_working())
    assert memory.elements["value"].flatten().tolist() == [*kept, 100.0]


def test_all_that_tie_with_the_last_to_go_are_evicted() -> None:
    config = MemoryConfig(min_mid_term_frames=1, max_mid_term_frames=2, num_prototypes=1, max_long_term_elements=4)
    memory = filled_long_term(config, [4.0, 1.0, 1.0, 2.0])
    memory.consolidate(full_working())
    assert memory.elements["value"].flatten().tolist() == [0, 3, 100.0]


def test_without_usage_the_oldest_are_evicted() -> None:
    config = MemoryConfig(
        min_mid_term_frames=1,
        max_mid_term_frames=2,
        num_prototypes=1,
        max_long_term_elements=3,
        count_long_term_usage=False,
    )
    memory = filled_long_term(config, [0.0, 0.0, 0.0, 0.0])
    memory.consolidate(full_working())
    assert memory.elements["value"].flatten().tolist() == [2, 3, 100.0]


def test_buffers_grow_without_moving_what_they_hold() -> None:
    elements = MemoryElements(1)
    for row in range(40):
        elements.append({"value": torch.full((1, 1, 1), float(row))}, [True])
    assert elements["value"].flatten().tolist() == list(range(40))
    elements.remove(10, 30)
    assert elements["value"].flatten().tolist() == [*range(10), *range(30, 40)]
    elements.keep(torch.tensor([0, 19]))
    assert elements["value"].flatten().tolist() == [0, 39]
