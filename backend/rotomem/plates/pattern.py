"""File patterns of a plate: which file holds which frame."""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path

from rotomem.errors import SettingError

_FRAME_NUMBER = re.compile(r"%\d*d|(?P<hashes>#+)|%%")
_VIEW = re.compile(r"%[vV]")
_TCL = re.compile(r"\[[a-zA-Z_:]+ [^\]]*\]")


@dataclass(frozen=True)
class FramePattern:
    """Where each frame of an image sequence lies.

    ``%04d``, ``%d`` and ``####`` stand for the frame number, also several times and in folder names; Nuke and
    FFmpeg print negative frames as C does (``%04d`` of -5 is ``-005``), and so does this. ``%%`` is a percent sign.
    A pattern without a frame number is one file, which holds every frame.

    Args:
        text: the pattern as it was given.
        parts: text and printf formats by turns; text at even indices.
    """

    text: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> FramePattern:
        """Read a pattern.

        Raises:
            SettingError: empty, a pattern per view (``%V``) or one that holds an unevaluated TCL expression.
        """
        text = text.strip()
        if not text:
            raise SettingError("the file pattern is empty; give a path such as /shots/a/plate.%04d.exr")
        view = _VIEW.search(text)
        if view:
            raise SettingError(
                f"the file pattern {text} holds {view[0]}, one file per view; write the view's name there, such as left"
            )
        expression = _TCL.search(text)
        if expression:
            raise SettingError(
                f"the file pattern {text} holds the TCL expression {expression[0]}; give the path itself"
            )
        # Path() drops "./" and doubled slashes, so that what a folder listing returns can be compared as text.
        normal = str(Path(text).expanduser() if text.startswith("~/") else Path(text))
        parts: list[str] = [""]
        position = 0
        for match in _FRAME_NUMBER.finditer(normal):
            parts[-1] += normal[position : match.start()]
            position = match.end()
            if match[0] == "%%":
                parts[-1] += "%"
            else:
                parts += [f"%0{len(match['hashes'])}d" if match["hashes"] else match[0], ""]
        parts[-1] += normal[position:]
        return cls(text, tuple(parts))

    @property
    def is_sequence(self) -> bool:
        """Whether each frame has its own file."""
        return len(self.parts) > 1

    def path(self, frame: int) -> Path:
        """Return the file that holds ``frame``, whether or not it exists."""
        return Path("".join(part % frame if index % 2 else part for index, part in enumerate(self.parts)))

    def frames_on_disk(self) -> list[int]:
        """Return the frames that have a file, ascending; of a single file none, because it says nothing of a range.

        One listing of the folder, so that a thousand frames on a file server cost one request.
        """
        if not self.is_sequence:
            return []
        wildcard = "".join("*" if index % 2 else glob.escape(part) for index, part in enumerate(self.parts))
        expression = re.compile(
            "".join(r"( *-?\d+)" if index % 2 else re.escape(part) for index, part in enumerate(self.parts))
        )
        frames: set[int] = set()
        for name in glob.iglob(wildcard):
            match = expression.fullmatch(name)
            # "7.exr" is not frame 7 of %04d.exr, and 0007/0008.exr is no frame of %04d/%04d.exr.
            if match is not None and str(self.path(int(match[1]))) == name:
                frames.add(int(match[1]))
        return sorted(frames)
