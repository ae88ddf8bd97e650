"""Frame ranges as compositors write them: ``1001-1010x2,1020``."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rotomem.errors import SettingError

MAX_FRAMES = 1_000_000
"""A typing error such as ``1-10000000000`` is refused before a list of that length is made."""

_PIECE = re.compile(r"(?P<first>-?\d+)(?:\s*-\s*(?P<last>-?\d+)(?:\s*x\s*(?P<step>\d+))?)?")


def parse_frame_range(text: str) -> list[int]:
    """Return the frames that ``text`` names, ascending, each once.

    Pieces are separated by commas or blanks: ``7``, ``1001-1010`` (both ends included), ``1001-1010x2`` (every second).
    Negative frames are allowed: ``-5--1``.

    Raises:
        SettingError: not a range, or an empty or absurdly long one.
    """
    frames: set[int] = set()
    position, end = 0, len(text)
    while position < end:
        if text[position] in ", \t":
            position += 1
            continue
        match = _PIECE.match(text, position)
        if match is None or (match.end() < end and text[match.end()] not in ", \t"):
            raise SettingError(f"{text!r} is not a frame range; write it like 1001-1010, 1001-1010x2 or 1001,1005,1020")
        frames.update(_expand(match, text))
        position = match.end()
    if not frames:
        raise SettingError("the frame range is empty; write it like 1001-1010")
    return sorted(frames)


def _expand(match: re.Match[str], text: str) -> range:
    first = int(match["first"])
    last = int(match["last"]) if match["last"] is not None else first
    step = int(match["step"]) if match["step"] is not None else 1
    if step < 1:
        raise SettingError(f"the frame range {text!r} has the step {step}; it must be 1 or more")
    if last < first:
        raise SettingError(f"the frame range {text!r} runs backward ({first}-{last}); write {last}-{first}")
    if (last - first) // step >= MAX_FRAMES:
        raise SettingError(f"the frame range {text!r} has more than {MAX_FRAMES} frames; shorten it")
    return range(first, last + 1, step)


def format_frame_range(frames: Iterable[int]) -> str:
    """Write frames shortly, for sentences: ``[1004, 1005, 1006, 1010]`` becomes ``"1004-1006, 1010"``.

    Two neighbours are written as two frames. The result can be parsed again; no frames give the empty string.
    """
    runs: list[tuple[int, int]] = []
    for frame in sorted(set(frames)):
        if runs and runs[-1][1] == frame - 1:
            runs[-1] = (runs[-1][0], frame)
        else:
            runs.append((frame, frame))
    pieces: list[str] = []
    for first, last in runs:
        pieces += [f"{first}-{last}"] if last - first > 1 else [str(frame) for frame in range(first, last + 1)]
    return ", ".join(pieces)
