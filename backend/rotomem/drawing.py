"""What the pictures for people have in common: paper and ink, text, tiles, PNG. Pictures are (H, W, 3) 8-bit RGB."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.errors import OutputUnwritableError
from rotomem.plates.publishing import publish_file

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]

PAPER: Colour = (22, 22, 24)
INK: Colour = (230, 230, 224)
FAINT: Colour = (143, 145, 148)
OBJECT_COLOURS: tuple[Colour, ...] = ((89, 204, 255), (255, 204, 64), (191, 255, 115), (255, 140, 242))


def write_text(sheet: Bytes, text: str, at: tuple[int, int], colour: Colour, *, size: float, weight: int = 1) -> None:
    """Write one line; ``at`` is the left end of its baseline, pixels."""
    cv2.putText(sheet, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, weight, cv2.LINE_AA)


def write_legend(sheet: Bytes, entries: list[tuple[str, Colour]], *, left: int, bottom: int) -> None:
    """Write a line of coloured squares with what they stand for."""
    for text, colour in entries:
        cv2.rectangle(sheet, (left, bottom - 12), (left + 14, bottom + 2), colour, -1)
        write_text(sheet, text, (left + 22, bottom), FAINT, size=0.5)
        left += 22 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] + 34


def fit(image: Floats, tile: tuple[int, int]) -> Floats:
    """Scale an image (H, W) or (H, W, 3) to (width, height) pixels."""
    shrinking = image.shape[1] > tile[0]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, tile, interpolation=method), dtype=np.float32)


def tint(picture: Floats, matte: Floats, plate: Floats, colour: Colour) -> Floats:
    """Return ``picture`` (H, W, 3) with ``colour``, shaded by the plate, where the matte (H, W) is."""
    shaded = light(colour) * (np.float32(0.35) + plate)
    return np.asarray(picture + np.float32(0.55) * matte[..., None] * (shaded - picture), dtype=np.float32)


def light(colour: Colour) -> Floats:
    """Return a colour in [0, 1]."""
    return np.array(colour, dtype=np.float32) / np.float32(255)


def to_bytes(image: Floats) -> Bytes:
    """Round an image in [0, 1] to 8 bits."""
    return np.ascontiguousarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))


def save_png(path: Path, sheet: Bytes) -> None:
    """Write a picture, whole or not at all; raises ``DiskFullError`` and ``OutputUnwritableError``."""
    encoded, png = cv2.imencode(".png", sheet[..., ::-1])
    if not encoded:
        raise OutputUnwritableError(f"{path} cannot be encoded as PNG; choose fewer frames or smaller tiles")

    def write(temporary: Path) -> str:
        temporary.write_bytes(png.tobytes())
        return ""

    publish_file(path, write)
