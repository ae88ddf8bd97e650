"""Curves over an axis as a picture, drawn with OpenCV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, MARGIN = 1200, 420, 60
LEGEND_LEFT, LEGEND_GAP, LEGEND_STEP = 330, 40, 190
TICKS = 6

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]


def draw_chart(
    curves: Mapping[str, Curve],
    colours: Mapping[str, Colour],
    title: str,
    *,
    end: float,
    ticks: Sequence[tuple[float, str]],
    bottom: float = 0.0,
    top: float,
    marked: bool = False,
) -> Picture:
    """Draw curves (x, y) with a legend that tells each one's last value; returns (HEIGHT, WIDTH, 3).

    Args:
        colours: by curve, channels in the order that the picture shall have.
        end: of the x axis, which begins at 0.
        ticks: places on the x axis, and what to write there.
        bottom: of the y axis; curves are cut off below.
        top: likewise.
        marked: draw a dot at every point.
    """
    picture: Picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)

    def place(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int32]:
        across = MARGIN + x / end * (WIDTH - 2 * MARGIN)
        down = HEIGHT - MARGIN - (y.clip(bottom, top) - bottom) / (top - bottom) * (HEIGHT - 2 * MARGIN)
        return np.stack([across, down], axis=1).round().astype(np.int32)

    def write(text: str, x: int, y: int, colour: Colour = (0, 0, 0)) -> None:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)

    for level in np.linspace(bottom, top, TICKS):
        (left, y), (right, _) = place(np.array([0.0, end]), np.full(2, level))
        cv2.line(picture, (int(left), int(y)), (int(right), int(y)), (225, 225, 225), 1)
        write(f"{level:.2f}", 10, int(y) + 5)
    for value, text in ticks:
        ((x, _),) = place(np.array([value]), np.array([bottom]))
        write(text, int(x) - 20, HEIGHT - MARGIN + 25)
    write(title, MARGIN, 25)
    title_px = cv2.getTextSize(title, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
    legend = MARGIN + max(LEGEND_LEFT, title_px + LEGEND_GAP)
    for index, (name, (x, y)) in enumerate(curves.items()):
        points = place(x, y)
        cv2.polylines(picture, [points.reshape(-1, 1, 2)], False, colours[name], 2, cv2.LINE_AA)
        for point in points if marked else ():
            cv2.circle(picture, (int(point[0]), int(point[1])), 4, colours[name], -1, cv2.LINE_AA)
        last = f" {y[-1]:.3f}" if len(y) else ""
        write(name.replace("_", " ") + last, legend + LEGEND_STEP * index, 25, colours[name])
    return picture
