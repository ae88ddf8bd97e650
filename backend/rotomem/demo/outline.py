"""Bezier outlines as arrays: what the demo animates, renders, and hands out as the artist's roto shapes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotomem_client.shapes import ControlPoint, Shape

Floats = NDArray[np.float64]


def smooth_outline(vertices: Floats, *, corners: tuple[int, ...] = ()) -> Floats:
    """Return a closed outline through ``vertices`` (N, 2), smooth (Catmull-Rom) except at ``corners``.

    Returns:
        (N, 3, 2): vertex, left handle, right handle, all absolute, so that any transform applies to all alike.
    """
    along = (np.roll(vertices, -1, axis=0) - np.roll(vertices, 1, axis=0)) / 6
    along[list(corners)] = 0
    return np.stack([vertices, vertices - along, vertices + along], axis=1)


def transform_outline(outline: Floats, matrix: Floats) -> Floats:
    """Apply an affine ``matrix`` (2, 3) to an outline (N, 3, 2)."""
    return outline @ matrix[:, :2].T + matrix[:, 2]


def outline_shape(name: str, outline: Floats, opening: Floats | None = None, closing: Floats | None = None) -> Shape:
    """Return the roto shape of an outline (N, 3, 2).

    With the outline as the shutter opens and as it closes, the edge is feathered as the motion blurs it: fully inside
    where the object stays throughout, nothing where it never comes. So the drawn curve moves inward, and its feather
    outward, by half of what the vertex travels along its normal.
    """
    vertex, left, right = outline[:, 0], outline[:, 1] - outline[:, 0], outline[:, 2] - outline[:, 0]
    spread = np.zeros_like(vertex)
    if opening is not None and closing is not None:
        normal = _outward_normals(outline)
        travel = np.abs(((closing - opening)[:, 0] * normal).sum(axis=1, keepdims=True))
        spread = normal * np.where(travel < 0.5, 0, travel)
    inner = vertex - spread / 2
    return Shape(
        name,
        tuple(
            ControlPoint(_pair(c), _pair(a), _pair(b), _pair(f), _pair(a), _pair(b))
            if f.any()
            else ControlPoint(_pair(c), _pair(a), _pair(b))
            for c, a, b, f in zip(inner, left, right, spread, strict=True)
        ),
    )


def _outward_normals(outline: Floats) -> Floats:
    following, previous = np.roll(outline[:, 0], -1, axis=0), np.roll(outline[:, 0], 1, axis=0)
    along = following - previous
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    x, y = outline[:, 0].T
    area = (x * np.roll(y, -1) - y * np.roll(x, -1)).sum()
    unit: Floats = normal / np.maximum(np.hypot(*normal.T), 1e-9)[:, None] * np.sign(area)
    return unit


def _pair(vector: Floats) -> tuple[float, float]:
    return float(vector[0]), float(vector[1])
