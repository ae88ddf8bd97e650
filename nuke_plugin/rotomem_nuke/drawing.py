"""Shapes into a Roto, as keys on one frame: what a script or a tracker drew. Main thread only.

``roto`` is the way back. A point's key sits on that frame alone, so that other frames stay as the artist left them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from rotomem_client.shapes import ControlPoint
from rotomem_client.shapes import Shape as PlainShape
from rotomem_nuke import host, roto
from rotomem_nuke.errors import GraphError

TOLERANCE_PX = 0.01


def draw_shapes(
    node: host.Node,
    object_name: str,
    frame: int,
    shapes: Sequence[PlainShape],
    *,
    height: int,
    lifetime: Optional[tuple[int, int]] = None,
) -> None:
    """Draw one object on one frame.

    A shape of the same name and as many points in the object's layer gets a key on ``frame``; any other is new.

    Args:
        node: a Roto or RotoPaint.
        object_name: of a top-level layer; made where it is missing.
        shapes: bottommost first, in plate pixels, origin top-left.
        height: of the plate's display window in pixels.
        lifetime: first and last frame on which the shapes are drawn; None for all.

    Raises:
        GraphError: no shape, or one that keys on points cannot say, or a layer whose transform moves it elsewhere.
    """
    if not shapes:
        raise GraphError(f"frame {frame}: there is no shape to draw; give at least one")
    for shape in shapes:
        if shape.feather_falloff != 1.0:
            raise GraphError(
                f"shape {shape.name!r} has a feather falloff, whose meaning in Nuke is not known to be the same; give "
                "its feather as points"
            )
    curves = node["curves"]
    layer = _layer(curves, object_name)
    onto = len(layer) > 0
    for shape in shapes if onto else reversed(shapes):
        element = _element(curves, layer, shape, on_top=onto)
        set_attributes(element, frame, _attributes(shape), roto.outline_keys(element))
        if lifetime is not None:
            set_lifetime(element, *lifetime)
        _set_keys(element, frame, shape, height)
    curves.changed()
    _check(node, object_name, frame, shapes, height)


def _layer(curves: host.Knob, name: str) -> host.Layer:
    root = curves.rootLayer
    for element in root:
        if isinstance(element, host.Layer) and roto.layer_name(element.name) == name:
            return element
    layer = host.Layer(curves)
    layer.name = name
    root.append(layer)
    made = root[len(root) - 1]  # what was appended is a copy
    assert isinstance(made, host.Layer)
    return made


def _element(curves: host.Knob, layer: host.Layer, shape: PlainShape, *, on_top: bool) -> host.Shape:
    """Return the shape to set keys on; a new one where there is none, on top or at the bottom of its layer."""
    for element in layer:
        if isinstance(element, host.Shape) and element.name == shape.name and len(element) == len(shape.points):
            return element
    new = host.Shape(curves)
    for point in shape.points:
        new.append(host.ShapeControlPoint(*point.center))
    new.name = shape.name
    if on_top:
        layer.insert(0, new)  # a layer's first element is on top
    else:
        layer.append(new)
    made = layer[0 if on_top else len(layer) - 1]
    assert isinstance(made, host.Shape)
    return made


def _set_keys(element: host.Shape, frame: int, shape: PlainShape, height: int) -> None:
    for mine, point in zip(element, shape.points):
        mine.center.addPositionKey(frame, host.CVec3(point.center[0], height - point.center[1], 1.0))
        for member, (x, y) in _offsets(point):
            getattr(mine, member).addPositionKey(frame, host.CVec3(x, -y, 0.0))


def _attributes(shape: PlainShape) -> dict[str, float]:
    return {
        "opc": shape.opacity,
        "inv": float(shape.inverted),
        "bm": float(roto.BLEND_NAMES.index(shape.blend_mode)),
    }


def set_attributes(element: host.Shape, frame: int, values: Mapping[str, float], kept: Sequence[int] = ()) -> None:
    """Give attributes a value on one frame.

    A single key holds on every frame, so those frames in ``kept`` get a key with what they had, where that differs.

    Args:
        kept: frames that stay as they are.
    """
    attributes, view = element.getAttributes(), host.views()[0]
    for name, value in values.items():
        had = {other: float(attributes.getValue(other, name, view)) for other in (*kept, frame)}
        if all(before == value for before in had.values()):
            continue
        curve = attributes.getCurve(name, view)
        for other in kept:
            if other != frame:
                curve.addKey(other, had[other])
        curve.addKey(frame, value)


def set_lifetime(element: host.Shape, first: int, last: int) -> None:
    """Let a shape be drawn from ``first`` to ``last`` only."""
    # A range: the one kind beside "all frames" whose number no source disputes.
    kind = float(roto.LIFETIME_RANGE)
    set_attributes(element, first, {"ltt": kind, "ltn": float(first), "ltm": float(last)})


def _offsets(point: ControlPoint) -> tuple[tuple[str, tuple[float, float]], ...]:
    return (
        ("leftTangent", point.left),
        ("rightTangent", point.right),
        ("featherCenter", point.feather),
        ("featherLeftTangent", point.feather_left),
        ("featherRightTangent", point.feather_right),
    )


def _check(node: host.Node, object_name: str, frame: int, shapes: Sequence[PlainShape], height: int) -> None:
    """Read back where the points are: a layer's transform, or one of the artist's, may have moved them."""
    centers: dict[str, list[tuple[float, float]]] = {}
    for found in roto.roto_objects(node):
        if found.name == object_name:
            try:
                centers = roto.visible_centers(node, found, frame, height=height, view=host.views()[0])
            except roto.NotShapesError as reason:
                raise GraphError(
                    f"{node.fullName()}, layer {object_name!r}: {reason}; draw into another layer"
                ) from reason
    for shape in shapes:
        read = centers.get(shape.name, [])
        moved = [abs(a - b) for point, center in zip(shape.points, read) for a, b in zip(point.center, center)]
        if len(read) != len(shape.points) or max(moved) > TOLERANCE_PX:
            raise GraphError(
                f"{node.fullName()} shows shape {shape.name!r} elsewhere on frame {frame} than it was drawn: its layer "
                "is hidden or has a transform; reset that, or draw into another layer"
            )
