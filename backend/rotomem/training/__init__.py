"""Measuring engines against the truth, and what trains them."""

from __future__ import annotations

from rotomem.training.evaluation import EngineSettings, annotated_frames, evaluate_clips, evaluate_footage
from rotomem.training.footage import HeldOutShot, load_clip
from rotomem.training.metrics import binarise, boundary_f, boundary_map, region_j, temporal_stability
from rotomem.training.scores import ClipScore, Condition, EvaluationReport, format_table, to_json

__all__ = [
    "ClipScore",
    "Condition",
    "EngineSettings",
    "EvaluationReport",
    "HeldOutShot",
    "annotated_frames",
    "binarise",
    "boundary_f",
    "boundary_map",
    "evaluate_clips",
    "evaluate_footage",
    "format_table",
    "load_clip",
    "region_j",
    "temporal_stability",
    "to_json",
]
