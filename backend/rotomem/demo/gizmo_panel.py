"""The node's panel as a picture, drawn from the gizmo itself: what an artist sees, where no Nuke can be run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from rotomem.drawing import Bytes, Colour
from rotomem.errors import SettingError

_ADD_KNOB = re.compile(r"^ addUserKnob \{(.*)\}$", re.M)
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|\{((?:[^{}]|"[^"]*")*)\}|(\S+)')
_VALUE = re.compile(r"^ (\w+) (.+)$", re.M)

_SCALE = 3
"""Drawn so many times larger and shrunk, for smooth text."""

_WIDTH, _ROW, _LABEL, _GAP = 560, 25, 148, 8
_BACK: Colour = (50, 50, 50)
_FIELD: Colour = (31, 31, 31)
_BUTTON: Colour = (83, 83, 83)
_LINE: Colour = (74, 74, 74)
_TEXT: Colour = (205, 205, 205)
_DIM: Colour = (128, 128, 128)
_ACCENT: Colour = (247, 147, 30)

TAB, TEXT, BUTTON, STRING, FILE, INTEGER, CHOICE, CHECK, SLIDER = "20", "26", "22", "1", "2", "3", "4", "6", "7"
AXES = {"12": "xy", "15": "xyrt"}
"""Letters before the numbers of a position and of a box."""


@dataclass(frozen=True)
class PanelKnob:
    """One ``addUserKnob`` of the gizmo.

    Args:
        code: Nuke's number of the kind, such as ``22`` for a button.
        same_line: it stands beside the one before.
        value: what it shows.
        lowest: left end of a slider.
        highest: its right end.
    """

    code: str
    name: str
    label: str
    value: str
    choices: tuple[str, ...] = ()
    same_line: bool = False
    enabled: bool = True
    lowest: float = 0.0
    highest: float = 1.0


@dataclass(frozen=True)
class PanelTab:
    label: str
    rows: list[list[PanelKnob]] = field(default_factory=list)


def read_panel(gizmo: Path, values: Mapping[str, str] | None = None) -> list[PanelTab]:
    """Read tabs and visible knobs, in order.

    Args:
        values: shown instead of the gizmo's own, by knob name.

    Raises:
        SettingError: no such file, or no knobs in it.
    """
    try:
        text = gizmo.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingError(f"the gizmo {gizmo} cannot be read: {error.strerror}; name it with --gizmo") from error
    own = dict(_VALUE.findall(text[: text.find("\n}")]))
    shown = {**own, **(values or {})}
    tabs: list[PanelTab] = []
    for body in _ADD_KNOB.findall(text):
        words = [_unquote(match) for match in _WORD.finditer(body)]
        options = _options(words[2:])
        if "+INVISIBLE" in words:
            continue
        if words[0] == TAB:
            tabs.append(PanelTab(options.get("l", words[1])))
            continue
        knob = _knob(words, options, shown)
        if not tabs:
            raise SettingError(f"the gizmo {gizmo} has a knob before its first tab")
        if knob.same_line and tabs[-1].rows:
            tabs[-1].rows[-1].append(knob)
        else:
            tabs[-1].rows.append([knob])
    if not tabs:
        raise SettingError(f"the gizmo {gizmo} has no knobs")
    return tabs


def draw_panel(tabs: Sequence[PanelTab], *, node_name: str) -> Bytes:
    """Return all tabs side by side, as Nuke's properties would show one at a time."""
    columns = [_draw_tab(tabs, index, node_name) for index in range(len(tabs))]
    height = max(column.shape[0] for column in columns)
    picture = np.full((height, len(columns) * (_WIDTH + _GAP) - _GAP, 3), _BACK, dtype=np.uint8)
    for index, column in enumerate(columns):
        left = index * (_WIDTH + _GAP)
        picture[: column.shape[0], left : left + _WIDTH] = column
        if index:
            picture[:, left - _GAP : left] = (22, 22, 24)
    return picture


def _unquote(match: re.Match[str]) -> str:
    quoted, braced, plain = match.groups()
    return re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else braced if braced is not None else plain


def _options(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while position < len(words):
        if words[position] in ("l", "t", "T", "M", "n"):
            found[words[position]] = words[position + 1]
            position += 2
        elif words[position] == "R":
            found["lowest"], found["highest"] = words[position + 1], words[position + 2]
            position += 3
        else:
            position += 1
    return found


def _knob(words: Sequence[str], options: Mapping[str, str], shown: Mapping[str, str]) -> PanelKnob:
    code, name = words[0], words[1]
    choices = tuple(_unquote(match) for match in _WORD.finditer(options.get("M", "")))
    default = choices[0] if choices else options.get("T", "") if code == TEXT else "0" if code in "37" else ""
    value = shown.get(name, default).strip('"')
    if code in AXES:
        value = "    ".join(
            f"{axis}  {number}" for axis, number in zip(AXES[code], value.strip("{}").split(), strict=True)
        )
    beside = "-STARTLINE" in words
    enabled = "+DISABLED" not in words and name not in ("first", "last", "colourspace")
    span = float(options.get("lowest", 0)), float(options.get("highest", 1))
    return PanelKnob(code, name, options.get("l", name), value, choices, beside, enabled, *span)


class _Canvas:
    """A picture drawn at ``_SCALE``; coordinates are final pixels."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Bytes = np.full((height * _SCALE, width * _SCALE, 3), _BACK, dtype=np.uint8)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        low = round(left * _SCALE), round(top * _SCALE)
        cv2.rectangle(self.pixels, low, (round(right * _SCALE) - 1, round(bottom * _SCALE) - 1), colour, -1)

    def text(self, text: str, left: float, baseline: float, colour: Colour, *, room: float = 1e6) -> None:
        """Write a line, cut with ``...`` to ``room`` pixels; triangles are drawn, as the font has none."""
        while text and self.width_of(text) > room:
            text = text[:-4].rstrip() + "..."
        for part in re.split("([◀▶])", text):
            if part in ("◀", "▶"):
                self._triangle(left, baseline, colour, pointing_left=part == "◀")
                left += 11
            elif part:
                at = round(left * _SCALE), round(baseline * _SCALE)
                font = cv2.FONT_HERSHEY_DUPLEX
                cv2.putText(self.pixels, part, at, font, 0.4 * _SCALE, colour, _SCALE - 1, cv2.LINE_AA)
                left += self.width_of(part)

    def width_of(self, text: str) -> float:
        plain = re.sub("[◀▶]", "", text)
        width = cv2.getTextSize(plain, cv2.FONT_HERSHEY_DUPLEX, 0.4 * _SCALE, _SCALE - 1)[0][0] / _SCALE
        return float(width) + 11.0 * (len(text) - len(plain))

    def _triangle(self, left: float, baseline: float, colour: Colour, *, pointing_left: bool) -> None:
        tip, base = (left, left + 8) if pointing_left else (left + 8, left)
        points = np.array([(base, baseline - 9), (base, baseline + 1), (tip, baseline - 4)]) * _SCALE
        cv2.fillPoly(self.pixels, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA)

    def final(self) -> Bytes:
        height, width = self.pixels.shape[:2]
        small = cv2.resize(self.pixels, (width // _SCALE, height // _SCALE), interpolation=cv2.INTER_AREA)
        return np.asarray(small, dtype=np.uint8)


def _draw_tab(tabs: Sequence[PanelTab], index: int, node_name: str) -> Bytes:
    rows = tabs[index].rows
    canvas = _Canvas(_WIDTH, 66 + _ROW * len(rows) + 12)
    canvas.box(0, 0, _WIDTH, 26, (64, 64, 64))
    canvas.text(node_name, 12, 18, _TEXT)
    left = 10.0
    for number, tab in enumerate(tabs):
        right = left + canvas.width_of(tab.label) + 20
        canvas.box(left, 32, right, 56, _BACK if number == index else (40, 40, 40))
        if number == index:
            canvas.box(left, 32, right, 34, _ACCENT)
        canvas.text(tab.label, left + 10, 49, _TEXT if number == index else _DIM)
        left = right + 3
    canvas.box(0, 57, _WIDTH, 58, _LINE)
    for number, row in enumerate(rows):
        _draw_row(canvas, row, 66 + _ROW * number)
    return canvas.final()


def _draw_row(canvas: _Canvas, row: Sequence[PanelKnob], top: int) -> None:
    if row[0].code == TEXT and not row[0].label:
        canvas.box(10, top + _ROW // 2, _WIDTH - 10, top + _ROW // 2 + 1, _LINE)
        return
    left = float(_LABEL)
    for place, knob in enumerate(row):
        baseline = top + 17
        if knob.code not in (BUTTON, CHECK):
            label = canvas.width_of(knob.label)
            at = _LABEL - label - 8 if place == 0 else left + 6
            canvas.text(knob.label, at, baseline, _TEXT if knob.enabled else _DIM)
            left = _LABEL if place == 0 else at + label + 8
        following = sum(_least_width(canvas, other) for other in row[place + 1 :])
        left = _draw_knob(canvas, knob, left, top, _WIDTH - 12 - following) + _GAP


def _least_width(canvas: _Canvas, knob: PanelKnob) -> float:
    label = canvas.width_of(knob.label)
    return {BUTTON: label + 32, CHECK: label + 30}.get(knob.code, label + 82)


def _draw_knob(canvas: _Canvas, knob: PanelKnob, left: float, top: int, end: float) -> float:
    """Draw the widget; return its right end."""
    low, high, baseline = top + 3, top + _ROW - 3, top + 17
    colour = _TEXT if knob.enabled else _DIM
    if knob.code == BUTTON:
        right = left + canvas.width_of(knob.label) + 24
        canvas.box(left, low, right, high, _BUTTON)
        canvas.text(knob.label, left + 12, baseline, _TEXT)
        return right
    if knob.code == CHECK:
        canvas.box(left, low + 3, left + 14, high - 2, _FIELD)
        if knob.value == "true":
            canvas.box(left + 4, low + 7, left + 10, high - 6, _ACCENT)
        canvas.text(knob.label, left + 21, baseline, _TEXT)
        return left + 21 + canvas.width_of(knob.label)
    if knob.code == TEXT:
        canvas.text(knob.value, left, baseline, _TEXT, room=end - left)
        return end
    right = {INTEGER: left + 64, CHOICE: left + 150, SLIDER: left + 64}.get(knob.code, end)
    canvas.box(left, low, right, high, _BUTTON if knob.code == CHOICE else _FIELD)
    canvas.text(knob.value, left + 7, baseline, colour, room=right - left - 24)
    if knob.code == CHOICE:
        canvas.text("▶", right - 15, baseline, _DIM)
    if knob.code == SLIDER:
        canvas.box(right + 10, top + 12, end, top + 13, _DIM)
        place = (float(knob.value) - knob.lowest) / (knob.highest - knob.lowest)
        at = right + 10 + place * (end - right - 15)
        canvas.box(at, top + 6, at + 5, top + 19, _BUTTON)
        return end
    return right
