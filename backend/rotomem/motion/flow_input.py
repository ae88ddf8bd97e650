"""Optical flow as the flow segmenter takes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.errors import SettingError


def stack_flow(forward: Tensor, backward: Tensor, size: tuple[int, int]) -> Tensor:
    """Return flow (T, 4, H, W) as :class:`rotomem.motion.FlowSegmenter` takes it, in pixels of the new size.

    The flow that the last frame lacks forward, and the first one backward, is its other one turned round, as in OCLR's
    code (section 0.A.3 of the paper: one gap in both directions).

    Args:
        forward: (T, 2, h, w) pixels, x right and y down, to the frame a gap later; the last frame's is not read.
        backward: (T, 2, h, w) to the frame a gap earlier; the first frame's is not read.
        size: H and W.

    Raises:
        SettingError: shapes that do not belong together.
    """
    if forward.ndim != 4 or forward.shape[1] != 2 or forward.shape != backward.shape or not len(forward):
        raise SettingError(
            f"flow of shapes {tuple(forward.shape)} and {tuple(backward.shape)} is not (frames, 2, height, width) twice"
        )
    both = torch.stack([forward, backward], dim=1).float()
    if len(both) == 1:
        both = torch.zeros_like(both)
    else:
        both[-1, 0], both[0, 1] = -both[-1, 1], -both[0, 0]
    scale = both.new_tensor([size[1] / forward.shape[3], size[0] / forward.shape[2]])[:, None, None]
    small = F.interpolate(both.flatten(0, 1), size=size, mode="bilinear", antialias=True) * scale
    return torch.unflatten(small, 0, (len(both), 2)).flatten(1, 2)
