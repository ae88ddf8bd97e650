"""The suggestion benchmark's curves as an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from rotomem.errors import OutputUnwritableError
from rotomem.training.suggestion_benchmark import SuggestionScore, overall_curves

WIDTH, HEIGHT, MARGIN, LEGEND = 760, 420, 50, 150
COLOURS = ((60, 60, 60), (200, 120, 30), (160, 160, 160), (30, 30, 210), (40, 140, 40), (180, 40, 160), (20, 140, 220))
"""BGR, by turns."""


def plot_scores(scores: Sequence[SuggestionScore], path: Path) -> None:
    """Draw mean J&F in percent over k, one line per method, of all clips.

    Raises:
        OutputUnwritableError: the image cannot be written.
    """
    curves = overall_curves(scores)["all"]
    most = len(next(iter(curves.values())))
    values = 100 * np.array(list(curves.values()))
    low, high = np.floor(values.min() / 5) * 5, np.ceil(values.max() / 5) * 5 + 0.001
    right, bottom = WIDTH - LEGEND, HEIGHT - MARGIN
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)

    def place(k: int, value: float) -> tuple[int, int]:
        x = MARGIN + (right - MARGIN) * (k - 1) / max(most - 1, 1)
        return round(x), round(bottom - (bottom - 20) * (value - low) / (high - low))

    def write(text: str, at: tuple[int, int], colour: tuple[int, int, int] = (0, 0, 0)) -> None:
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)

    for level in np.arange(low, high, 5):
        cv2.line(canvas, place(1, level), (right, place(1, level)[1]), (225, 225, 225), 1)
        write(f"{level:.0f}", (14, place(1, level)[1] + 4))
    for k in range(1, most + 1):
        write(str(k), (place(k, low)[0] - 4, bottom + 18))
    write("mean J&F, percent, after k drawn frames", (MARGIN, HEIGHT - 10))
    for index, (method, curve) in enumerate(zip(curves, values, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        points = np.array([place(k, value) for k, value in enumerate(curve, start=1)], np.int32)
        cv2.polylines(canvas, [points], isClosed=False, color=colour, thickness=2, lineType=cv2.LINE_AA)
        write(method, (right + 14, 40 + 20 * index), colour)
    encoded, buffer = cv2.imencode(path.suffix or ".png", canvas)
    try:
        path.write_bytes(buffer.tobytes() if encoded else b"")
    except OSError as error:
        raise OutputUnwritableError(f"the plot {path} cannot be written: {error.strerror}") from error
