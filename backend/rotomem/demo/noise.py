"""Seeded noise fields that the demo's textures are made of."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def fractal_noise(
    rng: np.random.Generator, height: int, width: int, *, cell_px: float, octaves: int = 5, gain: float = 0.55
) -> Floats:
    """Return (H, W) smooth noise of mean 0 and deviation 1; the largest blobs are about ``cell_px`` wide."""
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        cell = max(1.0, cell_px / 2**octave)
        grid_size = int(np.ceil(height / cell)) + 3, int(np.ceil(width / cell)) + 3
        grid = rng.standard_normal(grid_size, dtype=np.float32)
        place = np.array([[1 / cell, 0, 1], [0, 1 / cell, 1]], dtype=np.float64)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        total += gain**octave * cv2.warpAffine(grid, place, (width, height), flags=flags)
    standard: Floats = (total - total.mean()) / max(float(total.std()), 1e-6)
    return standard


def ridges(noise: Floats, *, sharpness: float) -> Floats:
    """Return (H, W) in [0, 1]: thin bright lines where ``noise`` crosses 0, like light focused by waves."""
    lines: Floats = np.exp(-sharpness * np.abs(noise))
    return lines


def smooth_step(low: float, high: float, values: NDArray[np.floating]) -> Floats:
    """Return 0 below ``low``, 1 above ``high`` and a smooth ramp between; ``low`` may be the larger."""
    t = np.clip((values - low) / (high - low), 0, 1).astype(np.float32)
    ramp: Floats = t * t * (3 - 2 * t)
    return ramp


def mix(below: Floats, above: Floats, amount: Floats) -> Floats:
    """Blend colours (H, W, 3) or (3,) by ``amount`` (H, W), 0 is ``below``."""
    blend: Floats = below + (above - below) * amount[..., None]
    return blend
