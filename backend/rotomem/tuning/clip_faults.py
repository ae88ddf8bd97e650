"""What is wrong with annotations and carried mattes in practice, done to those of training clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.tuning.noise import smooth_noise
from rotomem.vos.flow_prior import read_at

FAULTY_ANNOTATIONS = 0.15
DROP_SIDE, DROP_BOTH = 0.15, 0.2
DEFORM, SHIFT, HOLES, WRONG_TRUST = 0.35, 0.15, 0.15, 0.3


def corrupt_annotations(annotations: Tensor, *, generator: torch.Generator) -> Tensor:
    """Dilate, erode or shift some of (B, A, K, H, W); the others are returned as they are."""
    batch, count, _, height, _ = annotations.shape
    flat = annotations.flatten(0, 1)
    radius = 1 + height // 96
    fault = _uniform(len(flat), generator) / FAULTY_ANNOTATIONS
    swollen = F.max_pool2d(flat, 2 * radius + 1, stride=1, padding=radius)
    shrunk = -F.max_pool2d(-flat, 2 * radius + 1, stride=1, padding=radius)
    offset = (_uniform((len(flat), 2), generator) * 2 - 1) * (2 * radius)
    shifted = read_at(flat, offset[..., None, None].expand(-1, 2, *flat.shape[2:]), padding="zeros")
    for low, changed in ((0.0, swollen), (1 / 3, shrunk), (2 / 3, shifted)):
        hit = (fault >= low) & (fault < low + 1 / 3)
        flat = torch.where(hit[:, None, None, None], changed, flat)
    return torch.unflatten(flat, 0, (batch, count))


def corrupt_priors(prior: Tensor, distances: Sequence[int], *, generator: torch.Generator) -> Tensor:
    """Damage some of the carried mattes of one frame.

    Args:
        prior: (B, K, 4, H, W); see ``vos.flow_prior.join_priors``.
        distances: frames to the annotated frame before and after; drift grows with them.
    """
    sides = []
    for side, distance in enumerate(distances):
        matte, trust = prior[:, :, side], prior[:, :, side + 2]
        matte, trust = _displace(matte, trust, distance, generator)
        sides.append(_punch(matte, trust, generator))
    batch = len(prior)
    both = _uniform(batch, generator) < DROP_BOTH
    for side, (matte, trust) in enumerate(sides):
        keep = ~(both | (_uniform(batch, generator) < DROP_SIDE))
        kept = keep[:, None, None, None].to(matte.dtype)
        sides[side] = (matte * kept, trust * kept)
    return torch.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], dim=2)


def _displace(matte: Tensor, trust: Tensor, distance: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bend and shift (B, K, H, W), as drift does; trust moves along, none the wiser."""
    batch, count, height, width = matte.shape
    bend = smooth_noise((batch, 2, height, width), cells=5, generator=generator)
    size = _uniform(batch, generator) * 0.006 * height * distance * _hits(batch, DEFORM, generator)
    jump = (_uniform((batch, 2), generator) * 2 - 1) * 0.05 * height * _hits(batch, SHIFT, generator)[:, None]
    displacement = bend * size[:, None, None, None] + jump[..., None, None]
    moved = read_at(torch.cat([matte, trust], dim=1), displacement)
    return moved[:, :count], moved[:, count:]


def _punch(matte: Tensor, trust: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Fill blobs of some mattes with nothing or with everything, and make trust unreliable."""
    batch, _, height, width = matte.shape
    blob = smooth_noise((batch, 1, height, width), cells=5, generator=generator) > 1.5
    blob = blob & (_hits(batch, HOLES, generator) > 0)[:, None, None, None]
    filling = (_uniform(batch, generator) < 0.4).to(matte.dtype)[:, None, None, None]
    matte = torch.where(blob, filling, matte)
    wrong = smooth_noise((batch, 1, height, width), cells=4, generator=generator).mul(2).sigmoid()
    chosen = _hits(batch, WRONG_TRUST, generator)[:, None, None, None]
    return matte, trust * (1 - chosen + chosen * wrong)


def _uniform(size: int | tuple[int, int], generator: torch.Generator) -> Tensor:
    return torch.rand(size, generator=generator, device=generator.device)


def _hits(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """(count,) of ones and zeros."""
    return (_uniform(count, generator) < probability).float()
