"""Motion networks of a few thousand parameters, with features that need no weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.motion import (
    Corrector,
    CorrectorConfig,
    FlowConfig,
    FlowSegmenter,
    MotionNetworks,
    Selector,
    SelectorConfig,
)

FEATURES = 8
TINY_FLOW = FlowConfig(width=1, layers=1, heads=2, feedforward=8)
TINY_SELECTOR = SelectorConfig(width=1, feature_dim=FEATURES, layers=1, heads=2, feedforward=8)
TINY_CORRECTOR = CorrectorConfig(width=2, feature_dim=FEATURES, layers=1, heads=2, feedforward=8, alpha_width=8)


def mean_colours(images: Tensor, stride: int) -> Tensor:
    """Return (N, H/stride, W/stride, FEATURES): the cells' colours, then zeros."""
    small = F.avg_pool2d(images, stride).permute(0, 2, 3, 1)
    return F.pad(small, (0, FEATURES - 3))


def tiny_motion_networks(area: int = 48 * 80) -> MotionNetworks:
    """Return networks with random weights, the same ones each time."""
    torch.manual_seed(0)
    return MotionNetworks(
        FlowSegmenter(TINY_FLOW).eval(),
        Selector(TINY_SELECTOR).eval(),
        Corrector(TINY_CORRECTOR).eval(),
        lambda images: mean_colours(images, 16),
        lambda images: mean_colours(images, 8),
        area=area,
        adaptation_rate=1e-2,
    )
