"""A shot's state and the propagation of its annotations into matte files.

The data types are plain and cheap. ``propagate_shot`` and ``rasterize_annotations`` bring OpenImageIO, OpenCV and torch
with them, so they are loaded on first use: the daemon's own process needs the types alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rotomem.session.shot import (
    MatteWritten,
    PlateReference,
    Progress,
    PropagationSummary,
    PropagationTask,
    ShotAnnotation,
)

if TYPE_CHECKING:
    from rotomem.session.propagate import propagate_shot, rasterize_annotations
    from rotomem.session.shape_file import read_shape_file, write_shape_file

__all__ = [
    "MatteWritten",
    "PlateReference",
    "Progress",
    "PropagationSummary",
    "PropagationTask",
    "ShotAnnotation",
    "propagate_shot",
    "rasterize_annotations",
    "read_shape_file",
    "write_shape_file",
]


def __getattr__(name: str) -> Any:
    if name in ("propagate_shot", "rasterize_annotations"):
        from rotomem.session import propagate

        return getattr(propagate, name)
    if name in ("read_shape_file", "write_shape_file"):
        from rotomem.session import shape_file

        return getattr(shape_file, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
