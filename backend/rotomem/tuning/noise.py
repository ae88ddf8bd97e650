"""Smooth random fields."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def smooth_noise(shape: tuple[int, int, int, int], *, cells: int, generator: torch.Generator) -> Tensor:
    """Noise (B, C, H, W) of about unit variance that varies over ``cells`` cells along each side."""
    batch, channels, height, width = shape
    coarse = torch.randn(batch, channels, cells, cells, generator=generator, device=generator.device)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True) * 1.3
