"""Sensory memory: a small recurrent state per object that follows motion from frame to frame."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rotomem.vos.config import NetworkConfig
from rotomem.vos.convolution import Convolution


def _gated_update(hidden: Tensor, gates: Tensor) -> Tensor:
    """h' = σ(f)·h·(1−σ(u)) + σ(u)·tanh(n), with ``gates`` holding f, u, n on the channel axis.

    Source: XMem (Cheng & Schwing, ECCV 2022), a GRU with its forget gate on the state.
    """
    forget, update, candidate = gates.float().chunk(3, dim=1)
    update = update.sigmoid()
    return forget.sigmoid() * hidden * (1 - update) + update * candidate.tanh()


class LightUpdate(nn.Module):
    """From the decoder's scales, on each propagated frame that is not memorised."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width16, width8, width4 = config.decoder_widths
        width, hidden_dim = config.sensory_width, config.hidden_dim
        self.g16_conv = nn.Conv2d(width16, width, 1)
        self.g8_conv = nn.Conv2d(width8, width, 1)
        self.g4_conv = nn.Conv2d(width4 + 1, width, 1)
        self.transform = Convolution(width + hidden_dim, 3 * hidden_dim, 3, padding=1)

    def forward(self, g16: Tensor, g8: Tensor, g4: Tensor, logits: Tensor, hidden: Tensor) -> Tensor:
        """Return the new state (n, hidden_dim, h, w).

        Args:
            g16, g8, g4: the decoder's features, (n, C, h, w) at strides 16, 8 and 4.
            logits: (n, 1, 4h, 4w), before the sigmoid.
            hidden: (n, hidden_dim, h, w).
        """
        g4 = torch.cat([g4, logits], dim=1)
        g = self.g16_conv(g16) + self.g8_conv(F.avg_pool2d(g8, 2)) + self.g4_conv(F.avg_pool2d(g4, 4))
        return _gated_update(hidden, self.transform(torch.cat([g, hidden], dim=1)))


class DeepUpdate(nn.Module):
    """From a frame's value, when it is memorised or annotated; takes the place of the light update there."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.transform = Convolution(config.value_dim + config.hidden_dim, 3 * config.hidden_dim, 3, padding=1)

    def forward(self, value: Tensor, hidden: Tensor) -> Tensor:
        """Return the new state (n, hidden_dim, h, w) from ``value`` (n, value_dim, h, w) and the old state."""
        return _gated_update(hidden, self.transform(torch.cat([value, hidden], dim=1)))
