"""What a propagation's own results tell of how much each frame needs the artist; no network is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COVERED = 0.02
"""Matte values above this belong to the object, anti-aliased edges included."""

Figures = NDArray[np.float64]


@dataclass(frozen=True)
class FrameSigns:
    """One figure per frame of T; NaN where it was not measured.

    Args:
        visible: bool; False where the object is not in the picture, or the frame is not to be drawn.
        lost: bool, where the mattes lost an object that should be there.
        uncertainty: in [0, 1], 1 minus confidence.
        disagreement: of forward and backward pass, in [0, 1]; see :func:`pass_disagreement`.
        instability: in [0, 1]; see :func:`temporal_instability`.
    """

    visible: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    uncertainty: Figures
    disagreement: Figures
    instability: Figures


GONE = 0.1
"""A matte with less than this share of the drawn mattes' median area shows the object no more."""


def frame_signs(
    area: Figures, annotated: Sequence[int], *, uncertainty: Figures, disagreement: Figures, instability: Figures
) -> FrameSigns:
    """Tell frames that lost their object from those that have none.

    An almost empty matte whose nearest drawn frame the artist drew empty has no object. Any other one has lost it:
    nothing is less sure than that, whatever confidence the engine has in an empty matte.

    Args:
        area: (T,), share of the picture above one half; NaN where there is no matte.
        annotated: indices of the drawn frames.
        uncertainty, disagreement, instability: (T,), see :class:`FrameSigns`.
    """
    drawn = sorted(annotated)
    seen = [area[frame] for frame in drawn if area[frame] > 0]
    gone = area < (GONE * float(np.median(seen)) if seen else 0.0)
    gone[drawn] = False
    absent = np.zeros(len(area), bool)
    if drawn:
        frames = np.arange(len(area))
        nearest = np.array(drawn)[np.abs(frames[:, None] - np.array(drawn)).argmin(axis=1)]
        absent = area[nearest] == 0
    lost = gone & ~absent
    return FrameSigns(
        visible=~(gone & absent),
        lost=lost,
        uncertainty=np.where(lost, 1.0, uncertainty),
        disagreement=disagreement,
        instability=instability,
    )


def pass_disagreement(forward: Tensor, backward: Tensor) -> Tensor:
    """Return (T,): sum of abs(forward - backward) over sum of max(forward, backward), of mattes (T, K, H, W).

    0 is the same matte, 1 two mattes without a common pixel; 0 where both are empty.
    """
    apart = (forward - backward).abs().flatten(1).sum(dim=1)
    either = torch.maximum(forward, backward).flatten(1).sum(dim=1)
    return apart / either.clamp_min(1.0)


def matte_entropy(probabilities: Tensor) -> Tensor:
    """Return (T,): mean entropy in bits, in [0, 1], over the pixels that may be the object (above ``COVERED``).

    A matte file without a confidence figure has nothing else to tell; its soft edges count too, so figures are for
    comparing the frames of one shot only. 0 where there is no such pixel.

    Args:
        probabilities: (T, K, H, W) in [0, 1].
    """
    nats = -torch.xlogy(probabilities, probabilities) - torch.xlogy(1 - probabilities, 1 - probabilities)
    inside = (probabilities > COVERED).to(nats.dtype)
    summed, count = ((x).flatten(1).sum(dim=1) for x in (nats * inside / math.log(2), inside))
    return summed / count.clamp_min(1.0)


def temporal_instability(mattes: Tensor) -> Tensor:
    """Return (T,): how much each matte differs from its neighbours once each is moved to its centre.

    A difference is :func:`pass_disagreement`; of a frame's two the mean is taken, of one frame alone it is 0. What
    moves through the picture without a change of shape is stable, whatever its speed.

    Args:
        mattes: (T, H, W) in [0, 1], the union of the objects; about 100 pixels on the longer side are enough.
    """
    if len(mattes) < 2:
        return torch.zeros(len(mattes))
    centred = torch.stack([_centred(matte) for matte in mattes])[:, None]
    steps = pass_disagreement(centred[:-1], centred[1:])
    return (torch.cat([steps[:1], steps]) + torch.cat([steps, steps[-1:]])) / 2


def _centred(matte: Tensor) -> Tensor:
    """Move a matte's centre of mass to the middle of a canvas that holds it wherever it was."""
    height, width = matte.shape
    canvas = matte.new_zeros(2 * height, 2 * width)
    mass = float(matte.sum())
    if mass == 0:
        return canvas
    rows = torch.arange(height, dtype=matte.dtype, device=matte.device)
    columns = torch.arange(width, dtype=matte.dtype, device=matte.device)
    y = round(float((matte.sum(dim=1) * rows).sum()) / mass)
    x = round(float((matte.sum(dim=0) * columns).sum()) / mass)
    canvas[height - y : 2 * height - y, width - x : 2 * width - x] = matte
    return canvas
