"""Shapes to mattes, and mattes to the plate's edges."""

from __future__ import annotations

from rotomem.matte.edges import guided_filter, snap_edges
from rotomem.matte.rasterizer import rasterize_shapes

__all__ = ["guided_filter", "rasterize_shapes", "snap_edges"]
