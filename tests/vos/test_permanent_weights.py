"""Entries of lower rank in permanent memory: weighted in the similarity, replaced by what is drawn nearby."""

from __future__ import annotations

import math

import pytest
import torch

from rotomem.errors import SettingError
from rotomem.vos import InferenceCore, MemoryConfig
from rotomem.vos.memory_bank import MemoryBank
from rotomem.vos.network import FrameFeatures, Pyramid
from rotomem.vos.permanent_memory import PermanentEntry, PermanentMemory
from tiny_networks import random_network


def frame_of(key: float) -> FrameFeatures:
    """One pixel with one key channel, shrinkage 1 and selection 1."""
    one = torch.ones(1, 1, 1, 1)
    return FrameFeatures(key=one * key, shrinkage=one, selection=one, f16=one, finer=Pyramid(one, one))


def value_of(value: float) -> torch.Tensor:
    """One object, one value channel."""
    return torch.full((1, 1, 1, 1, 1), value)


def entry(weight: float = 1.0) -> PermanentEntry:
    return PermanentEntry(torch.zeros(1, 1, 1), (True,), weight)


def test_an_entrys_weight_multiplies_its_share_in_the_readout() -> None:
    permanent = PermanentMemory(1)
    permanent.put(0, entry(), frame_of(1.0), value_of(10.0))
    permanent.put(5, entry(0.25), frame_of(1.0), value_of(20.0))
    bank = MemoryBank(MemoryConfig(), permanent)
    # Equally like the query: shares 1 and 0.25.
    assert bank.read(frame_of(1.0), [0]).item() == pytest.approx((10 + 0.25 * 20) / 1.25)
    # S = -(k - q)^2 = -4 for the drawn one, 0 for the other: shares exp(-4) and 0.25.
    permanent.put(0, entry(), frame_of(3.0), value_of(10.0))
    share = math.exp(-4)
    assert bank.read(frame_of(1.0), [0]).item() == pytest.approx((10 * share + 0.25 * 20) / (share + 0.25), rel=1e-4)
    assert permanent.weighted
    permanent.forget(5)
    assert not permanent.weighted


def test_entries_of_lower_rank_are_told_from_drawn_ones() -> None:
    permanent = PermanentMemory(1)
    for frame, weight in ((0, 1.0), (4, 0.5), (6, 0.9), (9, 0.5)):
        permanent.put(frame, entry(weight), frame_of(1.0), value_of(1.0))
    assert permanent.forget_undrawn(6, within=2) == [4, 6]
    assert permanent.frames == [0, 9]


@pytest.mark.parametrize("weight", [0.0, -1.0, 1.5, math.nan])
def test_weights_that_make_no_sense_are_refused(weight: float) -> None:
    with pytest.raises(SettingError, match="a permanent entry's weight"):
        entry(weight)


def test_what_is_drawn_takes_the_place_of_exemplars_nearby() -> None:
    torch.manual_seed(0)
    core = InferenceCore(random_network(), MemoryConfig())
    image, masks = torch.randn(3, 32, 32), torch.zeros(1, 32, 32)
    masks[:, 8:20, 8:20] = 1
    core.memorize(10, image, masks, weight=0.6)
    core.memorize(20, image, masks, weight=0.6)
    assert core.memory.permanent[10].weight == 0.6
    core.memorize(12, image, masks)
    assert core.memory.permanent.frames == [20, 12]
    core.memorize(20, image, masks)
    assert core.memory.permanent[20].weight == 1
