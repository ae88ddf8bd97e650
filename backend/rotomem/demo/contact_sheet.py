"""A contact sheet: plate, roto, matte and difference to the truth, frame by frame, as one PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.drawing import (
    FAINT,
    INK,
    OBJECT_COLOURS,
    PAPER,
    Bytes,
    Colour,
    Floats,
    fit,
    light,
    save_png,
    tint,
    to_bytes,
    write_legend,
    write_text,
)
from rotomem.matte.bezier import flatten_ribbon, shape_ribbon
from rotomem_client.shapes import Shape

COLUMNS = ("plate", "roto / result", "matte", "result - truth")
_TOO_MUCH: Colour = (255, 71, 51)
_TOO_LITTLE: Colour = (64, 153, 255)
_HOLDOUT: Colour = (255, 89, 217)
_BADGE: Colour = (250, 184, 46)

_GAP = 10
_GUTTER = 150
_HEADER = 112
_FOOTER = 46


@dataclass(frozen=True)
class ContactRow:
    """One frame of the sheet; all images are of one size.

    Args:
        frame: number.
        plate: (H, W, 3) for a display, sRGB-encoded, in [0, 1].
        mattes: the result by object, (H, W) in [0, 1].
        truth: the true matte by object, likewise; objects without one have no difference.
        shapes: the roto by object, in the plate's pixels; empty where the frame is not annotated.
        note: a few words below the frame number, such as its score.
    """

    frame: int
    plate: Floats
    mattes: Mapping[str, Floats]
    truth: Mapping[str, Floats]
    shapes: Mapping[str, Sequence[Shape]] = field(default_factory=dict)
    note: str = ""


def write_contact_sheet(
    path: Path, rows: Sequence[ContactRow], *, title: str, subtitle: str = "", tile_width: int = 480
) -> None:
    """Write the sheet as PNG, one row per frame in the order given.

    The second column shows the artist's roto over the plate on annotated frames (outline, vertices, dashed feather
    edge, holdouts in pink) and the tinted result on the others.

    Args:
        rows: at least one.
        title: large, on top.
        subtitle: below it.
        tile_width: of one picture, pixels.

    Raises:
        ValueError: no rows.
        DiskFullError, OutputUnwritableError: names the file.
    """
    if not rows:
        raise ValueError("a contact sheet needs at least one row")
    objects = list(dict.fromkeys(name for row in rows for name in row.mattes))
    colours = {name: OBJECT_COLOURS[index % len(OBJECT_COLOURS)] for index, name in enumerate(objects)}
    height, width = rows[0].plate.shape[:2]
    tile = tile_width, max(1, round(tile_width * height / width))
    sheet = _blank_sheet(tile, len(rows))
    _write_heading(sheet, title, subtitle, tile_width)
    for index, row in enumerate(rows):
        top = _HEADER + index * (tile[1] + _GAP)
        _write_row_label(sheet, row, top)
        for column, image in enumerate(_row_images(row, tile, colours)):
            left = _GUTTER + column * (tile_width + _GAP)
            sheet[top : top + tile[1], left : left + tile_width] = image
    _write_legend(sheet, colours)
    save_png(path, sheet)


def _row_images(row: ContactRow, tile: tuple[int, int], colours: Mapping[str, Colour]) -> list[Bytes]:
    plate = fit(row.plate, tile)
    mattes = {name: fit(matte, tile) for name, matte in row.mattes.items()}
    tinted = plate * np.float32(0.72)
    if not row.shapes:
        for name, matte in mattes.items():
            tinted = tint(tinted, matte, plate, colours[name])
    second = to_bytes(tinted)
    draw_roto(second, row, colours)
    picture = np.zeros_like(plate)
    for name, matte in mattes.items():
        picture += matte[..., None] * light(_matte_colour(colours, name))
    difference = np.zeros_like(plate)
    for name, truth in row.truth.items():
        if name in row.mattes:
            error = fit(row.mattes[name] - truth, tile)[..., None]
            difference += np.maximum(error, 0) * light(_TOO_MUCH) + np.maximum(-error, 0) * light(_TOO_LITTLE)
    return [to_bytes(plate), second, to_bytes(picture), to_bytes(difference)]


def _matte_colour(colours: Mapping[str, Colour], name: str) -> Colour:
    """One object's matte is white, as compositors know it; several are told apart by their colours."""
    return (255, 255, 255) if len(colours) == 1 else colours[name]


def draw_roto(canvas: Bytes, row: ContactRow, colours: Mapping[str, Colour]) -> None:
    """Draw the row's shapes over ``canvas``, its plate at any size: outline, vertices, dashed feather edge."""
    height, width = row.plate.shape[:2]
    scale = canvas.shape[1] / width
    for name, shapes in row.shapes.items():
        for shape in sorted(shapes, key=_is_holdout, reverse=True):
            colour = _HOLDOUT if _is_holdout(shape) else colours.get(name, INK)
            outlines = flatten_ribbon(shape_ribbon(shape), width=width, height=height) * scale
            _draw_line(canvas, outlines[:, 0], colour)
            if _is_holdout(shape):
                continue
            if outlines.shape[1] == 2:
                _draw_dashes(canvas, outlines[:, 1], colour)
            for point in shape.points:
                x, y = (round(c * scale) for c in point.center)
                cv2.rectangle(canvas, (x - 1, y - 1), (x + 1, y + 1), colour, -1)


def _is_holdout(shape: Shape) -> bool:
    return shape.blend_mode in ("from", "minus") or (shape.inverted and shape.blend_mode in ("multiply", "min"))


def _draw_line(canvas: Bytes, points: NDArray[np.float64], colour: Colour) -> None:
    fixed = np.round(points * 16 - 8).astype(np.int32)
    cv2.polylines(canvas, [fixed], True, colour, 1, cv2.LINE_AA, shift=4)


def _draw_dashes(canvas: Bytes, points: NDArray[np.float64], colour: Colour) -> None:
    steps = np.hypot(*np.diff(points, axis=0, append=points[:1]).T)
    dash = (np.cumsum(steps) // 4).astype(np.int64)
    faint = tuple(round(0.75 * c) for c in colour)
    for number in range(0, int(dash[-1]) + 1, 2):
        piece = points[dash == number]
        if len(piece) > 1:
            fixed = np.round(piece * 16 - 8).astype(np.int32)
            cv2.polylines(canvas, [fixed], False, faint, 1, cv2.LINE_AA, shift=4)


def _blank_sheet(tile: tuple[int, int], rows: int) -> Bytes:
    width = _GUTTER + len(COLUMNS) * (tile[0] + _GAP)
    height = _HEADER + rows * (tile[1] + _GAP) + _FOOTER
    return np.full((height, width, 3), PAPER, dtype=np.uint8)


def _write_heading(sheet: Bytes, title: str, subtitle: str, tile_width: int) -> None:
    write_text(sheet, title, (_GAP + 6, 40), INK, size=0.95, weight=2)
    write_text(sheet, subtitle, (_GAP + 6, 68), FAINT, size=0.52)
    for column, name in enumerate(COLUMNS):
        write_text(sheet, name, (_GUTTER + column * (tile_width + _GAP) + 2, _HEADER - 10), INK, size=0.55)


def _write_row_label(sheet: Bytes, row: ContactRow, top: int) -> None:
    write_text(sheet, str(row.frame), (_GAP + 6, top + 26), INK, size=0.8, weight=2)
    if row.shapes:
        cv2.rectangle(sheet, (_GAP + 6, top + 40), (_GAP + 112, top + 62), _BADGE, -1)
        write_text(sheet, "annotated", (_GAP + 13, top + 56), PAPER, size=0.5)
    for line, text in enumerate(row.note.splitlines()):
        write_text(sheet, text, (_GAP + 6, top + 86 + 20 * line), FAINT, size=0.46)


def _write_legend(sheet: Bytes, colours: Mapping[str, Colour]) -> None:
    entries = [
        *((name, _matte_colour(colours, name)) for name in colours),
        ("holdout", _HOLDOUT),
        ("dashed: feather edge", FAINT),
        ("more than the truth", _TOO_MUCH),
        ("less than the truth", _TOO_LITTLE),
    ]
    write_legend(sheet, entries, left=_GUTTER, bottom=sheet.shape[0] - 16)
