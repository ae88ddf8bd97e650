"""A few mattes of each measurement, kept as pictures, so that a contact sheet needs no second propagation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from rotomem.errors import OutputUnwritableError
from rotomem.training.metrics import Mask
from rotomem.training.scores import Condition

SAMPLES = 4


def sampled_frames(given: Sequence[int], total: int) -> list[int]:
    """Return up to SAMPLES evenly spaced frames that are not annotated, ends left out; any frames if all are."""
    frames = [frame for frame in range(total) if frame not in given] or list(range(total))
    count = min(SAMPLES, len(frames))
    return [frames[int((index + 0.5) * len(frames) / count)] for index in range(count)]


def save_samples(folder: Path, condition: Condition, mattes: Mask) -> None:
    """Keep mattes (N, H, W) as one PNG; raises ``OutputUnwritableError``."""
    path = _path(folder, condition)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), np.concatenate(list(mattes)).astype(np.uint8) * 255):
        raise OutputUnwritableError(f"{path} cannot be written; check the folder and the disk")


def load_samples(folder: Path, condition: Condition, size: tuple[int, int]) -> Mask | None:
    """Return the mattes (N, H, W) kept for a measurement; None if they are not there.

    Args:
        size: (height, width) of the clip.
    """
    picture = cv2.imread(str(_path(folder, condition)), cv2.IMREAD_GRAYSCALE)
    if picture is None or picture.shape[1] != size[1] or picture.shape[0] % size[0]:
        return None
    return np.asarray(picture.reshape(-1, *size) > 127)


def _path(folder: Path, condition: Condition) -> Path:
    made_with = condition.weights_sha256[:12] + ("" if condition.tuned is not False else "-untuned")
    name = "-".join(part for part in (condition.engine, str(condition.annotations), made_with) if part)
    return folder / condition.set / condition.clip / f"{name}.png"
