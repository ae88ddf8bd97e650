"""Small clips with ground truth on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 64, 96
WriteClip = Callable[..., None]


@pytest.fixture(scope="session")
def write_clip() -> WriteClip:
    """A textured 24 px square that moves ``step_px`` to the right per frame over a still wall."""

    def write(folder: Path, *, frames: int, step_px: int) -> None:
        (folder / "frames").mkdir(parents=True)
        (folder / "masks").mkdir()
        rng = np.random.default_rng(0)
        wall = cv2.GaussianBlur(rng.integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8), (0, 0), 1)
        square = cv2.GaussianBlur(rng.integers(120, 255, (24, 24, 3), dtype=np.uint8), (0, 0), 1)
        for frame in range(frames):
            picture, mask = wall.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
            where = slice(20, 44), slice(8 + step_px * frame, 32 + step_px * frame)
            picture[where], mask[where] = square, 255
            cv2.imwrite(str(folder / "frames" / f"{frame:05d}.png"), picture)
            cv2.imwrite(str(folder / "masks" / f"{frame:05d}.png"), mask)

    return write


@pytest.fixture
def clips(tmp_path: Path, write_clip: WriteClip) -> Path:
    """A folder of two clips: ``moving``, 4 px per frame for 5 frames, and ``still``, 4 frames."""
    write_clip(tmp_path / "moving", frames=5, step_px=4)
    write_clip(tmp_path / "still", frames=4, step_px=0)
    return tmp_path
