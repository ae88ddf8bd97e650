"""Carrying annotated mattes along optical flow, to be the decoder's prior cue.

A matte is read once, through the composed flow from a frame to the annotated one, so that it is not blurred anew at
each frame. Trust falls by the flows' disagreement at each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

TOLERANCE = 0.04
"""Disagreement of forward and backward flow that halves trust: this share of their lengths, plus half a pixel.
Half a pixel is what interpolation alone costs; the share is Sundaram et al.'s (ECCV 2010) order of magnitude."""
SLACK_PX = 0.5


@dataclass(frozen=True)
class Track:
    """Where the pixels of a frame lie in an annotated frame.

    Args:
        displacement: (B, 2, H, W), pixels, x right and y down.
        trust: (B, 1, H, W) in [0, 1].
    """

    displacement: Tensor
    trust: Tensor


def read_at(content: Tensor, displacement: Tensor, *, padding: str = "border") -> Tensor:
    """Read (B, C, H, W) at each pixel plus ``displacement`` (B, 2, H, W), bilinearly."""
    height, width = displacement.shape[-2:]
    x = torch.arange(width, device=displacement.device, dtype=displacement.dtype)
    y = torch.arange(height, device=displacement.device, dtype=displacement.dtype)[:, None]
    grid = torch.stack(
        [
            (x + displacement[:, 0]) * (2 / max(width - 1, 1)) - 1,
            (y + displacement[:, 1]) * (2 / max(height - 1, 1)) - 1,
        ],
        dim=-1,
    )
    return F.grid_sample(content, grid, mode="bilinear", padding_mode=padding, align_corners=True)


def flow_length(flow: Tensor) -> Tensor:
    """Pixels, (B, 1, H, W); ten times as fast as ``norm``, which reduces a strided axis slowly."""
    return flow.square().sum(dim=1, keepdim=True).sqrt()


def flow_agreement(flow: Tensor, reverse: Tensor) -> Tensor:
    """Trust (B, 1, H, W) in ``flow``: 1 where ``reverse``, read where it leads, leads back; 0 outside the picture.

    Args:
        flow: (B, 2, H, W), pixels, to a neighbouring frame.
        reverse: likewise, of the neighbour, back.
    """
    returned = read_at(reverse, flow)
    error = flow_length(flow + returned)
    scale = SLACK_PX + TOLERANCE * (flow_length(flow) + flow_length(returned))
    inside = read_at(torch.ones_like(error), flow, padding="zeros")
    return inside * torch.exp2(-((error / scale) ** 2))


def extend_track(track: Track | None, flow: Tensor, agreement: Tensor) -> Track:
    """Go one frame further from the annotated one.

    Args:
        track: of the neighbour towards the annotated frame; None if that neighbour is the annotated frame.
        flow: (B, 2, H, W), from this frame to that neighbour.
        agreement: (B, 1, H, W), from :func:`flow_agreement`.
    """
    if track is None:
        return Track(flow, agreement)
    further = read_at(torch.cat([track.displacement, track.trust], dim=1), flow)
    return Track(flow + further[:, :2], agreement * further[:, 2:])


def carry_mattes(track: Track, mattes: Tensor) -> Tensor:
    """Read the annotated frame's mattes (B, K, H, W) along a track."""
    return read_at(mattes, track.displacement).clamp(0, 1)


def join_priors(before: tuple[Tensor, Tensor] | None, after: tuple[Tensor, Tensor] | None, *, like: Tensor) -> Tensor:
    """The decoder's prior (B, K, 4, H, W) from both sides' carried mattes (B, K, H, W) and trust (B, 1, H, W).

    Args:
        before, after: None where there is no annotated frame on that side.
        like: (B, K, H, W), for the shape.
    """
    nothing = torch.zeros_like(like)
    sides = [(nothing, nothing) if side is None else (side[0], side[1].expand_as(like)) for side in (before, after)]
    return torch.stack([sides[0][0], sides[1][0], sides[0][1], sides[1][1]], dim=2)


def carry_through_clip(
    mattes: Tensor, annotated: Sequence[int], forward: Tensor, backward: Tensor
) -> tuple[dict[int, tuple[Tensor, Tensor]], dict[int, tuple[Tensor, Tensor]]]:
    """Carry the nearest annotated mattes to every frame of a short clip.

    Args:
        mattes: (B, T, K, H, W); only annotated frames are read.
        annotated: frames of the clip, ascending.
        forward: (B, T, 2, H, W), flow to the next frame.
        backward: likewise, to the frame before.

    Returns:
        For each side, frame to carried mattes (B, K, H, W) and trust (B, 1, H, W): from the nearest annotated frame
        before, and after. Annotated frames are carried to as well, from their neighbours among the annotated.
    """
    count = mattes.shape[1]
    before = _carry(mattes, set(annotated), range(1, count), backward, forward, step=-1)
    after = _carry(mattes, set(annotated), range(count - 2, -1, -1), forward, backward, step=1)
    return before, after


def _carry(
    mattes: Tensor, annotated: set[int], frames: range, flow: Tensor, reverse: Tensor, *, step: int
) -> dict[int, tuple[Tensor, Tensor]]:
    carried: dict[int, tuple[Tensor, Tensor]] = {}
    track: Track | None = None
    source: int | None = None
    for frame in frames:
        neighbour = frame + step
        if neighbour in annotated:
            track, source = None, neighbour
        if source is None:
            continue
        agreement = flow_agreement(flow[:, frame], reverse[:, neighbour])
        track = extend_track(track, flow[:, frame], agreement)
        carried[frame] = carry_mattes(track, mattes[:, source]), track.trust
    return carried
