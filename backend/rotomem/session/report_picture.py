"""A shot's report as one picture: thumbnails over a strip of frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.errors import OutputUnwritableError
from rotomem.plates.publishing import publish_file
from rotomem.session.report import THUMBNAILS, ShotReport, Thumbnail

Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]

WIDTH = 1800
_LEFT, _RIGHT = 210, 40
_TOP_OF_THUMBNAILS = 128
_TRACK, _PLOT, _SPACE = 34, 150, 46
_NICE_STEPS = (1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000)
_LEAST_SCALE = 0.05
"""A shot whose jumps are all small must not look as rough as one whose are large."""

# RGB
_PAPER: Colour = (22, 22, 24)
_PANEL: Colour = (34, 34, 38)
_INK: Colour = (232, 232, 226)
_FAINT: Colour = (150, 152, 156)
_LINE: Colour = (62, 62, 68)
_DRAWN: Colour = (250, 184, 46)
_SUGGESTED: Colour = (112, 200, 255)
_CERTAIN: Colour = (118, 200, 130)
_JUMP: Colour = (128, 150, 190)
_SEAM: Colour = (255, 105, 70)
_MISSING: Colour = (90, 40, 40)
_TINT = np.array((0.2, 1.0, 0.5), np.float32)


def write_report(path: Path, report: ShotReport, *, title: str) -> None:
    """Write the report as PNG.

    Raises:
        DiskFullError, OutputUnwritableError: names the file.
    """
    encoded, png = cv2.imencode(".png", draw_report(report, title=title)[..., ::-1])
    if not encoded:
        raise OutputUnwritableError(f"{path} cannot be encoded as PNG; report fewer frames")

    def write(temporary: Path) -> str:
        temporary.write_bytes(png.tobytes())
        return ""

    publish_file(path, write)


def draw_report(report: ShotReport, *, title: str) -> Bytes:
    """Return the picture, (H, W, 3) RGB."""
    tile = _tile_size(report.thumbnails)
    top = _TOP_OF_THUMBNAILS + tile[1] + 76
    canvas = np.full((top + 2 * _TRACK + 2 * _PLOT + 2 * _SPACE + 70, WIDTH, 3), _PAPER, np.uint8)
    _text(canvas, title, (40, 50), _INK, size=0.95, weight=2)
    for line, text in enumerate(_summary(report)):
        _text(canvas, text, (40, 82 + 24 * line), _FAINT, size=0.56)
    for index, thumbnail in enumerate(report.thumbnails):
        _draw_thumbnail(canvas, report, thumbnail, 40 + index * (tile[0] + 12), tile)

    axis = _Axis(report.frames)
    top += _draw_marks(canvas, axis, top, "drawn", {frame: "" for frame in report.annotated}, _DRAWN)
    numbers = {frame: str(number) for number, frame in enumerate(report.suggested, start=1)}
    top += _draw_marks(canvas, axis, top, "draw next", numbers, _SUGGESTED) + _SPACE // 2
    top += _draw_confidence(canvas, axis, top, report) + _SPACE
    top += _draw_jumps(canvas, axis, top, report) + 24
    _draw_frame_numbers(canvas, axis, top)
    _draw_legend(canvas, top + 40)
    return canvas


class _Axis:
    """Frames across the picture."""

    def __init__(self, frames: range) -> None:
        self.frames = frames
        self._per_frame = (WIDTH - _LEFT - _RIGHT) / len(frames)

    def x(self, frame: float) -> int:
        """Return the middle of a frame, pixels."""
        return round(_LEFT + (frame - self.frames[0] + 0.5) * self._per_frame)

    @property
    def half_width(self) -> int:
        """Of a frame's bar, pixels; wide enough to be seen in a long shot."""
        return max(1, min(14, round(0.32 * self._per_frame)))

    @property
    def ticks(self) -> list[int]:
        """Frames to number, some 15 of them."""
        step = next((step for step in _NICE_STEPS if len(self.frames) / step <= 18), _NICE_STEPS[-1])
        ends = [self.frames[0], self.frames[-1]]
        inner = [frame for frame in self.frames if frame % step == 0 and min(abs(frame - e) for e in ends) > step / 2]
        return sorted({*ends, *inner})


def _summary(report: ShotReport) -> Iterable[str]:
    engines = sorted({metadata.engine for metadata in report.made.values()})
    missing = len(report.frames) - len(report.made)
    yield (
        f"frames {report.frames[0]}-{report.frames[-1]}, {len(report.annotated)} drawn, engine {', '.join(engines)}"
        + (f", {missing} without a matte" if missing else "")
    )
    words = []
    confidence = {frame: value for frame, value in report.confidence.items() if frame not in report.annotated}
    if confidence:
        least = min(confidence, key=lambda frame: confidence[frame])
        mean = sum(confidence.values()) / len(confidence)
        words.append(f"mean confidence {mean:.2f}, least {confidence[least]:.2f} at frame {least}")
    seam = report.worst_seam
    if seam is not None:
        words.append(
            f"worst seam between {seam.annotated} and {seam.neighbour}: {100 * seam.jump:.1f} % of the matte"
            + ("" if seam.usual is None else f" where {100 * seam.usual:.1f} % is usual")
        )
    yield "; ".join(words)


def _tile_size(thumbnails: Sequence[Thumbnail]) -> tuple[int, int]:
    width = (WIDTH - 80 - 12 * (THUMBNAILS - 1)) // THUMBNAILS
    height, plate_width = thumbnails[0].matte.shape if thumbnails else (9, 16)
    return width, max(24, min(2 * width, round(width * height / plate_width)))


def _draw_thumbnail(canvas: Bytes, report: ShotReport, one: Thumbnail, left: int, tile: tuple[int, int]) -> None:
    plate, matte = (cv2.resize(image, tile, interpolation=cv2.INTER_AREA) for image in (one.plate, one.matte))
    tinted = plate * 0.75 + (0.5 * matte)[..., None] * (_TINT * (0.35 + plate) - plate * 0.75)
    picture = np.ascontiguousarray((np.clip(tinted, 0, 1) * 255 + 0.5).astype(np.uint8))
    contours, _ = cv2.findContours((matte > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, (255, 255, 255), 1, cv2.LINE_AA)
    top = _TOP_OF_THUMBNAILS
    canvas[top : top + tile[1], left : left + tile[0]] = picture
    _text(canvas, str(one.frame), (left, top + tile[1] + 24), _INK, size=0.62, weight=2)
    drawn = one.frame in report.annotated
    _text(canvas, one.reason, (left + 84, top + tile[1] + 24), _DRAWN if drawn else _INK, size=0.5)
    figure = report.confidence.get(one.frame)
    if figure is not None and not drawn:
        _text(canvas, f"confidence {figure:.2f}", (left, top + tile[1] + 46), _FAINT, size=0.46)


def _draw_marks(canvas: Bytes, axis: _Axis, top: int, label: str, marks: dict[int, str], colour: Colour) -> int:
    _text(canvas, label, (40, top + 22), _INK, size=0.56)
    _panel(canvas, top, _TRACK - 6)
    for frame, text in marks.items():
        x, half = axis.x(frame), axis.half_width
        cv2.rectangle(canvas, (x - half, top + 2), (x + half, top + _TRACK - 9), colour, -1)
        if text:
            size = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
            inside = size < 2 * half
            place = x - size // 2 if inside else x + half + 3
            _text(canvas, text, (place, top + 20), _PAPER if inside else colour, size=0.5)
    return _TRACK


def _draw_confidence(canvas: Bytes, axis: _Axis, top: int, report: ShotReport) -> int:
    _label(canvas, top, "confidence", ("1 is certain; mean", "over the mattes and", "their edges"))
    _panel(canvas, top, _PLOT)
    for value in (0.0, 0.5, 1.0):
        _rule(canvas, top + round((1 - value) * _PLOT), f"{value:.1f}")
    half, confidence = axis.half_width, report.confidence
    for frame in report.frames:
        x = axis.x(frame)
        figure = confidence.get(frame)
        if frame not in report.made:
            cv2.rectangle(canvas, (x - half, top), (x + half, top + _PLOT), _MISSING, -1)
        elif figure is not None:
            colour = _DRAWN if frame in report.annotated else _CERTAIN
            cv2.rectangle(canvas, (x - half, top + round((1 - figure) * _PLOT)), (x + half, top + _PLOT), colour, -1)
    return _PLOT


def _draw_jumps(canvas: Bytes, axis: _Axis, top: int, report: ShotReport) -> int:
    _label(
        canvas,
        top,
        "instability",
        ("change of the matte", "to the next frame,", "beyond the plate's", "motion, % of its area"),
    )
    _panel(canvas, top, _PLOT)
    scale = max([_LEAST_SCALE, *report.jumps.values()])
    for share in (0.0, 0.5, 1.0):
        _rule(canvas, top + round((1 - share) * _PLOT), f"{100 * scale * share:.1f}")
    seams = {min(seam.annotated, seam.neighbour) for seam in report.seams}
    half = axis.half_width
    for frame, jump in sorted(report.jumps.items(), key=lambda item: item[0] in seams):
        x = axis.x(frame + 0.5)
        height = round(jump / scale * _PLOT)
        cv2.rectangle(canvas, (x - half, top + _PLOT - height), (x + half, top + _PLOT), _colour_of(frame, seams), -1)
    return _PLOT


def _colour_of(frame: int, seams: set[int]) -> Colour:
    return _SEAM if frame in seams else _JUMP


def _draw_frame_numbers(canvas: Bytes, axis: _Axis, top: int) -> None:
    _text(canvas, "frame", (40, top), _FAINT, size=0.5)
    for frame in axis.ticks:
        text = str(frame)
        size = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.48, 1)[0][0]
        _text(canvas, text, (axis.x(frame) - size // 2, top), _INK, size=0.48)
        cv2.line(canvas, (axis.x(frame), top - 22), (axis.x(frame), top - 16), _FAINT, 1)


def _draw_legend(canvas: Bytes, top: int) -> None:
    left = _LEFT
    for colour, text in (
        (_DRAWN, "drawn by the artist"),
        (_SUGGESTED, "worth drawing next, by rank"),
        (_CERTAIN, "propagated"),
        (_JUMP, "between propagated frames"),
        (_SEAM, "seam beside a drawn frame"),
        (_MISSING, "no matte"),
    ):
        cv2.rectangle(canvas, (left, top - 11), (left + 12, top + 1), colour, -1)
        _text(canvas, text, (left + 20, top), _FAINT, size=0.5)
        left += 44 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]


def _label(canvas: Bytes, top: int, name: str, explained: Sequence[str]) -> None:
    _text(canvas, name, (40, top + 16), _INK, size=0.56)
    for line, text in enumerate(explained):
        _text(canvas, text, (40, top + 40 + 18 * line), _FAINT, size=0.42)


def _panel(canvas: Bytes, top: int, height: int) -> None:
    cv2.rectangle(canvas, (_LEFT, top), (WIDTH - _RIGHT, top + height), _PANEL, -1)


def _rule(canvas: Bytes, y: int, text: str) -> None:
    cv2.line(canvas, (_LEFT, y), (WIDTH - _RIGHT, y), _LINE, 1)
    _text(canvas, text, (WIDTH - _RIGHT + 5, y + 4), _FAINT, size=0.4)


def _text(canvas: Bytes, text: str, place: tuple[int, int], colour: Colour, *, size: float, weight: int = 1) -> None:
    # OpenCV's fonts have ASCII alone.
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, place, cv2.FONT_HERSHEY_SIMPLEX, size, colour, weight, cv2.LINE_AA)
