"""A tiny network, frames and masks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from rotomem.vos import Network
from tiny_networks import random_network


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Rounding depends on the number of threads; bounds near float32's own are for one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def network() -> Network:
    return random_network()


@pytest.fixture
def images() -> Tensor:
    """(12, 3, 40, 56): needs padding on both axes; 3 x 4 memory elements per frame."""
    return torch.randn(12, 3, 40, 56, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def masks() -> Tensor:
    """(12, 2, 40, 56): two soft, moving, disjoint objects."""
    result = torch.zeros(12, 2, 40, 56)
    for frame in range(12):
        result[frame, 0, 5:20, 2 + frame : 20 + frame] = 0.9
        result[frame, 1, 24:36, 30 - frame : 46 - frame] = 1.0
    return result
