"""Roto shapes at one frame: what an artist drew, as both sides understand it.

Coordinates are pixels of the plate's display window, origin at its top-left corner, y down; a pixel's
centre lies at +0.5. Transforms are already baked in. Nuke's bottom-left origin is converted in
``rotomem_nuke`` alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from rotomem_client.errors import InvalidValueError

Point = tuple[float, float]

BLEND_MODES = ("over", "max", "min", "multiply", "screen", "plus", "minus", "difference", "exclusion", "from")
MAX_POINTS = 4096
_ORIGIN: Point = (0.0, 0.0)


@dataclass(frozen=True)
class ControlPoint:
    """One vertex of a closed cubic Bezier, with its feather vertex.

    Args:
        center: (x, y) in pixels.
        left: tangent towards the previous vertex, relative to ``center``.
        right: tangent towards the next vertex, relative to ``center``.
        feather: the feather vertex, relative to ``center``; (0, 0) is no feather here.
        feather_left: its tangents, relative to the feather vertex.
        feather_right: likewise.
    """

    center: Point
    left: Point = _ORIGIN
    right: Point = _ORIGIN
    feather: Point = _ORIGIN
    feather_left: Point = _ORIGIN
    feather_right: Point = _ORIGIN

    def __post_init__(self) -> None:
        for name in ("center", "left", "right", "feather", "feather_left", "feather_right"):
            value = getattr(self, name)
            if len(value) != 2 or not all(math.isfinite(c) for c in value):
                raise InvalidValueError(f"a control point's {name} is {value!r}; it must be two finite numbers")

    @property
    def feathered(self) -> bool:
        return (self.feather, self.feather_left, self.feather_right) != (_ORIGIN, self.left, self.right) and (
            self.feather != _ORIGIN or self.feather_left != _ORIGIN or self.feather_right != _ORIGIN
        )


@dataclass(frozen=True)
class Shape:
    """One closed Bezier shape. Shapes of a list are composited in order: the first is the bottommost.

    Args:
        name: the artist's name for it, for messages.
        points: at least two vertices (two make a lens).
        opacity: in [0, 1].
        inverted: the matte is 1 outside.
        blend_mode: one of ``BLEND_MODES``: how it combines with what lies below.
        feather_falloff: exponent of the ramp from the shape (1) to the feather edge (0); 1 is linear.
    """

    name: str
    points: tuple[ControlPoint, ...]
    opacity: float = 1.0
    inverted: bool = False
    blend_mode: str = "over"
    feather_falloff: float = 1.0

    def __post_init__(self) -> None:
        if not 2 <= len(self.points) <= MAX_POINTS:
            raise InvalidValueError(f"shape {self.name!r} has {len(self.points)} points; it needs 2 to {MAX_POINTS}")
        if not 0.0 <= self.opacity <= 1.0:
            raise InvalidValueError(f"shape {self.name!r}: opacity is {self.opacity}; it must be in [0, 1]")
        if self.blend_mode not in BLEND_MODES:
            raise InvalidValueError(
                "shape {!r}: blend mode {!r} is not one of {}".format(
                    self.name, self.blend_mode, ", ".join(BLEND_MODES)
                )
            )
        if not (math.isfinite(self.feather_falloff) and self.feather_falloff > 0):
            raise InvalidValueError(f"shape {self.name!r}: feather falloff must be above 0")


@dataclass(frozen=True)
class Outline:
    """One closed Bezier over time, with as many vertices on each frame.

    Args:
        name: for the artist.
        hole: it takes away from the outlines before it.
        frames: ascending.
        points: the vertices on each of these frames, without feather.
    """

    name: str
    hole: bool
    frames: tuple[int, ...]
    points: tuple[tuple[ControlPoint, ...], ...]

    def __post_init__(self) -> None:
        counts = {len(points) for points in self.points}
        if not self.frames or len(self.frames) != len(self.points) or len(counts) != 1:
            raise InvalidValueError(f"outline {self.name!r} needs frames, and as many points on each of them")
        if any(later <= earlier for earlier, later in zip(self.frames, self.frames[1:])):
            raise InvalidValueError(f"outline {self.name!r}: its frames must ascend")
        if not 2 <= len(self.points[0]) <= MAX_POINTS:
            raise InvalidValueError(
                f"outline {self.name!r} has {len(self.points[0])} points; it needs 2 to {MAX_POINTS}"
            )

    def at(self, frame: int) -> Optional[Shape]:
        """Return its shape on one frame; None where it has none."""
        if frame not in self.frames:
            return None
        return Shape(self.name, self.points[self.frames.index(frame)], blend_mode="from" if self.hole else "over")


def shape_to_plain(shape: Shape) -> dict[str, Any]:
    """Return the JSON and msgpack form: a point is one list of 12 floats, in the order of the fields."""
    return {
        "name": shape.name,
        "points": [
            [float(c) for pair in (p.center, p.left, p.right, p.feather, p.feather_left, p.feather_right) for c in pair]
            for p in shape.points
        ],
        "opacity": shape.opacity,
        "inverted": shape.inverted,
        "blend_mode": shape.blend_mode,
        "feather_falloff": shape.feather_falloff,
    }


def shape_from_plain(plain: Mapping[str, Any]) -> Shape:
    """Read ``shape_to_plain``'s form; ``points`` may also hold 2 (corner) or 6 (no feather) numbers each.

    Raises:
        InvalidValueError: with the shape's name and what is wrong.
    """
    name = plain.get("name", "")
    if not isinstance(name, str):
        raise InvalidValueError(f"a shape's name must be text, not {name!r}")
    unknown = set(plain) - {"name", "points", "opacity", "inverted", "blend_mode", "feather_falloff"}
    if unknown:
        raise InvalidValueError("shape {!r} has unknown fields: {}".format(name, ", ".join(sorted(map(str, unknown)))))
    points = plain.get("points")
    if not isinstance(points, (list, tuple)):
        raise InvalidValueError(f"shape {name!r} needs a list of points")
    opacity = plain.get("opacity", 1.0)
    falloff = plain.get("feather_falloff", 1.0)
    for field, value in (("opacity", opacity), ("feather_falloff", falloff)):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidValueError(f"shape {name!r}: {field} must be a number, not {value!r}")
    return Shape(
        name=name,
        points=tuple(_point_from_plain(name, point) for point in points),
        opacity=float(opacity),
        inverted=bool(plain.get("inverted", False)),
        blend_mode=str(plain.get("blend_mode", "over")),
        feather_falloff=float(falloff),
    )


def _point_from_plain(name: str, numbers: Sequence[Any]) -> ControlPoint:
    if (
        not isinstance(numbers, (list, tuple))
        or len(numbers) not in (2, 6, 12)
        or any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in numbers)
    ):
        raise InvalidValueError(f"shape {name!r}: a point must be a list of 2, 6 or 12 numbers")
    pairs = [(float(numbers[i]), float(numbers[i + 1])) for i in range(0, len(numbers), 2)]
    return ControlPoint(*pairs)
