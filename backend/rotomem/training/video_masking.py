"""Masked Video Consistency: hide parts of the picture, and ask for the whole matte all the same.

Source: Liang et al., Rethinking Video Segmentation with Masked Video Consistency (2024), equations 1, 2 and 4. The
paper leaves the share of masked clips and the weight open; here a quarter of the clips, weight 1. A tube hides the same
patches in all frames of a clip; annotated frames are never hidden, since what is told must stay seen.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CLIP_SHARE = 0.25
MASK_RATIO = 0.7
OBJECT_SHARE = 0.3
"""Of the masked clips, those in which only patches on an object are hidden: then time alone can tell it."""


def tube_mask(truth: Tensor, query_frames: list[int], *, patch_px: int, generator: torch.Generator) -> Tensor:
    """What stays visible, (B, T, 1, H, W) of ones and zeros, to multiply normalised images by.

    Args:
        truth: (B, T, K, H, W).
        query_frames: frames that may be hidden.
        patch_px: side of a patch; 32 as in the paper at 256 pixels and more.
    """
    batch, frames, _, height, width = truth.shape
    grid = (-(-height // patch_px), -(-width // patch_px))
    draw = torch.rand(batch, *grid, generator=generator, device=truth.device)
    visible = (draw > MASK_RATIO).float()
    chosen, kind = torch.rand(2, batch, generator=generator, device=truth.device)
    objects = F.adaptive_max_pool2d(truth[:, query_frames].amax((1, 2))[:, None], grid)[:, 0] > 0.1
    on_object = torch.where(objects, visible, torch.ones_like(visible))
    visible = torch.where((kind < OBJECT_SHARE)[:, None, None], on_object, visible)
    visible = torch.where((chosen < CLIP_SHARE)[:, None, None], visible, torch.ones_like(visible))
    tube = visible.repeat_interleave(patch_px, 1).repeat_interleave(patch_px, 2)[:, :height, :width]
    kept = torch.ones(batch, frames, 1, height, width, device=truth.device)
    kept[:, query_frames] = tube[:, None, None]
    return kept
