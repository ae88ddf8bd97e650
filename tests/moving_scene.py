"""A textured wall filmed by a moving camera, with textured squares that move in front of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np


def texture(height: int, width: int, *, seed: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Blurred noise (height, width, 3) between ``low`` and ``high``."""
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return low + (high - low) * (blurred - blurred.min()) / (blurred.max() - blurred.min())


@dataclass(frozen=True)
class Square:
    """A square of ``side`` pixels at ``start`` (x, y) on frame 0, which moves by ``speed`` (x, y) a frame."""

    start: tuple[float, float]
    speed: tuple[float, float]
    side: int = 36


class MovingScene:
    """Satisfies ``FrameSource`` for frames 0 to 29.

    Args:
        squares: in pixels of the picture; later ones in front.
        pan: (x, y) by which the wall moves in the picture, pixels a frame, whole ones.
        seed: another one is another scene.
    """

    def __init__(self, squares: Sequence[Square] = (), *, pan: tuple[int, int] = (0, 0), seed: int = 0) -> None:
        self.size = (160, 240)
        self._squares, self._pan = squares, pan
        self._wall = texture(160 + 2 * 150, 240 + 2 * 150, seed=seed, low=0.0, high=0.7)
        self._skins = [texture(s.side, s.side, seed=seed + 100 + i, low=0.3) for i, s in enumerate(squares)]

    def image(self, frame: int) -> np.ndarray:
        height, width = self.size
        top, left = 150 - self._pan[1] * frame, 150 - self._pan[0] * frame
        picture = self._wall[top : top + height, left : left + width].copy()
        for square, skin in zip(self._squares, self._skins, strict=True):
            rows, columns = self._place(square, frame)
            picture[rows, columns] = skin
        return picture

    def truth(self, frame: int, index: int) -> np.ndarray:
        """Return where a square is, (H, W)."""
        mask = np.zeros(self.size, bool)
        mask[self._place(self._squares[index], frame)] = True
        return mask

    @staticmethod
    def _place(square: Square, frame: int) -> tuple[slice, slice]:
        x, y = (round(at + by * frame) for at, by in zip(square.start, square.speed, strict=True))
        return slice(y, y + square.side), slice(x, x + square.side)
