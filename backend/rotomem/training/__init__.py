"""Measuring engines against the truth, and what trains them."""

from __future__ import annotations

from rotomem.training.evaluation import annotated_frames, evaluate_clips, load_clip
from rotomem.training.metrics import binarise, boundary_f, boundary_map, region_j
from rotomem.training.scores import ClipScore, EvaluationReport, format_table, to_json

__all__ = [
    "ClipScore",
    "EvaluationReport",
    "annotated_frames",
    "binarise",
    "boundary_f",
    "boundary_map",
    "evaluate_clips",
    "format_table",
    "load_clip",
    "region_j",
    "to_json",
]
