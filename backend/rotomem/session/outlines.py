"""Matte files of a shot to keyed outlines, as plain values in and out: another process may do it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rotomem.errors import PlateSizeError
from rotomem.matte.contours import Contour, trace_contours
from rotomem.matte.vectorize import outlines_of
from rotomem.plates import read_alpha
from rotomem_client.shapes import Outline


def outlines_from_files(files: Mapping[int, Path], object_name: str, tolerance: float) -> tuple[Outline, ...]:
    """Vectorize one object's layer of matte files.

    Args:
        files: by frame.
        object_name: names the layer, and the outlines.
        tolerance: in pixels.

    Raises:
        PlateMissingError, PlateUnreadableError: naming the frame.
        PlateSizeError: the mattes are not of one size.
    """
    contours: dict[int, list[Contour]] = {}
    size: tuple[int, ...] = ()
    for frame, path in sorted(files.items()):
        matte = read_alpha(path, frame, object_name=object_name)
        if size not in ((), matte.shape):
            raise PlateSizeError(
                f"the matte of frame {frame} has {matte.shape[1]} x {matte.shape[0]} pixels, those before it "
                f"{size[1]} x {size[0]}; propagate again"
            )
        size = matte.shape
        contours[frame] = trace_contours(matte)
    return outlines_of(contours, tolerance, object_name)
