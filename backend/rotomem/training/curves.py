"""The loss and validation curves of a training run as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rotomem.errors import OutputUnwritableError

WIDTH, HEIGHT, MARGIN = 1200, 420, 60
LOSSES = {"loss": (40, 40, 40), "mask": (200, 90, 30), "dice": (60, 150, 60), "correspondence": (40, 60, 200)}
SCORES = {"network": (40, 60, 200), "memory_alone": (60, 150, 60), "carried": (200, 90, 30), "copied": (150, 150, 150)}
"""Curves and their colours, blue first, as OpenCV draws."""
SMOOTHED_OVER = 0.01

Picture = NDArray[np.uint8]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_curves(log_path: Path, picture_path: Path) -> None:
    """Draw the losses above, the held-out J below, over minutes, from a trainer's log.

    Raises ``OutputUnwritableError``.
    """
    import cv2

    rows = [json.loads(line) for line in log_path.read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if "loss" in row]
    checks = [{"minutes": row["minutes"], **row["validation"]} for row in rows if "validation" in row]
    losses = {name: _smoothed(_curve(steps, name)) for name in LOSSES}
    scores = {name: _curve(checks, name) for name in SCORES}
    picture = np.concatenate(
        [_draw(losses, LOSSES, "training loss"), _draw(scores, SCORES, "held-out mean J, two annotated frames of nine")]
    )
    if not cv2.imwrite(str(picture_path), picture):
        raise OutputUnwritableError(f"curves cannot be written to {picture_path}; check the folder and the disk")


def _curve(rows: Sequence[dict[str, Any]], name: str) -> Curve:
    return np.array([row["minutes"] for row in rows]), np.array([row[name] for row in rows], dtype=np.float64)


def _smoothed(curve: Curve) -> Curve:
    """A moving mean over 1 % of the steps, at most 500 points."""
    x, y = curve
    span = max(1, int(len(y) * SMOOTHED_OVER))
    sums = np.concatenate([[0.0], np.cumsum(y)])
    means = (sums[span:] - sums[:-span]) / span
    every = max(1, len(means) // 500)
    return x[span - 1 :][::every], means[::every]


def _draw(curves: dict[str, Curve], colours: dict[str, tuple[int, int, int]], title: str) -> Picture:
    import cv2

    picture: Picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    values = np.concatenate([y for _, y in curves.values()])
    times = np.concatenate([x for x, _ in curves.values()])
    top = float(np.ceil(values.max(initial=0.1) * 10) / 10)
    end = max(float(times.max(initial=0.0)), 1e-3)

    def place(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int32]:
        across = MARGIN + x / end * (WIDTH - 2 * MARGIN)
        down = HEIGHT - MARGIN - y / top * (HEIGHT - 2 * MARGIN)
        return np.stack([across, down], axis=1).round().astype(np.int32)

    def write(text: str, x: int, y: int, colour: tuple[int, int, int] = (0, 0, 0)) -> None:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)

    for share in np.linspace(0, 1, 6):
        (left, y), (right, _) = place(np.array([0.0, end]), np.full(2, share * top))
        cv2.line(picture, (int(left), int(y)), (int(right), int(y)), (225, 225, 225), 1)
        write(f"{share * top:.2f}", 10, int(y) + 5)
        write(f"{share * end:.1f} min", int(MARGIN + share * (WIDTH - 2 * MARGIN)) - 20, HEIGHT - MARGIN + 25)
    write(title, MARGIN, 25)
    for index, (name, (x, y)) in enumerate(curves.items()):
        points = place(x, y)
        cv2.polylines(picture, [points.reshape(-1, 1, 2)], False, colours[name], 2, cv2.LINE_AA)
        last = f" {y[-1]:.3f}" if len(y) else ""
        write(name.replace("_", " ") + last, MARGIN + 330 + 190 * index, 25, colours[name])
    return picture
