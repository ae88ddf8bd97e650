"""Roto and RotoPaint curves to Bezier shapes, at one frame and from one object at a time.

Facts about ``nuke.rotopaint`` are from probes of Nuke 17.1v1 (research/nuke.md, "Roto API"). What those probes did not
settle is not guessed here: a shape that depends on it raises ``NotShapesError`` and its frame travels as the alpha
that Nuke itself renders.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rotomem_client.shapes import ControlPoint, Point
from rotomem_client.shapes import Shape as PlainShape
from rotomem_nuke import host

BLEND_NAMES = (
    "over",
    "max",
    "multiply",
    "color-burn",
    "min",
    "screen",
    "color-dodge",
    "plus",
    "overlay",
    "soft-light",
    "hard-light",
    "from",
    "minus",
    "difference",
    "exclusion",
)
"""Names of the ``bm`` attribute's values, in order."""

RESERVED_NAMES = ("rgba", "rgb", "alpha", "all", "none", "confidence", "motion_error")
"""Nuke's own layers and choices and the mattes' confidence, which the daemon refuses in any case of letters."""
MAX_NAME = 48
"""Characters of an object's name; the wire allows 64, a number may be added."""
LIFETIME_ALL = 0
LIFETIME_RANGE = 4
TRANSFORM_KEY_TIMES = (
    "getTransformKeyTimes",
    "getTranslationKeyTimes",
    "getRotationKeyTimes",
    "getScaleKeyTimes",
    "getSkewXKeyTimes",
    "getPivotPointKeyTimes",
)
POINT_MEMBERS = (
    "center",
    "leftTangent",
    "rightTangent",
    "featherCenter",
    "featherLeftTangent",
    "featherRightTangent",
)
_TOLERANCE = 1e-6
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)

Matrix = tuple[float, ...]
View = tuple[str, ...]
"""The arguments that say which view's curves are meant: none in a script with a single view."""
Element = Any  # a nuke.rotopaint Layer, Shape or Stroke


class NotShapesError(Exception):
    """Plain Bezier shapes would not give Nuke's own pixels; the text says which element and why."""


@dataclass(frozen=True)
class RotoObject:
    """One object to propagate: a top-level layer, or all shapes that lie at the root.

    Args:
        name: unique in the node, matches ``[A-Za-z_]\\w*``.
        members: indices of its elements in the root layer, topmost first.
    """

    name: str
    members: tuple[int, ...]


@dataclass(frozen=True)
class _Placed:
    """A leaf of the tree, with the layers from the root down to it."""

    element: Element
    layers: tuple[Element, ...]


def is_roto(node: host.Node) -> bool:
    return node.Class() in ("Roto", "RotoPaint")


def roto_objects(node: host.Node) -> list[RotoObject]:
    """Return a Roto's objects: one per top-level layer, and one, named after the node, for everything else."""
    found: list[RotoObject] = []
    loose: list[int] = []
    # Never a layer's, so that drawing a first layer, or a first loose shape, renames nothing downstream.
    loose_name = layer_name(node.name())
    taken = {loose_name}
    root = node["curves"].rootLayer
    for index, element in enumerate(root):
        if not isinstance(element, host.Layer):
            loose.append(index)
        elif next(_leaves(element), None) is not None:
            found.append(RotoObject(_unique_name(element.name, taken), (index,)))
    if loose:
        found.append(RotoObject(loose_name, tuple(loose)))
    return found


def key_frames(node: host.Node, roto_object: RotoObject) -> list[int]:
    """Return the frames on which the artist set a key on the object's outlines or moved it, ascending."""
    times: set[float] = set()
    root = node["curves"].rootLayer
    for view in _every_view():
        seen_layers: set[int] = set()
        for placed in _members(root, roto_object):
            for layer in placed.layers[1:]:
                if id(layer) not in seen_layers:
                    seen_layers.add(id(layer))
                    times.update(_transform_keys(layer, view))
            if isinstance(placed.element, host.Shape):
                times.update(_transform_keys(placed.element, view))
                times.update(_point_keys(placed.element, view))
    return sorted({math.floor(time + 0.5) for time in times})


def _every_view() -> list[View]:
    """An artist may split a shape's points and transforms by view, each with keys of its own."""
    views = host.views()
    return [(name,) for name in views] if len(views) > 1 else [()]


def _point_keys(shape: Element, view: View) -> set[float]:
    times: set[float] = set()
    for point in shape:
        times.update(point.center.getControlPointKeyTimes(*view))
        for member in POINT_MEMBERS[1:]:
            # One key alone may be an untouched member's, as it is an untouched transform's.
            keys = getattr(point, member).getControlPointKeyTimes(*view)
            times.update(keys if len(keys) > 1 else ())
    return times


def shapes_at(
    node: host.Node, roto_object: RotoObject, frame: int, *, height: int, view: str = "main"
) -> list[PlainShape]:
    """Return the object's shapes at ``frame``, bottommost first, origin top-left, transforms baked in.

    Args:
        height: of the plate's display window in pixels; y is turned over in it.
        view: whose points, transforms and attribute values count.

    Returns:
        The visible shapes; none where the object is hidden.

    Raises:
        NotShapesError: with the element's name and what plain shapes cannot express.
    """
    shapes = []
    for placed in _members(node["curves"].rootLayer, roto_object):
        if not _visible(placed, frame):
            continue
        if not isinstance(placed.element, host.Shape):
            raise NotShapesError(f"'{placed.element.name}' is a paint stroke")
        if _alive(placed.element, frame, view):
            shapes.append(_shape(placed, frame, height, view))
    shapes.reverse()  # the root layer's first element is on top
    return shapes


def visible_centers(
    node: host.Node, roto_object: RotoObject, frame: int, *, height: int, view: str
) -> dict[str, list[Point]]:
    """Return where the points of the object's visible shapes lie at ``frame``, by the shapes' names, as ``shapes_at``.

    Raises:
        NotShapesError: a transform whose effect is not known.
    """
    own = (view,) if len(host.views()) > 1 else ()
    centers = {}
    for placed in _members(node["curves"].rootLayer, roto_object):
        if isinstance(placed.element, host.Shape) and _visible(placed, frame):
            matrix = _baked_matrix(placed, frame, own)
            points = [_point(point, frame, own, matrix, height, False).center for point in placed.element]
            centers[str(placed.element.name)] = points
    return centers


def outline_keys(shape: Element) -> list[int]:
    """Return the frames on which a shape's points have keys, ascending."""
    return sorted({math.floor(time + 0.5) for view in _every_view() for time in _point_keys(shape, view)})


def _visible(placed: _Placed, frame: int) -> bool:
    return all(element.getVisible(frame) for element in (*placed.layers, placed.element))


def _shape(placed: _Placed, frame: int, height: int, view: str) -> PlainShape:
    shape = placed.element
    read = _attributes(shape, frame, view)
    _refuse_layers(placed.layers, frame, view)
    _refuse_shape(shape, read)
    views = len(host.views())
    if views > 1 and int(read("nv", views)) != views:
        raise NotShapesError(f"'{shape.name}' is drawn in some of the views only; 'views' chooses these")
    own = (view,) if views > 1 else ()
    matrix = _baked_matrix(placed, frame, own)
    feathered = read("fo", 1.0) >= 0.5
    points = tuple(_point(point, frame, own, matrix, height, feathered) for point in shape)
    if len(points) < 2:
        raise NotShapesError(f"'{shape.name}' has fewer than two points")
    opacity = min(1.0, max(0.0, read("opc", 1.0)))
    return PlainShape(name=str(shape.name), points=points, opacity=opacity, inverted=read("inv", 0.0) >= 0.5)


def _refuse_shape(shape: Element, read: _Reader) -> None:
    name = shape.name
    if shape.getFlag(host.OPEN_FLAG):
        raise NotShapesError(f"'{name}' is an open shape")
    kind = _curve_kind(shape)
    if kind != "bezier":
        raise NotShapesError(f"'{name}' is a {kind}, not a Bezier")
    mode = int(read("bm", 0.0))
    if mode != 0:
        blend = BLEND_NAMES[mode] if 0 <= mode < len(BLEND_NAMES) else f"mode {mode}"
        raise NotShapesError(f"'{name}' blends with '{blend}'")
    for attribute, neutral, what in (
        ("fx", 0.0, "a uniform feather"),
        ("fy", 0.0, "a uniform feather"),
        ("ff", 1.0, "a feather falloff"),
        ("ft", 0.0, "a feather type other than linear"),
        ("mbo", 0.0, "motion blur"),
        ("a", 1.0, "a colour whose alpha is not 1"),
        ("pt", 0.0, "a planar track"),
    ):
        if abs(read(attribute, neutral) - neutral) > _TOLERANCE:
            raise NotShapesError(f"'{name}' has {what}")


def _refuse_layers(layers: Sequence[Element], frame: int, view: str) -> None:
    for layer in layers:
        read = _attributes(layer, frame, view)
        for attribute, neutral, what in (
            ("opc", 1.0, "an opacity"),
            ("fx", 0.0, "a feather"),
            ("fy", 0.0, "a feather"),
            ("mbo", 0.0, "motion blur"),
            ("pt", 0.0, "a planar track"),
        ):
            if abs(read(attribute, neutral) - neutral) > _TOLERANCE:
                raise NotShapesError(f"layer '{layer.name}' has {what} of its own")


def _baked_matrix(placed: _Placed, frame: int, view: View) -> Matrix:
    """Return the one transform that moves the shape, 16 floats row-major, in Nuke's bottom-left pixels."""
    moving = []
    for element in (*placed.layers, placed.element):
        matrix = _matrix(element, frame, view)
        if not _is_identity(matrix):
            moving.append((element, matrix))
    if not moving:
        return _IDENTITY
    if len(moving) > 1:
        # Whether Nuke applies the layer's or the shape's transform first was never measured.
        names = " and ".join(f"'{element.name}'" for element, _ in moving)
        raise NotShapesError(f"{names} are transformed on top of each other")
    element, matrix = moving[0]
    if any(abs(a - b) > _TOLERANCE for a, b in zip(matrix[12:], _IDENTITY[12:])):
        raise NotShapesError(f"'{element.name}' has a perspective transform")
    return matrix


def _point(point: Element, frame: int, view: View, matrix: Matrix, height: int, feathered: bool) -> ControlPoint:
    def offset(member: str) -> Point:
        position = getattr(point, member).getPosition(frame, *view)
        x, y = float(position.x), float(position.y)
        # + 0.0 turns -0.0 into 0.0, so that an untouched tangent stays the neutral value
        return matrix[0] * x + matrix[1] * y + 0.0, -(matrix[4] * x + matrix[5] * y) + 0.0

    center = point.center.getPosition(frame, *view)
    x, y = float(center.x), float(center.y)
    placed = (matrix[0] * x + matrix[1] * y + matrix[3], height - (matrix[4] * x + matrix[5] * y + matrix[7]))
    if not feathered:
        return ControlPoint(placed, offset("leftTangent"), offset("rightTangent"))
    return ControlPoint(placed, *(offset(member) for member in POINT_MEMBERS[1:]))


class _Reader:
    """An element's attributes at one frame. Unknown names give the neutral value.

    ``getValue`` itself creates a name that it does not know with the value 0.0, so the names are listed first.
    """

    def __init__(self, element: Element, frame: int, view: str) -> None:
        self._attributes = element.getAttributes()
        self._names = {self._attributes.getName(index) for index in range(len(self._attributes))}
        self._frame = frame
        self._view = view

    def __call__(self, name: str, neutral: float) -> float:
        if name not in self._names:
            return neutral
        return float(self._attributes.getValue(self._frame, name, self._view))


def _attributes(element: Element, frame: int, view: str) -> _Reader:
    return _Reader(element, frame, view)


def _alive(shape: Element, frame: int, view: str) -> bool:
    read = _attributes(shape, frame, view)
    kind = int(read("ltt", 0.0))
    if kind == LIFETIME_ALL:
        return True
    if kind == LIFETIME_RANGE:
        return read("ltn", -math.inf) <= frame <= read("ltm", math.inf)
    # Sources disagree on what 1, 2 and 3 mean.
    raise NotShapesError(f"'{shape.name}' has a lifetime other than all frames or a range")


def _curve_kind(shape: Element) -> str:
    """Return ``bezier``, ``bspline``, …: the word after the flags in ``{curvegroup NAME 512 bezier``."""
    match = re.match(r"\s*\{?curvegroup\s+(?:\{[^}]*\}|\"[^\"]*\"|\S+)\s+\d+\s+(\w+)", shape.serialise())
    return match.group(1) if match else "curve of an unknown kind"


def _matrix(element: Element, frame: int, view: View) -> Matrix:
    return tuple(float(number) for number in element.getTransform().evaluate(frame, *view).getMatrix())


def _is_identity(matrix: Matrix) -> bool:
    # Compared as numbers: isDefault() answers False even for an untouched transform.
    return all(abs(a - b) <= _TOLERANCE for a, b in zip(matrix, _IDENTITY))


def _transform_keys(element: Element, view: View) -> list[float]:
    """Return an animated transform's key times; an untouched one reports a single key, which means nothing."""
    times: set[float] = set()
    transform = element.getTransform()
    for getter in TRANSFORM_KEY_TIMES:
        keys = list(getattr(transform, getter)(*view))
        if len(keys) > 1:
            times.update(keys)
    return sorted(times)


def _members(root: Element, roto_object: RotoObject) -> Iterator[_Placed]:
    for index in roto_object.members:
        element = root[index]
        if isinstance(element, host.Layer):
            yield from _leaves(element, (root, element))
        else:
            yield _Placed(element, (root,))


def _leaves(layer: Element, path: tuple[Element, ...] = ()) -> Iterator[_Placed]:
    for element in layer:
        if isinstance(element, host.Layer):
            yield from _leaves(element, (*path, element))
        else:
            yield _Placed(element, path)


def layer_name(text: str) -> str:
    """Return a legal layer name: digit-only names break EXR readers, spaces break channel names."""
    plain = re.sub(r"\W", "_", text, flags=re.ASCII)[:MAX_NAME] or "matte"
    if plain[0].isdigit():
        plain = "_" + plain
    return plain + "_matte" if plain.lower() in RESERVED_NAMES else plain


def _unique_name(text: str, taken: set[str]) -> str:
    plain = layer_name(text)
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name)
    return name
