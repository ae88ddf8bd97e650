"""One figure for how far a frame's matte can be trusted."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COVERED = 0.02
"""Mattes above this belong to the object, anti-aliased edges included."""
BAND_OF_SHORTER_SIDE = 0.01
"""How far outside the matte a frame's figure looks: where the edge would lie if it were wrong by a little."""
LEAST_BAND_PX = 2
MEASURED_SIDE_PX = 480
"""The figure is a mean: more pixels than this on the shorter side change its third decimal and cost time."""


def frame_confidence(mattes: Floats, confidence: Floats) -> float:
    """Return the mean confidence over the mattes and a narrow band around them.

    Everything else is background far from any object: as good as always certain, and so much of the frame that a mean
    over all of it would hide an edge that is lost. Where no object is seen the mean is over the whole frame.

    Args:
        mattes: (K, H, W) in [0, 1].
        confidence: (H, W) in [0, 1].

    Returns:
        In [0, 1]; 1 is certain, as on frames on which every object is annotated.
    """
    step = max(1, min(confidence.shape) // MEASURED_SIDE_PX)
    union, sampled = mattes[:, ::step, ::step].max(axis=0), confidence[::step, ::step]
    radius_px = max(LEAST_BAND_PX, round(BAND_OF_SHORTER_SIDE * min(sampled.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius_px + 1, 2 * radius_px + 1))
    near = cv2.dilate((union > COVERED).astype(np.uint8), kernel) > 0
    return float(np.mean(sampled[near] if near.any() else sampled, dtype=np.float64))
