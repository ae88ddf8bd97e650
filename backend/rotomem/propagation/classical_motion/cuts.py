"""Cuts: where a plate goes from one shot to the next between two frames.

Two signs must agree: the colours' histogram jumps, and flow does not explain the new frame by the old one. A fade or a
dissolve changes colours little by little and keeps what is seen; fast motion keeps its colours; a flash is followed by
the picture before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.engine import FrameSource
from rotomem.propagation.flow import Colours, PlateFlow, carry

SIDE_PX = 160
BINS = 8
HISTOGRAM_JUMP = 0.18
"""Least Hellinger distance of the colours' histograms, in [0, 1]."""
UNEXPLAINED = 0.75
"""Least share of the picture where flow there and back does not return or the carried picture is another one."""
LIKE = 0.5
"""Local correlation above which a carried picture counts as the same, whatever its brightness."""
CORRELATION_PX = 9
FLAT = 4.0
"""Standard deviation, of 255, below which a neighbourhood shows nothing to compare."""
STANDS_OUT = 2.0
"""A cut's histogram jumps this many times as far as those of the frames beside it: a fast fade does not."""


def find_cuts(source: FrameSource, frames: range, *, step: Callable[[], None] = lambda: None) -> list[int]:
    """Return the first frame of each new shot, ascending; the first of ``frames`` is not among them.

    Args:
        step: called after each frame.
    """
    flow = PlateFlow(source, longer_side_px=SIDE_PX)
    histograms: list[NDArray[np.float32]] = []
    for frame in frames:
        histograms.append(_histogram(flow.colours(frame)))
        step()
    jumps = [_hellinger(a, b) for a, b in pairwise(histograms)]
    cuts = []
    for index, jump in enumerate(jumps):
        here = frames[index + 1]
        beside = [jumps[i] for i in (index - 1, index + 1) if 0 <= i < len(jumps)]
        if jump < HISTOGRAM_JUMP or (beside and jump < STANDS_OUT * min(beside)):
            continue
        if not _is_flash(histograms, index, jump) and unexplained(flow, here - 1, here) > UNEXPLAINED:
            cuts.append(here)
    return cuts


def split_at_cuts(frames: range, cuts: Sequence[int]) -> list[range]:
    """Return ``frames`` as ranges without a cut inside."""
    starts = [frames[0], *(cut for cut in cuts if frames[0] < cut <= frames[-1])]
    return [range(first, end) for first, end in zip(starts, [*starts[1:], frames[-1] + 1], strict=True)]


def unexplained(flow: PlateFlow, before: int, after: int) -> float:
    """Return the share of ``before`` that flow does not find in ``after``, in [0, 1]; 0 of flat frames."""
    pair = flow.pair(before, after)
    grey = [cv2.cvtColor(flow.colours(frame), cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in (before, after)]
    likeness, textured = _local_correlation(grey[0], carry(grey[1], pair.displacement))
    if np.count_nonzero(textured) < 0.01 * textured.size:
        return 0.0
    return float(np.mean((likeness < LIKE)[textured] | (pair.unsure > 0.5)[textured]))


def _is_flash(histograms: Sequence[NDArray[np.float32]], index: int, jump: float) -> bool:
    """Whether the picture before the jump comes back at once, or the jump is such a return."""
    came = index + 2 < len(histograms) and _hellinger(histograms[index], histograms[index + 2]) < jump / 2
    went = index >= 1 and _hellinger(histograms[index - 1], histograms[index + 1]) < jump / 2
    return came or went


def _histogram(colours: Colours) -> NDArray[np.float32]:
    counts = np.asarray(cv2.calcHist([colours], [0, 1, 2], None, [BINS] * 3, [0, 256] * 3), dtype=np.float32)
    # Smoothed: a ramp of light moves colours over the edge of a bin.
    for axis in range(3):
        counts = _blur_axis(counts, axis)
    return np.asarray(counts / counts.sum(), dtype=np.float32)


def _blur_axis(counts: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    padded = np.pad(counts, [(1, 1) if i == axis else (0, 0) for i in range(3)], mode="edge")
    moved = [np.take(padded, range(start, start + BINS), axis=axis) for start in range(3)]
    return np.asarray(0.25 * moved[0] + 0.5 * moved[1] + 0.25 * moved[2], dtype=np.float32)


def _hellinger(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum()))))


def _local_correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the correlation of each pixel's neighbourhood, and where there is texture in both."""
    window = (CORRELATION_PX, CORRELATION_PX)

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.boxFilter(values, -1, window), dtype=np.float32)

    mean_a, mean_b = mean(a), mean(b)
    variance_a = np.maximum(mean(a * a) - mean_a**2, 0.0)
    variance_b = np.maximum(mean(b * b) - mean_b**2, 0.0)
    textured = (variance_a > FLAT**2) | (variance_b > FLAT**2)
    correlation = (mean(a * b) - mean_a * mean_b) / np.sqrt(np.maximum(variance_a * variance_b, 1e-3))
    return np.asarray(correlation, dtype=np.float32), textured
