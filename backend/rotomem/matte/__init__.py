"""Shapes to mattes, and mattes to the plate's edges."""

from __future__ import annotations

from rotomem.matte.rasterizer import rasterize_shapes

__all__ = ["rasterize_shapes"]
