"""The plate: files that the daemon can read itself (direct path), or frames rendered to EXR here (extract path)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from rotomem_nuke import host
from rotomem_nuke.errors import GraphError
from rotomem_nuke.formats import Format, format_of
from rotomem_nuke.temporary import render_node

CHUNK_FRAMES = 8
FRAME_NUMBER = re.compile(r"%0?\d*d|#+")
IMAGE_SUFFIXES = (".exr", ".dpx", ".cin", ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".tga", ".hdr", ".bmp")


@dataclass(frozen=True)
class PlateSource:
    """The plate as the daemon will get it.

    Args:
        pattern: of files on disk; empty on the extract path.
        first: first frame, inclusive.
        last: last frame, inclusive.
        colourspace: an OCIO name, or ``auto`` for the daemon to tell from the files.
        extracted_because: why files cannot be sent as they are; empty on the direct path.
        view: that the pixels are of; empty in a script with a single view.
    """

    first: int
    last: int
    format: Format
    colourspace: str
    pattern: str = ""
    extracted_because: str = ""
    view: str = ""


def find_plate(node: host.Node, input_colour: str, view: str = "") -> PlateSource:
    """Decide how the plate travels.

    Args:
        node: what is wired into the plate input.
        input_colour: ``auto``, ``raw`` or a colourspace's name, from the knobs.
        view: whose pixels; empty in a script with a single view.

    Raises:
        GraphError: nothing is wired above a Dot.
    """
    source = upstream_of(node)
    size = format_of(node)
    reason = why_not_direct(source, view)
    if reason:
        return PlateSource(
            first=int(node.firstFrame()),
            last=int(node.lastFrame()),
            format=size,
            colourspace=working_space() if input_colour == "auto" else input_colour,
            extracted_because=reason,
            view=view,
        )
    return PlateSource(
        first=int(source["first"].value()),
        last=int(source["last"].value()),
        format=size,
        colourspace=read_colourspace(source) if input_colour == "auto" else input_colour,
        pattern=pattern_of(source, view),
        view=view,
    )


def upstream_of(node: host.Node) -> host.Node:
    """Follow input 0 through Dots and NoOps, which change no pixel."""
    while node.Class() in ("Dot", "NoOp"):
        above = node.input(0)
        if above is None:
            raise GraphError(f"{node.fullName()} leads to no image; wire the plate into it")
        node = above
    return node


def why_not_direct(source: host.Node, view: str = "") -> str:
    """Return why ``source``'s files would not be the pixels that the artist sees; empty if they are."""
    name = source.fullName()
    if source.Class() != "Read":
        return f"{name} is a {source.Class()}, not a Read"
    if source["disable"].value():
        return f"{name} is disabled"
    evaluated = str(source["file"].getEvaluatedValue() or "")
    if not evaluated.lower().endswith(IMAGE_SUFFIXES):
        return f"{name} reads a movie or a format that only Nuke decodes"
    names_view = re.search(r"%[vV]", evaluated) is not None
    if names_view and not view:
        return f"{name} has one file per view"
    if view and not names_view:
        return f"{name} may show another file in each view"  # a split knob's own value cannot be asked for by view
    if str(source["frame"].value()).strip():
        return f"{name} shifts or retimes its frames"
    several = int(source["first"].value()) != int(source["last"].value())
    if several and not FRAME_NUMBER.search(evaluated) and "[" in str(source["file"].value()):
        return f"{name} computes its file names frame by frame"
    return ""


def pattern_of(read: host.Node, view: str) -> str:
    """Return a Read's files with its Tcl evaluated and the view put in; the frame number stays a pattern."""
    pattern = str(read["file"].getEvaluatedValue() or "")
    return pattern.replace("%V", view).replace("%v", view[:1]) if view else pattern


def file_of(pattern: str, frame: int) -> Path:
    """Return one frame's file of a ``%04d``, ``####`` or single-file pattern."""
    hashes = re.search(r"#+", pattern)
    if hashes:
        width = len(hashes.group())
        return Path(pattern[: hashes.start()] + str(frame).zfill(width) + pattern[hashes.end() :])
    digits = re.search(r"%(0?\d*)d", pattern)
    if digits:
        return Path(pattern[: digits.start()] + digits.group() % frame + pattern[digits.end() :])
    return Path(pattern)


def read_colourspace(read: host.Node) -> str:
    """Return what a Read's colourspace knob shows, such as ``sRGB`` or ``default (linear)``; the daemon knows both."""
    if read["raw"].value():
        return working_space()
    text = str(read["colorspace"].value()).strip()
    return "auto" if text in ("", "default") else text


def working_space() -> str:
    """Return the script's working space: what rendered and raw pixels are in."""
    return host.value("root.workingSpaceLUT").strip() or "linear"


def frame_chunks(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Cut a range so that a render can be cancelled and frames leave while others are made.

    The non-commercial edition counts every temporary node for good, so there it is one chunk.
    """
    step = last - first + 1 if host.limits_handles() else CHUNK_FRAMES
    for start in range(first, last + 1, step):
        yield start, min(start + step - 1, last)


Extract = Callable[[Path, int, int], "dict[int, Path]"]


def extractor(node: host.Node, view: str = "") -> Extract:
    """Return a function (folder, first, last) -> files that renders the plate; it must be called on the main thread."""

    def extract(folder: Path, first: int, last: int) -> dict[int, Path]:
        size = format_of(node)
        render_node(node, folder / "plate.%04d.exr", first, last, channels="rgb", size=size, view=view)
        return {frame: folder / f"plate.{frame:04d}.exr" for frame in range(first, last + 1)}

    return extract
