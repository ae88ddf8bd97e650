"""An artist's Bezier shapes at one frame become that frame's matte."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rotomem.matte.bezier import flatten_ribbon, shape_ribbon
from rotomem.matte.coverage import ribbon_coverage
from rotomem_client.shapes import Shape

Matte = NDArray[np.float32]
Floats = NDArray[np.float64]

_BLENDS: Mapping[str, Callable[[Matte, Matte], Matte]] = {
    "over": lambda a, b: a + b * (1 - a),
    "max": np.maximum,
    "min": np.minimum,
    "multiply": lambda a, b: a * b,
    "screen": lambda a, b: a + b - a * b,
    "plus": lambda a, b: a + b,
    "minus": lambda a, b: a - b,
    "difference": lambda a, b: np.abs(a - b),
    "exclusion": lambda a, b: a + b - 2 * a * b,
    "from": lambda a, b: b - a,
}
_CLEARS_OUTSIDE = frozenset({"min", "multiply", "minus"})


def rasterize_shapes(shapes: Sequence[Shape], *, width: int, height: int) -> Matte:
    """Composite shapes, the first one bottommost, into one matte.

    With a = the shape's matte (inverted if asked, then times its opacity) and b = what lies below, the blend modes are
    Nuke's Merge operations on one channel, clamped to [0, 1] after each shape:

    ==========  ==============    ==========  ==============
    over        a + b (1 - a)     plus        a + b
    max         max(a, b)         minus       a - b
    min         min(a, b)         from        b - a
    multiply    a b               difference  abs(a - b)
    screen      a + b - a b       exclusion   a + b - 2 a b
    ==========  ==============    ==========  ==============

    They hold in the whole frame: outside the shape a is 0, so that ``multiply``, ``min`` and ``minus`` clear there.
    Source: Foundry, Nuke Online Help, "Merge Operations".

    Args:
        shapes: in pixels of the display window, origin top-left, pixel centres at +0.5.
        width: of the display window, pixels.
        height: likewise.

    Returns:
        (H, W) in [0, 1]; zeros for no shapes.

    Raises:
        AnnotationError: a shape reaches absurdly far from the frame.
    """
    matte: Matte = np.zeros((height, width), dtype=np.float32)
    for shape in shapes:
        inside, region = _shape_matte(shape, width=width, height=height)
        if shape.inverted or shape.blend_mode in _CLEARS_OUTSIDE:
            whole: Matte = np.zeros_like(matte)
            whole[region] = inside
            inside, region = whole, (slice(0, height), slice(0, width))
        if shape.inverted:
            inside = 1 - inside
        inside = inside * np.float32(shape.opacity)
        matte[region] = np.clip(_BLENDS[shape.blend_mode](inside, matte[region]), 0, 1)
    return matte


def _shape_matte(shape: Shape, *, width: int, height: int) -> tuple[Matte, tuple[slice, slice]]:
    """Return a shape's matte where it can be above 0, and where in the frame that is."""
    ribbon = shape_ribbon(shape)
    hull = ribbon.reshape(-1, 2)
    left, top = (int(v) for v in np.clip(np.floor(hull.min(axis=0)), 0, (width, height)))
    right, bottom = (int(v) for v in np.clip(np.ceil(hull.max(axis=0)), 0, (width, height)))
    region = slice(top, bottom), slice(left, right)
    if right <= left or bottom <= top:
        return np.zeros((bottom - top, right - left), dtype=np.float32), region
    size = {"width": right - left, "height": bottom - top}
    polygons = flatten_ribbon(ribbon - (left, top), **size)
    levels = _feather_levels(polygons, shape.feather_falloff)
    return ribbon_coverage(polygons, levels, **size).astype(np.float32), region


def _feather_levels(polygons: Floats, falloff: float) -> Floats:
    r"""Return where between outline (0) and feather outline (1) to put the outlines whose mean is the feather.

    A feather is the stack of all outlines c + s (f - c); a point that lies s* of the way out is inside those beyond it:

    .. math:: \alpha(s^*) = (1 - s^*)^k = \int_{s^*}^1 k (1 - s)^{k-1} ds

    The levels are the midpoints of L equal shares of that integral, so each weighs the same and, whatever the falloff
    k, no point is off by more than half a share. An inward feather falls from the feather outline (1) to the shape's
    own (0).

    Returns:
        (L,) in [0, 1]; one level for no feather, otherwise four to the pixel, 128 to 512.
    """
    reach = np.hypot(*(polygons[:, -1] - polygons[:, 0]).T).max()
    if reach == 0:
        return np.zeros(1)
    count = 2 ** int(np.clip(np.ceil(np.log2(4 * reach)), 7, 9))
    shares = (np.arange(count) + 0.5) / count
    levels: Floats = 1 - shares ** (1 / falloff)
    return levels
