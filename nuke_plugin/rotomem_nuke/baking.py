"""Mattes back into shapes: keyed closed Beziers in a new Roto, one shape per contour and a layer per object.

The daemon turns matte files into outlines; what an artist drew is not touched.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from rotomem_nuke import drawing, host, roto
from rotomem_nuke.cache import frames_on_disk, matte_file, read_manifest
from rotomem_nuke.collection import views_of
from rotomem_nuke.errors import GraphError, RenderCancelled
from rotomem_nuke.formats import format_of
from rotomem_nuke.node import NO_OBJECT, PLATE_INPUT, RotomemNode
from rotomem_nuke.settings import Settings
from rotomem_nuke.shot import connect

if TYPE_CHECKING:
    from rotomem_client.client import Client
    from rotomem_client.shapes import Outline

LEAST_TOLERANCE_PX, MOST_TOLERANCE_PX = 0.1, 100.0
Traced = tuple[tuple[str, "tuple[Outline, ...]"], ...]
"""Outlines by object, in output order; each object's in the order in which they are painted."""
BESIDE_PX = 120
"""How far from the node the new Roto stands in the node graph."""


@dataclass(frozen=True)
class BakeRequest:
    """What is baked, of one view.

    Args:
        objects: that the node shows, for mattes that do not say theirs.
        tolerance: in pixels.
        height: of the plate's display window; y is turned over in it.
    """

    settings: Settings
    objects: tuple[str, ...]
    tolerance: float
    height: int


@dataclass(frozen=True)
class Baked:
    """The outlines of one view."""

    request: BakeRequest
    outlines: Traced
    frames: tuple[int, ...]

    @property
    def count(self) -> int:
        return sum(len(found) for _, found in self.outlines)


def collect_bake(rotomem: RotomemNode, tolerance: float) -> tuple[BakeRequest, ...]:
    """Read what a bake needs, one request a view. Main thread.

    Raises:
        GraphError: the plate is not wired, or the tolerance makes no sense.
    """
    if not LEAST_TOLERANCE_PX <= tolerance <= MOST_TOLERANCE_PX:
        raise GraphError(
            f"'tolerance' is {tolerance:g} px; set it between {LEAST_TOLERANCE_PX:g} and {MOST_TOLERANCE_PX:g}"
        )
    plate = rotomem.input(PLATE_INPUT)
    if plate is None:
        raise GraphError(f"{rotomem.name}: the plate input is not connected; wire the plate into 'img'")
    height = format_of(plate).height
    objects = tuple(name for name in rotomem.objects() if name != NO_OBJECT)
    views = views_of(rotomem.settings())
    return tuple(BakeRequest(rotomem.settings(view), objects, tolerance, height) for view in views)


def vectorize(request: BakeRequest, *, say: Callable[[str], None], stopped: Callable[[], bool]) -> Baked:
    """Have the cached mattes turned into outlines. It waits: worker threads.

    Raises:
        GraphError: there is no matte.
        RenderCancelled: the artist asked to stop.
        ClientError: the daemon is away or refused.
    """
    settings = request.settings
    frames = frames_on_disk(settings.mattes)
    if not frames:
        raise GraphError(f"{settings.name} v{settings.version:03d} has no mattes yet; press Propagate first")
    manifest = read_manifest(settings.mattes)
    objects = manifest.objects if manifest is not None and manifest.objects else request.objects
    say(f"connecting to {settings.endpoint}")
    with connect(settings) as client:
        traced = trace(client, settings.mattes, frames, objects, request.tolerance, say=say, stopped=stopped)
    return Baked(request, traced, tuple(frames))


def trace(
    client: Client,
    pattern: str,
    frames: Sequence[int],
    objects: Sequence[str],
    tolerance: float,
    *,
    say: Callable[[str], None],
    stopped: Callable[[], bool],
) -> Traced:
    """Have matte files turned into outlines, of each object in turn; a session of its own, which is removed.

    Raises:
        RenderCancelled: the artist asked to stop.
        ClientError: the daemon is away or refused.
    """
    from rotomem_client.messages import MAX_VECTORIZED_FRAMES, Plate

    found = []
    session = f"bake-{uuid.uuid4().hex}"
    state = client.open_session(session, Plate(frames[0], frames[-1], pattern), objects)
    try:
        if not state.plate_visible:
            say("sending the mattes")
            client.upload_frames(session, {frame: matte_file(pattern, frame) for frame in frames}, cancelled=stopped)
        for name in objects:
            outlines: list[Outline] = []
            for start in range(0, len(frames), MAX_VECTORIZED_FRAMES):
                if stopped():
                    raise RenderCancelled("stopped; nothing was drawn")
                part = frames[start : start + MAX_VECTORIZED_FRAMES]
                say(f"tracing {name}, frames {part[0]}-{part[-1]}")
                outlines += client.vectorize_mattes(session, part, name, tolerance)
            found.append((name, tuple(outlines)))
    finally:
        _forget(client, session)
    return tuple(found)


def _forget(client: Client, session: str) -> None:
    from rotomem_client.errors import ClientError

    try:
        client.remove_session(session)
    except ClientError:
        pass  # gone with its daemon, or left for `rotomem sessions`; the outlines are here or their error is told


def draw(rotomem: RotomemNode, baked: Baked) -> host.Node:
    """Make a Roto of the outlines beside the node, over the plate; return it. Main thread."""
    node = rotomem.graph_node
    plate = rotomem.input(PLATE_INPUT)
    with host.parent_of(node):
        made = host.create("Roto", inputs=[plate] if plate is not None else [])
    view = baked.request.settings.view
    made.setName("_".join([node.name(), "baked", view] if view else [node.name(), "baked"]))
    host.place_beside(made, node, BESIDE_PX, BESIDE_PX // 2)
    curves = made["curves"]
    for name, outlines in baked.outlines:
        layer = host.Layer(curves)
        layer.name = name
        curves.rootLayer.append(layer)
        inside = curves.rootLayer[len(curves.rootLayer) - 1]  # what was appended is a copy
        assert isinstance(inside, host.Layer)
        for outline in reversed(outlines):  # the first element is on top
            _add(curves, inside, outline, baked.request.height)
    curves.changed()
    return made


def _add(curves: host.Knob, layer: host.Layer, outline: Outline, height: int) -> None:
    shape = host.Shape(curves)
    for point in outline.points[0]:
        shape.append(host.ShapeControlPoint(point.center[0], height - point.center[1]))
    shape.name = outline.name
    layer.append(shape)
    made = layer[len(layer) - 1]
    assert isinstance(made, host.Shape)
    for frame, points in zip(outline.frames, outline.points):
        for mine, point in zip(made, points):
            mine.center.addPositionKey(frame, host.CVec3(point.center[0], height - point.center[1], 1.0))
            mine.leftTangent.addPositionKey(frame, host.CVec3(point.left[0], -point.left[1], 0.0))
            mine.rightTangent.addPositionKey(frame, host.CVec3(point.right[0], -point.right[1], 0.0))
    drawing.set_lifetime(made, outline.frames[0], outline.frames[-1])
    if outline.hole:
        drawing.set_attributes(made, outline.frames[0], {"bm": float(roto.BLEND_NAMES.index("minus"))})


def describe(rotos: Sequence[host.Node], baked: Sequence[Baked]) -> str:
    """Return the status line."""
    count = sum(entry.count for entry in baked)
    names = ", ".join(node.name() for node in rotos)
    frames = baked[0].frames
    return f"baked {count} {'shape' if count == 1 else 'shapes'} of {frames[0]}-{frames[-1]} into {names}"
