"""How well mattes agree with the truth: region similarity J, boundary accuracy F, temporal stability T.

Source of J and F: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR
2016, section 4. T is of our own, see :func:`temporal_stability`. All are measured on binary masks; a soft matte is cut
at 0.5.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

BOUND_FRACTION = 0.008
"""Tolerance of F as a fraction of the image diagonal, as the benchmark sets it."""


def binarise(matte: NDArray[Any]) -> Mask:
    """Cut a matte at 0.5; 0.5 itself is outside.

    Args:
        matte: (H, W) in [0, 1], or already binary.
    """
    return matte if matte.dtype == np.bool_ else matte > 0.5


def region_j(matte: NDArray[Any], truth: NDArray[Any]) -> float:
    """Intersection over union; 1 where both are empty.

    Args:
        matte: (H, W) in [0, 1].
        truth: likewise.
    """
    ours, theirs = binarise(matte), binarise(truth)
    union = np.count_nonzero(ours | theirs)
    return np.count_nonzero(ours & theirs) / union if union else 1.0


def boundary_f(matte: NDArray[Any], truth: NDArray[Any], *, bound_px: int | None = None) -> float:
    """F-measure of the boundaries: 2PR / (P + R).

    P is the share of our boundary pixels within ``bound_px`` of a true boundary pixel, R the share of true ones within
    it of ours. Two empty boundaries agree (1); one empty and one not do not (0).

    Args:
        matte: (H, W) in [0, 1].
        truth: likewise.
        bound_px: radius of the disk; by default ``ceil(0.008 * diagonal)``.
    """
    ours, theirs = boundary_map(binarise(matte)), boundary_map(binarise(truth))
    count_ours, count_theirs = np.count_nonzero(ours), np.count_nonzero(theirs)
    if not count_ours and not count_theirs:
        return 1.0
    if not count_ours or not count_theirs:
        return 0.0
    if bound_px is None:
        bound_px = math.ceil(BOUND_FRACTION * math.hypot(*ours.shape))
    precision = np.count_nonzero(ours & _dilate(theirs, bound_px)) / count_ours
    recall = np.count_nonzero(theirs & _dilate(ours, bound_px)) / count_theirs
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def temporal_stability(mattes: NDArray[Any], truth: NDArray[Any]) -> float:
    r"""How well the change of a matte between two neighbouring frames agrees with the change of the truth.

    .. math:: T = 1 - \frac{\sum_p |(m_{1p} - m_{0p}) - (g_{1p} - g_{0p})|}{2\,|m_0 \cup m_1 \cup g_0 \cup g_1|}

    The sum is over pixels; m is the matte and g the truth, cut at 0.5. In [0, 1], higher is better; 1 where all four
    are empty. An error that stays where it is costs nothing (that is what J and F see), one that comes or goes costs
    its area, and a pixel that moves against the truth costs double. A matte that drops out for one frame of a still
    object scores 0.5 on the way out and 0.5 on the way back. An error that travels with a moving object does cost:
    its pixels change where the truth's do not.

    The benchmark's own T (CVPR 2016, section 4) aligns the contours of neighbouring results by dynamic time warping of
    shape contexts and never looks at the truth. So an object that truly changes shape, or is
    hidden in part, counts as unstable there, and a matte that copies its neighbour is perfect. Here the truth says
    what should have changed. T says nothing on accuracy: a matte that is steadily wrong is stable.

    Args:
        mattes: (2, H, W) in [0, 1], earlier frame first.
        truth: likewise.
    """
    ours, theirs = binarise(mattes), binarise(truth)
    union = np.count_nonzero(ours.any(axis=0) | theirs.any(axis=0))
    if not union:
        return 1.0
    errors = ours.astype(np.int8) - theirs.astype(np.int8)
    return 1.0 - float(np.abs(errors[1] - errors[0]).sum(dtype=np.int64)) / (2 * union)


def boundary_map(mask: Mask) -> Mask:
    """Mark each pixel that differs from its right, lower or lower-right neighbour.

    That is the benchmark's one-pixel-wide boundary: it lies half a pixel left of and above the true edge, alike for
    both masks. Beyond the image the last row and column repeat, so that an object that leaves the frame has no
    boundary there.

    Args:
        mask: (H, W).
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])


def _dilate(mask: Mask, radius_px: int) -> Mask:
    rows, columns = np.ogrid[-radius_px : radius_px + 1, -radius_px : radius_px + 1]
    disk = (rows * rows + columns * columns <= radius_px * radius_px).astype(np.uint8)
    return cv2.dilate(mask.astype(np.uint8), disk, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
