"""Optical flow as an estimator would see it: by DIS, or exact flow with an estimator's faults.

The prior cue at inference comes from estimated flow, whose faults the network must know.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.training.synthetic import ShotBatch
from rotomem.tuning.noise import smooth_noise
from rotomem.vos.flow_prior import flow_length


def estimate_flows(shots: ShotBatch, *, generator: torch.Generator, real_share: float) -> tuple[Tensor, Tensor]:
    """Flow (B, T, 2, H, W) in pixels to the next frame, and to the one before.

    Args:
        generator: on the shots' device.
        real_share: of the shots, that are given DIS flow; DIS runs on the CPU, so 0 on a GPU.
    """
    forward = imitate_estimate(shots.flow_forward, shots.occluded_forward, generator=generator)
    backward = imitate_estimate(shots.flow_backward, shots.occluded_backward, generator=generator)
    draw = torch.rand(len(shots.rgb), generator=generator, device=shots.rgb.device)
    for index in torch.nonzero(draw < real_share).flatten().tolist():
        forward[index], backward[index] = dis_flows(shots.rgb[index])
    return forward, backward


def dis_flows(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """DIS flow (T, 2, H, W) of frames (T, 3, H, W) in [0, 1]; zeros where there is no next, or previous, frame."""
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    frames = (rgb.mean(1) * 255).round().to(torch.uint8).cpu().numpy()
    forward = torch.zeros(len(rgb), 2, *rgb.shape[-2:])
    backward = torch.zeros_like(forward)
    for here in range(len(frames) - 1):
        there = here + 1
        unguessed = np.zeros((*frames[here].shape, 2), np.float32)
        forward[here] = torch.from_numpy(estimator.calc(frames[here], frames[there], unguessed)).movedim(-1, 0)
        unguessed = np.zeros_like(unguessed)
        backward[there] = torch.from_numpy(estimator.calc(frames[there], frames[here], unguessed)).movedim(-1, 0)
    return forward.to(rgb.device), backward.to(rgb.device)


def imitate_estimate(flow: Tensor, occluded: Tensor, *, generator: torch.Generator) -> Tensor:
    """Exact flow (B, T, 2, H, W) made wrong as estimators are.

    Motion bleeds over edges, hidden surfaces take their neighbours' motion, large motion is lost in patches, and
    everything is a little off.

    Args:
        occluded: (B, T, H, W) bool.
    """
    batch, frames, _, height, width = flow.shape
    flat, seen = flow.flatten(0, 1), (~occluded).flatten(0, 1)[:, None].to(flow.dtype)
    smeared = _smear(flat, seen, radius=max(2, height // 32))
    lost = _smear(flat, seen, radius=max(4, height // 8))
    bleeding = smooth_noise((batch * frames, 1, height, width), cells=6, generator=generator).sigmoid() * seen
    estimate = bleeding * flat + (1 - bleeding) * smeared
    holes = smooth_noise((batch * frames, 1, height, width), cells=4, generator=generator) > 1.3
    estimate = torch.where(holes, lost, estimate)
    wobble = smooth_noise((batch * frames, 2, height, width), cells=8, generator=generator)
    estimate = estimate + wobble * (0.1 + 0.04 * flow_length(estimate))
    return torch.unflatten(estimate, 0, (batch, frames))


def _smear(flow: Tensor, seen: Tensor, *, radius: int) -> Tensor:
    """Mean flow of the seen surfaces within about ``radius`` pixels; found small, as a box that wide is slow."""

    def blur(value: Tensor) -> Tensor:
        small = F.interpolate(value, scale_factor=1 / radius, mode="area", recompute_scale_factor=True)
        mean = F.avg_pool2d(small, 3, stride=1, padding=1, count_include_pad=False)
        return F.interpolate(mean, value.shape[-2:], mode="bilinear", align_corners=False)

    return blur(flow * seen) / blur(seen).clamp_min(1e-3)
