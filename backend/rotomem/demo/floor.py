"""The pond's floor: pebbles on gravel on silt, lit from the upper left."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.demo.noise import fractal_noise, mix, smooth_step

Floats = NDArray[np.float32]

_STONES = np.array(
    [
        (0.20, 0.17, 0.13),
        (0.12, 0.11, 0.10),
        (0.30, 0.25, 0.18),
        (0.36, 0.21, 0.09),
        (0.40, 0.17, 0.07),
        (0.07, 0.07, 0.075),
        (0.44, 0.39, 0.31),
        (0.17, 0.18, 0.15),
        (0.25, 0.15, 0.08),
    ],
    dtype=np.float32,
)
"""Scene-linear albedos. The oranges and the cream are the koi's own, so that colour alone does not find it."""


def pebble_floor(rng: np.random.Generator, height: int, width: int, *, scale: float) -> Floats:
    """Return (H, W, 3) scene-linear RGB; stones of about 90 px at ``scale`` 1 lie on gravel of about 26."""
    silt = np.array([0.13, 0.115, 0.075], dtype=np.float32)
    image = silt * (1 + 0.15 * fractal_noise(rng, height, width, cell_px=60 * scale))[..., None]
    for spacing, share, gap in ((26, 0.88, 0.10), (50, 0.42, 0.13), (100, 0.45, 0.12)):
        dome, label, count = _stones(rng, height, width, spacing_px=spacing * scale, gap=gap)
        kept = rng.random(count) < share
        dome = np.where(kept[label], dome, 0).astype(np.float32)
        shadow = cv2.GaussianBlur(np.minimum(dome * 4, 1), (0, 0), spacing * scale * 0.09)
        reach = spacing * scale * 0.07
        shifted = np.array([[1, 0, reach], [0, 1, reach * 1.4]], dtype=np.float64)
        shadow = cv2.warpAffine(shadow, shifted, (width, height), borderMode=cv2.BORDER_REPLICATE)
        image = image * (1 - 0.72 * shadow)[..., None]
        tint = _STONES[rng.integers(0, len(_STONES), count)] * rng.uniform(0.65, 1.25, (count, 1)).astype(np.float32)
        veins = fractal_noise(rng, height, width, cell_px=spacing * scale * 0.5, octaves=5, gain=0.7)
        surface = tint[label] * (np.exp(0.16 * veins) * _relief(dome, spacing * scale))[..., None]
        image = mix(image.astype(np.float32), surface.astype(np.float32), smooth_step(0.02, 0.16, dome))
    algae = smooth_step(0.4, 1.6, fractal_noise(rng, height, width, cell_px=340 * scale, octaves=4))
    green = np.array([0.55, 0.85, 0.42], dtype=np.float32)
    return np.asarray(image * mix(np.ones(3, dtype=np.float32), green, algae), dtype=np.float32)


def _stones(
    rng: np.random.Generator, height: int, width: int, *, spacing_px: float, gap: float
) -> tuple[Floats, NDArray[np.int32], int]:
    """Return each pixel's height on its stone in [0, 1], its stone, and how many stones there are.

    Stones are cells of a Voronoi diagram of jittered seeds, seen through a noise that bends their borders.
    """
    rows, columns = int(height / spacing_px) + 3, int(width / spacing_px) + 3
    y, x = np.mgrid[-1 : rows - 1, -1 : columns - 1] + rng.uniform(-0.38, 0.38, (2, rows, columns)) + 0.5
    margin = int(spacing_px * 2)
    seeds = np.full((height + 2 * margin, width + 2 * margin), 255, dtype=np.uint8)
    at_y = np.clip(y * spacing_px + margin, 0, seeds.shape[0] - 1).astype(int).ravel()
    at_x = np.clip(x * spacing_px + margin, 0, seeds.shape[1] - 1).astype(int).ravel()
    seeds[at_y, at_x] = 0
    _, cells = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    bend = [
        fractal_noise(rng, height, width, cell_px=spacing_px * 0.7, octaves=2) * np.float32(spacing_px * 0.06)
        for _ in range(2)
    ]
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32) + margin
    bent = cv2.remap(cells.astype(np.float32), grid_x + bend[0], grid_y + bend[1], cv2.INTER_NEAREST)
    label: NDArray[np.int32] = np.asarray(bent, dtype=np.int32)
    inside = np.ones((height, width), dtype=np.uint8)
    inside[:, 1:] &= (label[:, 1:] == label[:, :-1]).astype(np.uint8)
    inside[1:] &= (label[1:] == label[:-1]).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5) / np.float32(spacing_px)
    rounded = cv2.GaussianBlur(depth, (0, 0), max(0.13 * spacing_px, 0.5))
    dome = np.sqrt(np.clip(1 - (1 - np.clip((rounded - gap) / 0.26, 0, 1)) ** 2, 0, 1))
    return dome.astype(np.float32), label, int(label.max()) + 1


def _relief(dome: Floats, spacing_px: float) -> Floats:
    """Light a dome from the upper left; 1 on a level surface."""
    soft = cv2.GaussianBlur(dome, (0, 0), max(spacing_px * 0.05, 0.5))
    slope_x = cv2.Sobel(soft, cv2.CV_32F, 1, 0, scale=0.125) * np.float32(spacing_px)
    slope_y = cv2.Sobel(soft, cv2.CV_32F, 0, 1, scale=0.125) * np.float32(spacing_px)
    light = (1 - 0.22 * (slope_x * 0.6 + slope_y)) / np.sqrt(1 + 0.06 * (slope_x**2 + slope_y**2))
    return np.asarray(np.clip(light, 0.25, 1.9), dtype=np.float32)
