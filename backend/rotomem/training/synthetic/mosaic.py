"""Texture sources: one tall picture of many tiles, so that any number of layers samples it in a single call."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.errors import SettingError

FIELD_SIDE = 256
FIELD_NAMES = ("brown", "pink", "fine", "ridged", "veins", "cells", "cracks", "patches", "spots", "fibres")


class Mosaic:
    """Tiles of equal size that repeat, or mirror, beyond their borders."""

    def __init__(self, tiles: Tensor, *, mirrored: bool) -> None:
        """Args:
        tiles: (tiles, C, h, w).
        mirrored: continue a tile by its mirror image; else it is taken to be periodic.
        """
        self.count, self.channels, self._height, self._width = tiles.shape
        self._mirrored = mirrored
        # One more row and column, so that bilinear reads at a tile's end never see the next tile.
        padded = F.pad(tiles, (0, 1, 0, 1), mode="replicate" if mirrored else "circular")
        self._sheet = padded.movedim(0, 1).reshape(1, self.channels, -1, self._width + 1).contiguous()

    @property
    def device(self) -> torch.device:
        return self._sheet.device

    @property
    def tile_height(self) -> int:
        return self._height

    def sample(self, tile: Tensor, position: Tensor) -> Tensor:
        """Read bilinearly.

        Args:
            tile: (N,), which tile.
            position: (N, 2, h, w), x and y in tile pixels.

        Returns:
            (N, C, h, w).
        """
        count, _, height, width = position.shape
        x = self._wrap(position[:, 0], self._width)
        y = self._wrap(position[:, 1], self._height) + tile[:, None, None] * (self._height + 1)
        rows = self._sheet.shape[2]
        grid = torch.stack([x * (2 / self._width) - 1, y * (2 / (rows - 1)) - 1], -1)
        read = F.grid_sample(self._sheet, grid.reshape(1, -1, width, 2), mode="bilinear", align_corners=True)
        return read.reshape(self.channels, count, height, width).movedim(0, 1)

    def _wrap(self, position: Tensor, size: int) -> Tensor:
        if self._mirrored:
            return (size - 1) - ((position % (2 * (size - 1))) - (size - 1)).abs()
        return position % size


@cache
def procedural_fields(device: str) -> Mosaic:
    """Periodic scalar fields in [0, 1], mean 0.5, one tile per name of FIELD_NAMES. The same on every device."""
    rng = np.random.default_rng(20240607)
    brown, pink, fine = (_coloured_noise(rng, exponent) for exponent in (1.9, 1.35, 0.9))
    ridged = 1 - np.abs(_unit_variance(_coloured_noise(rng, 1.6)))
    veins = np.sin(3.5 * _unit_variance(_coloured_noise(rng, 1.8)))
    nearest, gap, patches = _cells(rng, 110)
    spots = np.tanh(2.5 * (_unit_variance(_band_noise(rng, 9.0)) - 0.6))
    fibres = _coloured_noise(rng, 1.0, stretch=9.0)
    fields = (brown, pink, fine, ridged, veins, nearest, np.minimum(gap, 6.0), patches, spots, fibres)
    tiles = np.stack([np.clip(0.5 + 0.22 * _unit_variance(field), 0, 1) for field in fields])
    return Mosaic(torch.as_tensor(tiles[:, None], dtype=torch.float32, device=device), mirrored=False)


def load_photographs(folder: Path | str, *, device: str | torch.device = "cpu", tile_height: int = 256) -> Mosaic:
    """Read every picture of a folder as a texture source; upright ones are turned on their side.

    Args:
        folder: with .jpg, .jpeg or .png files.
        tile_height: pixels; all pictures are reduced to (tile_height, 1.5 * tile_height).

    Returns:
        Mosaic of (pictures, 3, tile_height, 1.5 * tile_height), sRGB-encoded in [0, 1].

    Raises:
        SettingError: the folder holds no readable picture.
    """
    import cv2

    size = (round(1.5 * tile_height), tile_height)
    files = sorted(file for file in Path(folder).glob("*") if file.suffix.lower() in {".jpg", ".jpeg", ".png"})
    pictures = []
    for file in files:
        pixels = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if pixels is None:
            raise SettingError(f"{file} is not a readable picture; remove it from the textures folder")
        if pixels.shape[0] > pixels.shape[1]:
            pixels = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
        pictures.append(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)[..., ::-1])
    if not pictures:
        raise SettingError(f"no .jpg or .png picture in {folder}; name a folder of photographs or leave textures out")
    tiles = torch.as_tensor(np.stack(pictures).copy(), device=device).movedim(-1, 1).float() / 255
    return Mosaic(tiles, mirrored=True)


def _unit_variance(field: np.ndarray) -> np.ndarray:
    return np.asarray((field - field.mean()) / field.std())


def _frequencies(stretch: float = 1.0) -> np.ndarray:
    frequency = np.fft.fftfreq(FIELD_SIDE) * FIELD_SIDE
    return np.asarray(np.hypot(frequency[:, None], frequency[None] * stretch))


def _coloured_noise(rng: np.random.Generator, exponent: float, *, stretch: float = 1.0) -> np.ndarray:
    """Noise whose amplitude falls as frequency to the ``exponent``; stretched along x."""
    radius = np.maximum(_frequencies(stretch), 1.0)
    spectrum = np.fft.fft2(rng.standard_normal((FIELD_SIDE, FIELD_SIDE))) / radius**exponent
    spectrum *= _frequencies() > 1.5
    return np.asarray(np.fft.ifft2(spectrum).real)


def _band_noise(rng: np.random.Generator, centre: float) -> np.ndarray:
    """Noise of features ``FIELD_SIDE / centre`` pixels apart."""
    band = np.exp(-((np.log(np.maximum(_frequencies(), 0.5) / centre) / 0.25) ** 2))
    return np.asarray(np.fft.ifft2(np.fft.fft2(rng.standard_normal((FIELD_SIDE, FIELD_SIDE))) * band).real)


def _cells(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance to the nearest of random points, how much further the next one is, and a value per cell."""
    points = rng.uniform(0, FIELD_SIDE, (count, 2))
    axis = np.arange(FIELD_SIDE)
    gaps = [np.abs(axis[:, None] - points[:, i]) for i in (0, 1)]
    across, down = (np.minimum(gap, FIELD_SIDE - gap) ** 2 for gap in gaps)
    distance = np.sqrt(down[:, None] + across[None])
    order = np.argsort(distance, axis=-1)[..., :2]
    near = np.take_along_axis(distance, order, -1)
    return near[..., 0], near[..., 1] - near[..., 0], rng.uniform(0, 1, count)[order[..., 0]]
