"""Several objects' masks to probabilities that sum to one, background first."""

from __future__ import annotations

import torch
from torch import Tensor

PROBABILITY_MARGIN = 1e-7


def aggregate_log_odds(masks: Tensor) -> Tensor:
    r"""Return log(p / (1 − p)) of background and objects, with :math:`p_0 = \prod_k (1 - p_k)`.

    Source: STM (Oh et al., ICCV 2019), soft aggregation.

    Args:
        masks: (B, K, H, W) in [0, 1].

    Returns:
        (B, K+1, H, W), float32; probabilities are clamped to [1e-7, 1 − 1e-7] first.
    """
    masks = masks.float()
    background = (1 - masks).prod(dim=1, keepdim=True)
    probabilities = torch.cat([background, masks], dim=1)
    probabilities = probabilities.clamp(PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
    return torch.log(probabilities / (1 - probabilities))


def aggregate(masks: Tensor) -> Tensor:
    """Return probabilities (B, K+1, H, W) that sum to one over axis 1, from masks (B, K, H, W) in [0, 1]."""
    return aggregate_log_odds(masks).softmax(dim=1)
