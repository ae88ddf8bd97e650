"""Small rendered scenes with their truth."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from rotomem.errors import PlateMissingError

HEIGHT, WIDTH, SIDE = 128, 192, 56
POLE = slice(82, 90)


def texture(height: int, width: int, *, seed: int, tint: Sequence[float]) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 1.5)
    contrast = (blurred - blurred.mean()) / blurred.std() * 0.12
    return np.clip(contrast + np.array(tint, np.float32), 0, 1).astype(np.float32)


class Scene:
    """A textured square moves 3 px right and 1 px down per frame over a wall that moves 1 px left.

    A pole may stand before it, and ``second`` is a square of its own that goes the other way.
    """

    size = (HEIGHT, WIDTH)

    def __init__(self, *, pole: bool = False, first: int = 0) -> None:
        self._wall = texture(HEIGHT, WIDTH * 2, seed=1, tint=(0.35, 0.45, 0.35))
        self._first = first
        self._square = texture(SIDE, SIDE, seed=2, tint=(0.7, 0.45, 0.35))
        self._second = texture(SIDE, SIDE, seed=3, tint=(0.3, 0.35, 0.7))
        self._pole = texture(HEIGHT, 8, seed=4, tint=(0.5, 0.5, 0.2)) if pole else None
        self.reads: list[int] = []

    def image(self, frame: int) -> np.ndarray:
        if frame < self._first:
            raise PlateMissingError(f"frame {frame} is not on disk")
        self.reads.append(frame)
        picture = self._wall[:, frame + 40 : frame + 40 + WIDTH].copy()
        for matte, paint in ((self.second(frame), self._second), (self.truth(frame, pole=False), self._square)):
            picture[matte > 0] = paint.reshape(-1, 3)
        if self._pole is not None:
            picture[:, POLE] = self._pole
        return picture

    def truth(self, frame: int, *, pole: bool = True) -> np.ndarray:
        matte = np.zeros(self.size, np.float32)
        matte[8 + frame : 8 + frame + SIDE, 12 + 3 * frame : 12 + 3 * frame + SIDE] = 1.0
        if pole and self._pole is not None:
            matte[:, POLE] = 0.0
        return matte

    def second(self, frame: int) -> np.ndarray:
        matte = np.zeros(self.size, np.float32)
        matte[70 : 70 + SIDE, 120 - 2 * frame : 120 - 2 * frame + SIDE] = 1.0
        return matte
