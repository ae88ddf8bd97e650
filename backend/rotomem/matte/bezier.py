"""Closed cubic Bezier outlines, with their feather, as polylines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rotomem.errors import AnnotationError
from rotomem_client.shapes import Shape

Floats = NDArray[np.float64]

FLATNESS_PX = 1 / 2048
"""How far a chord may lie from its curve. A sample of the 16 x 16 grid changes side only within this distance."""

MAX_COORDINATE_PX = 1e7
_SNAP_PX = 2.0**-24
"""Vertices are rounded to this, so that a line drawn there and back encloses nothing in spite of float rounding."""

MAX_CHORDS = 512
"""Per piece; a longer piece is halved first, so that halves outside the frame cost nothing."""


def shape_ribbon(shape: Shape) -> Floats:
    """Return the control points of a shape's outline and, where it has one, of its feather outline.

    A vertex that is not feathered lies on both outlines with the same tangents.

    Returns:
        (N, 4, D, 2) pixels: N cubic segments, D = 1 (outline) or 2 (outline, feather outline).

    Raises:
        AnnotationError: a coordinate lies absurdly far from the frame.
    """
    points = shape.points
    outline = [(p.center, p.left, p.right) for p in points]
    if any(p.feathered for p in points):
        feather = [
            ((p.center[0] + p.feather[0], p.center[1] + p.feather[1]), p.feather_left, p.feather_right)
            if p.feathered
            else (p.center, p.left, p.right)
            for p in points
        ]
        vertices = np.array([outline, feather], dtype=np.float64).transpose(1, 2, 0, 3)
    else:
        vertices = np.array([outline], dtype=np.float64).transpose(1, 2, 0, 3)
    center, left, right = vertices[:, 0], vertices[:, 1], vertices[:, 2]
    following = np.roll(center, -1, axis=0)
    ribbon = np.stack([center, center + right, following + np.roll(left, -1, axis=0), following], axis=1)
    if np.abs(ribbon).max() > MAX_COORDINATE_PX:
        raise AnnotationError(
            f"shape {shape.name!r} has a point more than {MAX_COORDINATE_PX:.0f} pixels from the frame; "
            "move it closer or delete it"
        )
    return ribbon


def flatten_ribbon(ribbon: Floats, *, width: int, height: int) -> Floats:
    """Cut both outlines at the same parameters into chords within ``FLATNESS_PX`` of the curve.

    Every outline between the two is then as close, because its control points are interpolated likewise. A piece that
    lies wholly beyond one side of the frame becomes one chord: only its end points matter there.

    Args:
        ribbon: (N, 4, D, 2) pixels.
        width: of the frame, which begins at (0, 0).
        height: likewise.

    Returns:
        (P, D, 2) vertices of closed polygons.
    """
    frame = np.array([width, height], dtype=np.float64)
    chords = _chord_counts(ribbon, frame)
    while (chords > MAX_CHORDS).any():
        ribbon = _halve_pieces(ribbon, chords > MAX_CHORDS)
        chords = _chord_counts(ribbon, frame)
    piece = np.repeat(np.arange(len(ribbon)), chords)
    step = np.arange(len(piece)) - np.repeat(np.cumsum(chords) - chords, chords)
    t = (step / chords[piece])[:, None]
    u = 1 - t
    bernstein = np.stack([u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t], axis=1)
    points = (bernstein * ribbon.reshape(len(ribbon), 4, -1)[piece]).sum(axis=1)
    vertices: Floats = np.round(points / _SNAP_PX) * _SNAP_PX
    return vertices.reshape(len(piece), *ribbon.shape[2:])


def _chord_counts(ribbon: Floats, frame: Floats) -> NDArray[np.int64]:
    r"""Return how many equal parameter steps keep each piece within tolerance.

    .. math:: n = \sqrt{\frac{d (d - 1)}{8} \cdot \frac{\max_i |P_i - 2 P_{i+1} + P_{i+2}|}{\epsilon}}, d = 3

    Source: Wang's formula (G. Wang, "The subdivision method for finding the intersection between two Bezier curves or
    surfaces", 1984; restated in Goldman, "Pyramid Algorithms", 2003).
    """
    bend = np.hypot(*np.moveaxis(ribbon[:, :-2] - 2 * ribbon[:, 1:-1] + ribbon[:, 2:], -1, 0)).max(axis=(1, 2))
    counts: NDArray[np.int64] = np.maximum(np.ceil(np.sqrt(0.75 * bend / FLATNESS_PX)), 1).astype(np.int64)
    beyond = (ribbon.max(axis=(1, 2)) < 0).any(axis=-1) | (ribbon.min(axis=(1, 2)) > frame).any(axis=-1)
    counts[beyond] = 1
    return counts


def _halve_pieces(ribbon: Floats, long: NDArray[np.bool_]) -> Floats:
    """Split the marked pieces at their middle (de Casteljau), in place in the order of the outline."""
    a, b, c, d = np.moveaxis(ribbon[long], 1, 0)
    ab, bc, cd = (a + b) / 2, (b + c) / 2, (c + d) / 2
    abc, bcd = (ab + bc) / 2, (bc + cd) / 2
    middle = (abc + bcd) / 2
    halves = np.repeat(ribbon, np.where(long, 2, 1), axis=0)
    first = (np.arange(len(ribbon)) + np.cumsum(long) - long)[long]
    halves[first] = np.stack([a, ab, abc, middle], axis=1)
    halves[first + 1] = np.stack([middle, bcd, cd, d], axis=1)
    return halves
