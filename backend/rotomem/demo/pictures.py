"""The README's pictures: the panel, the workflow, and one shot before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rotomem.demo.contact_sheet import ContactRow, draw_roto
from rotomem.demo.gizmo_panel import draw_panel, read_panel
from rotomem.drawing import (
    FAINT,
    INK,
    OBJECT_COLOURS,
    PAPER,
    Bytes,
    Floats,
    fit,
    light,
    save_png,
    tint,
    to_bytes,
    write_text,
)

_TILE, _GAP, _CAPTION = 380, 10, 58


@dataclass(frozen=True)
class Caption:
    """A picture with a title and one line below it."""

    picture: Bytes
    title: str
    line: str


def write_panel(path: Path, gizmo: Path, *, annotated: Sequence[int], last: int, first: int, engine: str) -> None:
    """Draw the gizmo's panel as it stands after a propagation of the demo shot.

    Raises:
        SettingError: the gizmo cannot be read.
    """
    total = last - first + 1
    values = {
        "status": f"ready: {len(annotated)} annotated, {total}/{total} by {engine}",
        "annotated_keys": "2",
        "first": str(first),
        "last": str(last),
        "object": "hero_koi",
        "engine_used": engine,
        "mattes": "/shots/pond/rotomem/9f2c/v001/matte.%04d.exr",
        "backend_state": "tcp://127.0.0.1:7447: Rotomem on cpu, idle",
        "input_colour": "auto",
    }
    save_png(path, draw_panel(read_panel(gizmo, values), node_name="Rotomem1"))


def write_before_after(path: Path, rows: Mapping[int, ContactRow], annotated: Sequence[int], middle: int) -> None:
    """Write what was drawn, and of one frame that nobody drew the plate, the matte and a comp with it."""
    row = rows[middle]
    drawn = [
        Caption(_with_roto(rows[frame], _TILE), f"drawn on {frame}", "roto shapes, feathered; pink holds out")
        for frame in annotated[:3]
    ]
    made = [
        Caption(to_bytes(fit(row.plate, _tile(row))), f"plate, frame {middle}", "nobody drew here"),
        Caption(_matte(row), "matte", f"soft alpha of frame {middle}, both fish"),
        Caption(_comp(row), "comp", "the pond graded, the fish kept by the matte"),
    ]
    save_png(path, np.concatenate([_strip(drawn), _strip(made)]))


def write_workflow(path: Path, rows: Mapping[int, ContactRow], annotated: Sequence[int], worst: int) -> None:
    """Write the artist's round: draw, propagate, look where to draw next, render."""
    first, middle = rows[annotated[0]], rows[annotated[1]]
    steps = [
        Caption(_with_roto(first, _TILE), "1  draw", f"a roto on {len(annotated)} of {len(rows)} frames"),
        Caption(_filmstrip(rows), "2  propagate", "mattes come while you scrub"),
        Caption(_overlay(rows[worst]), "3  check, draw again", f"the engine is least sure of frame {worst}"),
        Caption(_comp(middle), "4  render", "the comp carries the node: any blade"),
    ]
    save_png(path, _strip(steps))


def _tile(row: ContactRow) -> tuple[int, int]:
    height, width = row.plate.shape[:2]
    return _TILE, round(_TILE * height / width)


def _with_roto(row: ContactRow, width: int) -> Bytes:
    height = round(width * row.plate.shape[0] / row.plate.shape[1])
    canvas = to_bytes(fit(row.plate, (width, height)) * np.float32(0.8))
    colours = {name: OBJECT_COLOURS[index % len(OBJECT_COLOURS)] for index, name in enumerate(row.mattes)}
    draw_roto(canvas, row, colours)
    return canvas


def _matte(row: ContactRow) -> Bytes:
    alpha = fit(_union(row), _tile(row))
    return to_bytes(np.repeat(alpha[..., None], 3, axis=2))


def _overlay(row: ContactRow) -> Bytes:
    plate = fit(row.plate, _tile(row))
    picture: Floats = plate * np.float32(0.72)
    for index, matte in enumerate(row.mattes.values()):
        picture = tint(picture, fit(matte, _tile(row)), plate, OBJECT_COLOURS[index % len(OBJECT_COLOURS)])
    return to_bytes(picture)


def _comp(row: ContactRow) -> Bytes:
    """Return the plate drained of colour and cooled, with the fish as they were: what the matte is for."""
    plate = fit(row.plate, _tile(row))
    alpha = fit(_union(row), _tile(row))[..., None]
    grey = (plate @ np.array((0.2126, 0.7152, 0.0722), np.float32))[..., None]
    graded = grey * light((88, 112, 150))
    return to_bytes(np.asarray(graded + alpha * (plate - graded), np.float32))


def _filmstrip(rows: Mapping[int, ContactRow]) -> Bytes:
    """Return nine frames with their mattes, in three by three."""
    frames = sorted(rows)
    chosen = [frames[round(index * (len(frames) - 1) / 8)] for index in range(9)]
    width, height = _tile(rows[frames[0]])
    strip = np.full((height, width, 3), PAPER, dtype=np.uint8)
    each = (width // 3 - 2, height // 3 - 2)
    for index, frame in enumerate(chosen):
        top, left = index // 3 * (height // 3), index % 3 * (width // 3)
        strip[top : top + each[1], left : left + each[0]] = cv2.resize(
            _overlay(rows[frame]), each, interpolation=cv2.INTER_AREA
        )
    return strip


def _union(row: ContactRow) -> Floats:
    uncovered = np.ones(row.plate.shape[:2], np.float32)
    for matte in row.mattes.values():
        uncovered *= 1 - matte
    return np.asarray(1 - uncovered, np.float32)


def _strip(pictures: Sequence[Caption]) -> Bytes:
    height = max(entry.picture.shape[0] for entry in pictures)
    shape = (height + _CAPTION + _GAP, len(pictures) * (_TILE + _GAP) + _GAP, 3)
    sheet = np.full(shape, PAPER, dtype=np.uint8)
    for index, entry in enumerate(pictures):
        left = _GAP + index * (_TILE + _GAP)
        sheet[_GAP : _GAP + entry.picture.shape[0], left : left + entry.picture.shape[1]] = entry.picture
        write_text(sheet, entry.title, (left + 1, height + _GAP + 24), INK, size=0.6)
        write_text(sheet, entry.line, (left + 1, height + _GAP + 46), FAINT, size=0.46)
    return sheet
