"""The loss and validation curves of a training run as a picture."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rotomem.errors import OutputUnwritableError
from rotomem.training.chart import TICKS, Colour, Curve, Picture, draw_chart

LOSSES = {"loss": (40, 40, 40), "mask": (200, 90, 30), "dice": (60, 150, 60), "correspondence": (40, 60, 200)}
SCORES = {"network": (40, 60, 200), "memory_alone": (60, 150, 60), "carried": (200, 90, 30), "copied": (150, 150, 150)}
"""Curves and their colours, blue first, as OpenCV draws."""
TITLE = "held-out mean J, two annotated frames of nine"
PALETTE = ((40, 40, 40), (40, 60, 200), (60, 150, 60), (200, 90, 30), (150, 150, 150))
SMOOTHED_OVER = 0.01


def palette_of(names: Iterable[str]) -> dict[str, Colour]:
    """Return a colour for each of up to five curves."""
    return dict(zip(names, PALETTE, strict=False))


def draw_curves(
    log_path: Path,
    picture_path: Path,
    *,
    losses: Mapping[str, Colour] = LOSSES,
    scores: Mapping[str, Colour] = SCORES,
    title: str = TITLE,
) -> None:
    """Draw the losses above, the held-out scores below, over minutes, from a trainer's log.

    Args:
        losses, scores: names in the log, and their colours; those of the propagation network unless given.
        title: of the scores.

    Raises ``OutputUnwritableError``.
    """
    rows = _final([json.loads(line) for line in log_path.read_text(encoding="utf-8").splitlines()])
    steps = [row for row in rows if "loss" in row]
    checks = [{"minutes": row["minutes"], **row["validation"]} for row in rows if "validation" in row]
    above = {name: _smoothed(_curve(steps, name)) for name in losses}
    below = {name: _curve(checks, name) for name in scores}
    picture = np.concatenate([_draw(above, losses, "training loss"), _draw(below, scores, title)])
    if not cv2.imwrite(str(picture_path), picture):
        raise OutputUnwritableError(f"curves cannot be written to {picture_path}; check the folder and the disk")


def _final(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows in the order of their steps: those after a killed training's checkpoint were done again."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        while kept and (kept[-1]["step"] > row["step"] or (kept[-1]["step"] == row["step"] and "loss" in row)):
            kept.pop()
        kept.append(row)
    return kept


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


def _draw(curves: dict[str, Curve], colours: Mapping[str, Colour], title: str) -> Picture:
    values = np.concatenate([y for _, y in curves.values()])
    times = np.concatenate([x for x, _ in curves.values()])
    end = max(float(times.max(initial=0.0)), 1e-3)
    return draw_chart(
        curves,
        colours,
        title,
        end=end,
        ticks=[(float(minutes), f"{minutes:.1f} min") for minutes in np.linspace(0, end, TICKS)],
        top=float(np.ceil(values.max(initial=0.1) * 10) / 10),
    )
