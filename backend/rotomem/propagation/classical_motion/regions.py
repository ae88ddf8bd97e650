"""Connected regions of what moves.

Source: Canny, "A Computational Approach to Edge Detection", PAMI 1986 (thresholds with hysteresis).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

HIGH, LOW = 6.0, 3.0
"""In units of the flow's noise: a region holds a pixel that moves for certain, and all around it that moves likely."""
SKIRT, SKIRT_REACH = 0.5, 0.0125
"""Flow carries a rim of background along with an object, and evidence fades out over it: what is below this share of
the most within this reach, of the longer side, is rim."""
LEAST_AREA = 0.001
"""Of the picture: smaller regions are specks."""
HOLE_AREA = 0.1
"""Of its region: larger holes are seen through."""
SMOOTHING = 0.003
"""Of the longer side: as far apart are parts of one region."""


@dataclass(frozen=True)
class Region:
    """One region on one frame.

    Args:
        mask: (h, w).
        area: pixels.
        inside: mean evidence in it.
        outside: mean evidence in a band around it, as wide as the region is thick, without other regions.
    """

    mask: PackedMask
    area: int
    inside: float
    outside: float

    @property
    def contrast(self) -> float:
        """Of the motion inside against that around it, in [0, 1]."""
        return max(0.0, (self.inside - self.outside) / max(self.inside + self.outside, 1e-6))


@dataclass(frozen=True)
class PackedMask:
    """A mask in a few kilobytes."""

    packed: bytes
    size: tuple[int, int]

    @classmethod
    def pack(cls, mask: Mask) -> PackedMask:
        return cls(zlib.compress(np.packbits(mask).tobytes(), 1), (mask.shape[0], mask.shape[1]))

    def unpack(self) -> Mask:
        height, width = self.size
        bits = np.frombuffer(zlib.decompress(self.packed), np.uint8)
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)


def find_regions(evidence: Floats) -> list[Region]:
    """Return the regions that move, the largest first.

    Args:
        evidence: (h, w), in units of the flow's noise.
    """
    size = evidence.shape
    radius = max(1, round(SMOOTHING * max(size)))
    smooth = cv2.GaussianBlur(evidence, (0, 0), radius)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    reach = max(1, round(SKIRT_REACH * max(size)))
    most = cv2.dilate(smooth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    moves = ((smooth > LOW) & (smooth > SKIRT * most)).astype(np.uint8)
    likely = cv2.morphologyEx(cv2.morphologyEx(moves, cv2.MORPH_OPEN, disk), cv2.MORPH_CLOSE, disk)
    return collect_regions(likely > 0, smooth > HIGH, evidence)


def collect_regions(likely: Mask, certain: Mask, evidence: Floats) -> list[Region]:
    """Return the connected parts (h, w) of what is likely that hold a certain pixel, the largest first.

    Specks are left out and small holes filled.
    """
    count, labels, figures, _ = cv2.connectedComponentsWithStats(likely.astype(np.uint8), connectivity=8)
    sure = np.zeros(count, bool)
    sure[np.unique(labels[certain])] = True
    sure[0] = False
    kept = [i for i in range(1, count) if sure[i] and figures[i, cv2.CC_STAT_AREA] >= LEAST_AREA * evidence.size]
    masks = [_fill_holes(labels == i) for i in kept]
    moving = np.zeros(evidence.shape, bool)
    for mask in masks:
        moving |= mask
    regions = [measure_region(mask, evidence, moving) for mask in masks]
    return sorted(regions, key=lambda region: -region.area)


def measure_region(mask: Mask, evidence: Floats, moving: Mask) -> Region:
    """Return a mask with its figures; ``moving`` is the union of all regions of the frame."""
    area = int(np.count_nonzero(mask))
    reach = max(3, round(0.25 * np.sqrt(area)))
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * reach + 1, 2 * reach + 1))
    around = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~moving
    outside = float(evidence[around].mean()) if around.any() else float(evidence.mean())
    return Region(PackedMask.pack(mask), area, float(evidence[mask].mean()), outside)


def _fill_holes(mask: Mask) -> Mask:
    most = HOLE_AREA * np.count_nonzero(mask)
    count, labels, figures, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    height, width = mask.shape
    filled = mask.copy()
    for i in range(1, count):
        left, top, wide, high, area = figures[i]
        touches = left == 0 or top == 0 or left + wide == width or top + high == height
        if area <= most and not touches:
            filled |= labels == i
    return filled
