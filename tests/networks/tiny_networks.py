"""Networks of a few thousand parameters: what is tested with them holds for any widths and any weights."""

from __future__ import annotations

import torch

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
TINY_WITH_CUE = NetworkConfig(
    key_width=8,
    key_blocks=(1, 1, 1),
    value_width=8,
    value_blocks=(1, 1, 1),
    key_dim=16,
    value_dim=16,
    hidden_dim=8,
    decoder_widths=(16, 16, 8),
    sensory_width=8,
    gate_reduction=4,
    norm="group",
    prior_channels=4,
    prior_width=8,
)
"""For training: without batch statistics, and with the flow cue."""


def random_network() -> Network:
    """Return ``TINY`` with random weights, scaled so that values show in the logits.

    torch's own initialisation lets signals die away.
    """
    torch.manual_seed(0)
    network = Network(TINY).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5)
    return network
