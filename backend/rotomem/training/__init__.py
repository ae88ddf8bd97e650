"""Measuring engines against the truth, and what trains them."""

from __future__ import annotations

from rotomem.training.metrics import binarise, boundary_f, boundary_map, region_j

__all__ = ["binarise", "boundary_f", "boundary_map", "region_j"]
