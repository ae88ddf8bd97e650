"""How much of each pixel lies inside closed polygons: 16 x 16 samples per pixel, non-zero winding rule.

The samples of pixel (x, y) lie at x + (i + 0.5) / 16, y + (j + 0.5) / 16. Along one row of samples an outline is a list
of crossings; sorted by x, their running sum is the winding number, and where that is not zero lies a span of samples
inside. So no sample is ever stored, overlapping and self-intersecting outlines are right, and the result is the
supersampled image to the bit. The rejected alternative, accumulating signed trapezoid areas, is exact for simple
outlines, but cannot tell two overlapping windings in a pixel from one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GRID = 16
_EDGES_AT_ONCE = 1 << 19


def ribbon_coverage(ribbon: Floats, levels: Floats, *, width: int, height: int) -> Floats:
    """Return the mean coverage of the outlines that lie at ``levels`` between a shape's outline and its feather's.

    With many levels each takes only some of a pixel's 16 sample rows, all rows equally often in turn: where outlines
    coincide (no feather) that is still the full grid, and where they spread each adds a fresh position.

    Args:
        ribbon: (P, D, 2) vertices in pixels, D = 1 or 2 (outline, feather outline).
        levels: (L,) in [0, 1], 0 is the outline and 1 the feather outline; L is a power of two, at most 512.
        width: of the frame, which begins at (0, 0).
        height: likewise.

    Returns:
        (H, W) in [0, 1].
    """
    rows_per_pixel = _rows_per_pixel(len(levels))
    offsets = _row_offsets(len(levels), rows_per_pixel)
    scan = _Scan(width, height, rows_per_pixel, len(levels))
    at_once = max(1, _EDGES_AT_ONCE // len(ribbon))
    for first in range(0, len(levels), at_once):
        part = slice(first, first + at_once)
        outlines = ribbon[None, :, 0] + levels[part, None, None] * (ribbon[None, :, -1] - ribbon[None, :, 0])
        scan.add(outlines, offsets[part], np.arange(len(levels))[part])
    return scan.coverage()


def _rows_per_pixel(levels: int) -> int:
    """A lone outline takes all 16 rows. Many levels share 1024: a ramp is then right to 1.6 / 255 (512: 2.8 / 255)."""
    return min(GRID, 1024 // levels)


def _row_offsets(levels: int, rows_per_pixel: int) -> Floats:
    """Return each level's first row, in units of its row distance: the grid's rows dealt out in bit-reversed order.

    In plain order, row and level would rise together, and the ramp of a feather would beat against the pixels.
    """
    turns = GRID // rows_per_pixel
    order = np.zeros(1, dtype=np.int64)
    while len(order) < turns:
        order = np.concatenate([2 * order, 2 * order + 1])
    return (order[np.arange(levels) % turns] + 0.5) / turns


class _Scan:
    """Adds up, per pixel row, where spans of samples begin and end.

    A span that begins in pixel p after f of its 16 samples adds 16 - f to p's entry and f to p + 1's; one that ends
    subtracts likewise. The running sum along the row is then the number of samples inside.
    """

    def __init__(self, width: int, height: int, rows_per_pixel: int, levels: int) -> None:
        self._width, self._height = width, height
        self._rows_per_pixel, self._levels = rows_per_pixel, levels
        self._steps: Floats = np.zeros(height * (width + 2))

    def add(self, outlines: Floats, offsets: Floats, levels: Integers) -> None:
        """Add closed polygons (L, P, 2), level by level, sampled on rows y = (r + offset) / rows per pixel."""
        group, sample, rising = self._crossings(outlines, offsets, levels)
        bits = (GRID * self._width).bit_length()
        keys = (((group << bits) | sample) << 1) | rising
        keys.sort()
        direction = 2 * (keys & 1) - 1
        winding = np.cumsum(direction)
        border = (winding == 0) | (winding == direction)
        begins = np.where(winding[border] == 0, -1, 1)
        keys = keys[border] >> 1
        sample = keys & ((1 << bits) - 1)
        row = (keys >> bits) // (self._levels * self._rows_per_pixel)
        pixel = row * (self._width + 2) + sample // GRID
        after = begins * (sample % GRID)
        self._steps += np.bincount(pixel, weights=GRID * begins - after, minlength=len(self._steps))
        self._steps += np.bincount(pixel + 1, weights=after, minlength=len(self._steps))

    def coverage(self) -> Floats:
        """Return (H, W) in [0, 1]."""
        steps = self._steps.reshape(self._height, self._width + 2)[:, : self._width]
        inside: Floats = np.cumsum(steps, axis=1)
        inside /= GRID * self._rows_per_pixel * self._levels
        return inside

    def _crossings(self, outlines: Floats, offsets: Floats, levels: Integers) -> tuple[Integers, Integers, Integers]:
        """Return, per crossing of an outline with a row: row and level as one number, first sample after it, sense.

        A vertex on a row belongs to the edges below it, so each row meets each outline an even number of times. Edges
        are followed from their upper end, whichever way they run, so that equal edges cross equally.
        """
        x, y = outlines[..., 0], outlines[..., 1] * self._rows_per_pixel - offsets[:, None]
        row = np.clip(np.ceil(y), 0, self._height * self._rows_per_pixel).astype(np.int64)
        level, start = np.nonzero(row != np.roll(row, -1, axis=1))
        end = (start + 1) % outlines.shape[1]
        rising = row[level, end] > row[level, start]
        upper, lower = np.where(rising, start, end), np.where(rising, end, start)
        x_upper, y_upper = x[level, upper], y[level, upper]
        slope = (x[level, lower] - x_upper) / (y[level, lower] - y_upper)
        counts = row[level, lower] - row[level, upper]
        edge = np.repeat(np.arange(len(counts)), counts)
        rows = np.arange(len(edge)) + np.repeat(row[level, upper] - np.cumsum(counts) + counts, counts)
        crossing = x_upper[edge] + (rows - y_upper[edge]) * slope[edge]
        sample = np.clip(np.ceil(GRID * crossing - 0.5), 0, GRID * self._width).astype(np.int64)
        return rows * self._levels + levels[level][edge], sample, rising[edge].astype(np.int64)
