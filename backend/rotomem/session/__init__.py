"""A shot's state and the propagation of its annotations into matte files."""

from rotomem.session.propagate import propagate_shot, rasterize_annotations
from rotomem.session.shape_file import read_shape_file, write_shape_file
from rotomem.session.shot import (
    MatteWritten,
    PlateReference,
    Progress,
    PropagationSummary,
    PropagationTask,
    ShotAnnotation,
)

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
