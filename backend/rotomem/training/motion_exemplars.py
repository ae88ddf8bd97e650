"""Exemplars of training clips: the masks that are truly best, as a good selector would choose them."""

from __future__ import annotations

import torch
from torch import Tensor

from rotomem.motion import Exemplars
from rotomem.motion.losses import true_error_map
from rotomem.motion.selector import choose_exemplars, exemplar_scores, relative_error
from rotomem.training.motion_clips import MotionClips

EXEMPLARS = 4


def true_exemplars(clip: MotionClips, features: Tensor) -> Exemplars:
    """Return each object's four masks of least true error.

    Args:
        features: (B, T, h, w, C) of the frames.
    """
    error = relative_error(true_error_map(clip.masks, clip.modal), clip.masks)
    scores = exemplar_scores(error)
    frames = choose_exemplars(scores, EXEMPLARS)
    batch, count = frames.shape[:2]
    clips = torch.arange(batch, device=frames.device)[:, None, None]
    objects = torch.arange(count, device=frames.device)[:, None]
    return Exemplars(
        masks=clip.masks[clips, frames, objects],
        features=features[clips, frames],
        weights=scores[clips, frames, objects],
        frames=frames,
    )
