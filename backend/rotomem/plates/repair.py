"""Replacing NaN and Inf pixels, which one bad sample in a render spreads through a whole network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHUNK = 1 << 16
"""Bad pixels handled at once: bounds memory where a whole frame is bad."""

_NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def repair_pixels(pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Replace each sample that is NaN or infinite by the median of the finite ones among its eight neighbours.

    The median, because what surrounds a bad pixel is often a firefly. Samples with no finite neighbour become 0.
    Neighbours are taken from the image as it was, so that the order of repair does not matter.

    Args:
        pixels: (H, W, C); returned as it is where nothing is wrong.

    Returns:
        the repaired copy, and the number of pixels with at least one bad channel.
    """
    # Summing is many times faster than isfinite() over every sample, and nearly all frames are clean.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(pixels.sum(dtype=np.float64)):
            return pixels, 0
    bad = ~np.isfinite(pixels)
    rows, columns, channels = np.nonzero(bad)
    repaired = pixels.copy()
    for start in range(0, len(rows), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        repaired[rows[chunk], columns[chunk], channels[chunk]] = _finite_medians(
            pixels, rows[chunk], columns[chunk], channels[chunk]
        )
    return repaired, int(bad.any(axis=2).sum())


def _finite_medians(
    pixels: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], channels: NDArray[np.intp]
) -> NDArray[np.float32]:
    height, width, _ = pixels.shape
    values = np.full((len(rows), len(_NEIGHBOURS)), np.inf, np.float32)
    for position, (dy, dx) in enumerate(_NEIGHBOURS):
        y, x = rows + dy, columns + dx
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        values[inside, position] = pixels[y[inside], x[inside], channels[inside]]
    values[~np.isfinite(values)] = np.inf
    values.sort(axis=1)
    count = np.isfinite(values).sum(axis=1)
    lower = np.take_along_axis(values, np.maximum(count - 1, 0)[:, None] // 2, axis=1)[:, 0]
    upper = np.take_along_axis(values, (count // 2)[:, None], axis=1)[:, 0]
    # Halved first: two samples near the largest float would add up to infinity.
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, lower / 2 + upper / 2, 0.0).astype(np.float32)
