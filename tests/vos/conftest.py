"""A network of a few thousand parameters with random weights: what is tested here holds for any weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rotomem.vos import Network, NetworkConfig

TINY = NetworkConfig(
    key_width=4,
    key_blocks=(1, 1, 1),
    value_width=4,
    value_blocks=(1, 1, 1),
    key_dim=8,
    value_dim=12,
    hidden_dim=4,
    decoder_widths=(12, 8, 8),
    sensory_width=8,
    gate_reduction=4,
)


@pytest.fixture
def network() -> Network:
    """Random, but scaled so that values show in the logits; torch's own initialisation lets signals die away."""
    torch.manual_seed(0)
    network = Network(TINY).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5)
    return network


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
