"""How surely each pixel moves against the camera: residual flow in units of its noise, added up along flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.classical_motion.camera import RIM, CameraStep, camera_displacement, fit_camera
from rotomem.propagation.flow import PlateFlow, carry
from rotomem.propagation.spool import Held, Spool

Floats = NDArray[np.float32]

NOISE_FLOOR_PX = 0.2
"""Flow is no better than this even where frames are the same."""
NOISE_PER_MOTION = 0.02
"""Flow's error grows with the displacement."""
RAYLEIGH_MEDIAN = 1.1774
"""Median length of a vector whose two parts have a standard deviation of 1."""
MOST = 15.0
"""Evidence beyond this counts as this: one fast frame must not outweigh the rest of the shot."""
MEMORY = 0.8
"""What is seen on a frame counts by this power of the distance on others: an object is seen over about ten frames."""
EVIDENCE_STEPS, WEIGHT_STEPS = 255 / MOST, 255 * (1 - MEMORY)
"""What waits is kept in 8 bits; weights reach 1 / (1 - MEMORY)."""

GAPS = (1, 3)
SLOW_PX = 1.5
"""Residual motion (95th percentile) below this from one frame to the next is looked at three frames apart."""
PROBES = 6

SPOOL_BYTES = 1 << 28


class FrameMotion(NamedTuple):
    """One frame.

    Args:
        evidence: (h, w) in [0, MOST], in units of the flow's noise.
        camera: towards the next frame looked at, or the one before at the end; with ``apart`` frames between.
        residual_px: 99th percentile of the motion against the camera, pixels of the flow per frame.
    """

    evidence: Floats
    camera: CameraStep
    apart: int
    residual_px: float


def choose_gap(flow: PlateFlow, frames: range) -> int:
    """Return how many frames apart to look at motion: 3 where neighbours hardly differ, else 1."""
    if len(frames) <= GAPS[1]:
        return GAPS[0]
    motion = []
    for frame in frames[: -1 : max(1, (len(frames) - 1) // PROBES)]:
        pair = flow.pair(frame, frame + 1)
        length, _ = _residual(pair.displacement, fit_camera(pair.displacement, pair.unsure))
        sure = pair.unsure < 0.5
        motion.append(float(np.percentile(length[sure] if sure.any() else length, 95)))
    return GAPS[1] if np.median(motion) < SLOW_PX else GAPS[0]


def frame_motion(flow: PlateFlow, frames: range, frame: int, gap: int) -> FrameMotion:
    """Measure a frame against those ``gap`` before and after it, as far as ``frames`` reaches; at least two frames."""
    others = [other for other in (frame + gap, frame - gap) if other in frames]
    others = others or [other for other in (frame + 1, frame - 1) if other in frames]
    total, weight = np.zeros(flow.size, np.float32), np.zeros(flow.size, np.float32)
    steps, lengths = [], []
    for other in others:
        pair = flow.pair(frame, other)
        step = fit_camera(pair.displacement, pair.unsure)
        length, noise = _residual(pair.displacement, step)
        # What the camera has not shown yet, or no more, has no flow: whatever was found there is no motion.
        shown = _is_shown(camera_displacement(step.homography, flow.size))
        counts = 1.0 - 0.95 * np.maximum(pair.unsure, ~shown)  # unsure alone on both sides: their mean
        total += counts * shown * np.minimum(length / noise, MOST)
        weight += counts
        steps.append(step)
        lengths.append(float(np.percentile(length[shown] if shown.any() else length, 99)) / abs(other - frame))
    return FrameMotion(total / weight, steps[0], others[0] - frame, min(lengths))


def _is_shown(displacement: Floats) -> NDArray[np.bool_]:
    """Return (h, w): False where a displacement leads out of the picture."""
    height, width = displacement.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    x, y = columns + displacement[..., 0], rows + displacement[..., 1]
    return np.asarray((x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1))


def _residual(displacement: Floats, step: CameraStep) -> tuple[Floats, Floats]:
    """Return the length of what flow leaves of the camera's motion, and the noise expected of it, pixels."""
    height, width = displacement.shape[:2]
    left = displacement - camera_displacement(step.homography, (height, width))
    length = np.hypot(left[..., 0], left[..., 1])
    rows, columns = max(1, round(RIM * height)), max(1, round(RIM * width))
    rim = np.concatenate([length[:rows].ravel(), length[-rows:].ravel(), length[:, :columns].ravel()])
    rim = np.concatenate([rim, length[:, -columns:].ravel()])
    # The median over everything is an object's own motion where that fills the picture.
    spread = min(float(np.median(length)), float(np.median(rim))) / RAYLEIGH_MEDIAN
    speed = np.hypot(displacement[..., 0], displacement[..., 1])
    return length, np.hypot(max(NOISE_FLOOR_PX, spread), NOISE_PER_MOTION * speed).astype(np.float32)


class _Sum(NamedTuple):
    total: Floats
    weight: Floats


def gather_evidence(
    flow: PlateFlow, frames: range, measured: Callable[[int], Floats], *, spool_bytes: int = SPOOL_BYTES
) -> Iterator[tuple[int, Floats]]:
    """Add up each frame's evidence and that of the frames around it, carried along flow; nearer ones count more.

    An object that stands still for a moment is so still seen, and an error of one frame's flow is outvoted.

    Args:
        measured: returns a frame's own evidence (h, w); asked for every frame in ascending order, once.

    Yields:
        Frame and its evidence (h, w), frames in **descending** order.
    """
    spool = Spool(spool_bytes)
    waiting: list[tuple[Held, Held, Held]] = []
    before: _Sum | None = None
    for frame in frames:
        own = measured(frame)
        before = _advance(flow, own, before, frame, frame - 1)
        mean = before.total / before.weight
        waiting.append(
            (
                spool.hold(_packed(own, EVIDENCE_STEPS)),
                spool.hold(_packed(mean, EVIDENCE_STEPS)),
                spool.hold(_packed(before.weight, WEIGHT_STEPS)),
            )
        )
    after: _Sum | None = None
    for frame in reversed(frames):
        own_held, mean_held, weight_held = waiting.pop()
        own, mean = (_unpacked(held, flow.size, EVIDENCE_STEPS) for held in (own_held, mean_held))
        weight = _unpacked(weight_held, flow.size, WEIGHT_STEPS)
        after = _advance(flow, own, after, frame, frame + 1)
        yield frame, (mean * weight + after.total - own) / np.maximum(weight + after.weight - 1.0, 1.0)


def _advance(flow: PlateFlow, own: Floats, last: _Sum | None, frame: int, other: int) -> _Sum:
    if last is None:
        return _Sum(own, np.ones_like(own))
    pair = flow.pair(frame, other)
    carried = carry(np.stack(last, axis=-1), pair.displacement)
    counts = MEMORY * (1.0 - pair.unsure)
    return _Sum(own + counts * carried[..., 0], 1.0 + counts * carried[..., 1])


def _packed(values: Floats, scale: float) -> bytes:
    return bytes(np.rint(np.clip(values * scale, 0, 255)).astype(np.uint8).tobytes())


def _unpacked(held: Held, size: tuple[int, int], scale: float) -> Floats:
    return np.frombuffer(held.read(), np.uint8).reshape(size).astype(np.float32) / np.float32(scale)
