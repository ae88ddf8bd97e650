"""Annotated frames as a network that knows the flow cue takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rotomem.propagation.engine import Annotations, Image
from rotomem.propagation.flow import PlateFlow, resize_area
from rotomem.propagation.held_out_cues import Floats, held_out_cues
from rotomem.propagation.network_frames import IMAGENET_MEAN, IMAGENET_STD
from rotomem.tuning.shot_augmentation import AnnotatedFrames

MOST_TUNED = 16
"""Annotated frames that tuning learns from; of more, evenly chosen ones."""


def frames_to_learn(
    plate: PlateFlow,
    annotations: Annotations,
    annotated: Mapping[str, Sequence[int]],
    *,
    device: torch.device,
    cancelled: Callable[[], bool],
) -> AnnotatedFrames:
    """Return annotated frames, with what flow carries to each from the others.

    Args:
        annotated: frames of each object, ascending.
    """
    every = sorted({frame for frames in annotated.values() for frame in frames})
    chosen = sorted({every[round(at)] for at in np.linspace(0, len(every) - 1, min(len(every), MOST_TUNED))})
    cues = held_out_cues(plate, annotations, annotated, wanted=chosen, cancelled=cancelled)
    names = list(annotated)
    nothing: Floats = np.zeros((4, *plate.size), np.float32)
    priors = [[cues.get((frame, name), nothing) for name in names] for frame in chosen]
    masks = [masks_of(annotations.get(frame, {}), names, plate.size) for frame in chosen]
    return AnnotatedFrames(
        images=torch.stack([picture(plate, frame) for frame in chosen]).to(device),
        mattes=torch.stack(masks).to(device),
        known=torch.tensor([[frame in annotated[name] for name in names] for frame in chosen], device=device),
        priors=torch.from_numpy(np.asarray(priors)).to(device) if cues else None,
    )


def masks_of(given: Mapping[str, Image], names: Sequence[str], size: tuple[int, int]) -> Tensor:
    """Return mattes (K, h, w) at the flow's size, zeros where nothing is known."""
    nothing = np.zeros(size, np.float32)
    masks = [resize_area(given[name], size) if name in given else nothing for name in names]
    return torch.from_numpy(np.stack(masks)).clamp(0, 1)


def picture(plate: PlateFlow, frame: int) -> Tensor:
    """Return (3, h, w) in [0, 1]."""
    return torch.from_numpy(plate.colours(frame).astype(np.float32) / np.float32(255)).permute(2, 0, 1)


def normalised(plate: PlateFlow, frame: int, device: torch.device) -> Tensor:
    """Return (3, h, w) as the network takes it."""
    mean = torch.tensor(IMAGENET_MEAN, device=device)[:, None, None]
    std = torch.tensor(IMAGENET_STD, device=device)[:, None, None]
    return (picture(plate, frame).to(device) - mean) / std
