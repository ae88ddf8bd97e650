"""Correction of a whole clip: objects in groups, frames in windows (sections 3.3 and 0.A.3)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.motion.corrector import Corrector, Exemplars
from rotomem.motion.frames import windows

WINDOW = 7


def gather_exemplars(masks: Tensor, features: Tensor, scores: Tensor, frames: Tensor) -> Exemplars:
    """Return a clip's exemplars, with a batch axis of 1.

    Args:
        masks: (T, K, H, W) in {0, 1}.
        features: (T, h, w, C) of the frames.
        scores: (T, K) the selector's, at least 0.
        frames: (K, t) the exemplars' frames.
    """
    objects = torch.arange(len(frames), device=frames.device)[:, None]
    return Exemplars(
        masks=masks[frames, objects][None],
        features=features[frames][None],
        weights=scores[frames, objects][None],
        frames=frames[None],
    )


@torch.no_grad()
def correct_masks(
    network: Corrector,
    images: Tensor,
    masks: Tensor,
    features: Tensor,
    scores: Tensor,
    exemplar_frames: Tensor,
    *,
    edges_from_masks: bool = True,
    step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return the corrected masks' probabilities (T, K, H, W), on the CPU; any T from 1 and any K from 1.

    Objects are corrected ``network.config.objects`` at a time, empty ones filling the last group; frames in windows of
    7, the last of which is moved back to the clip's end and overwrites. Memory grows with a window, not with the clip.

    Args:
        images: (T, 3, H, W) normalised frames.
        masks: (T, K, H, W) flow-predicted masks in {0, 1}.
        features: (T, H/8, W/8, feature_dim) of the frames.
        scores: (T, K) the selector's.
        exemplar_frames: (K, t) ascending.
        edges_from_masks: show flow-predicted masks to the upsampler; an adapted network was never shown them.
        step: called before each window; may raise to stop.
    """
    device = next(network.parameters()).device
    corrected = torch.zeros(masks.shape, dtype=torch.float32)
    for first in range(0, masks.shape[1], network.config.objects):
        group = slice(first, first + network.config.objects)
        filling = network.config.objects - len(exemplar_frames[group])
        group_masks = F.pad(masks[:, group], (0, 0, 0, 0, 0, filling))
        group_frames = F.pad(exemplar_frames[group].T, (0, filling)).T
        exemplars = gather_exemplars(group_masks, features, F.pad(scores[:, group], (0, filling)), group_frames)
        exemplars = Exemplars(*(tensor.to(device) for tensor in exemplars))
        for window in windows(len(images), WINDOW):
            step()
            span = slice(window.start, window.stop)
            logits = network(
                images[None, span].to(device),
                group_masks[None, span].to(device),
                features[None, span].to(device),
                exemplars,
                frames=torch.arange(window.start, window.stop, device=device),
                shown=torch.tensor([edges_from_masks], device=device),
            ).logits
            corrected[span, group] = logits[0].float().sigmoid().cpu()[:, : masks[:, group].shape[1]]
    return corrected


def assign_pixels(probabilities: Tensor) -> Tensor:
    """Return masks (..., K, H, W) in {0, 1}: a pixel goes to its likeliest object, if that is above 1/2."""
    best = probabilities.amax(dim=-3, keepdim=True)
    first = probabilities.argmax(dim=-3, keepdim=True)
    objects = torch.arange(probabilities.shape[-3], device=probabilities.device)[:, None, None]
    return ((first == objects) & (best > 0.5)).to(probabilities.dtype)
