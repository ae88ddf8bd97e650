"""A click or a box on the Viewer becomes shapes in the Roto, on the frame under the playhead: a first drawing.

The daemon's segment-anything makes a matte of it, and the matte is traced to Beziers, corrected like any
others. They live on their frame alone; a second click there replaces them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from rotomem_nuke import baking, drawing, host, roto
from rotomem_nuke.collection import PropagationRequest, drawing_node, read_plate_frame
from rotomem_nuke.errors import GraphError
from rotomem_nuke.formats import Format
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.shot import Shot, connect

if TYPE_CHECKING:
    from rotomem_client.shapes import Shape

OBJECT = "clicked"
"""The layer where no top-level layer is chosen in 'object'."""
NO_POINT = (0.0, 0.0)
TOLERANCE_PX = 0.5
SPECK = 0.01
"""Shapes of less than this part of the largest one's area are left out."""


@dataclass(frozen=True)
class ClickRequest:
    """What is clicked on, in plate pixels, origin top-left.

    Args:
        shot: the one frame of the plate, without any annotation.
        inside: on the object; none where there is a box alone.
        outside: on what is not to be it.
        box: left, top, right, bottom around the object; empty for none.
    """

    shot: PropagationRequest
    object_name: str
    frame: int
    inside: tuple[tuple[float, float], ...]
    outside: tuple[tuple[float, float], ...]
    box: tuple[float, ...]


@dataclass(frozen=True)
class Clicked:
    """What was found: shapes, and the network's own score of them, 0 to 1."""

    request: ClickRequest
    shapes: tuple[Shape, ...]
    score: float


def collect_click(rotomem: RotomemNode) -> ClickRequest:
    """Read the knobs and the frame under the playhead. Main thread.

    Raises:
        GraphError: no plate or Roto is wired, nothing is clicked on, or the frame is not of the plate.
    """
    source = drawing_node(rotomem)
    if source is None:
        raise GraphError(f"{rotomem.name} has no Roto to draw in; wire one into 'roto'")
    frame = host.frame()
    shot = read_plate_frame(rotomem, frame)
    size = shot.plate.format
    click, avoid, box = rotomem.clicks()
    if click == NO_POINT and box[0] >= box[2]:
        raise GraphError("nothing is clicked on: put 'on it' on the object in the Viewer, or 'box' around it")
    name = _layer(rotomem, source)
    return ClickRequest(
        shot=replace(
            shot,
            objects=(name,),
            # A session of its own: what the artist has drawn and propagated is not touched.
            settings=replace(shot.settings, node_uuid=f"{shot.settings.node_uuid}-click"),
        ),
        object_name=name,
        frame=frame,
        inside=_flipped([click], size),
        outside=_flipped([avoid], size),
        box=(box[0], size.height - box[3], box[2], size.height - box[1]) if box[0] < box[2] else (),
    )


def segment(request: ClickRequest, *, say: Callable[[str], None], stopped: Callable[[], bool]) -> Clicked:
    """Have the daemon find the object and trace it. It waits: worker threads.

    Raises:
        RenderCancelled: the artist asked to stop.
        PluginError: Nuke could not render the frame.
        ClientError: the daemon is away, refused, or has no weights for clicks.
    """
    from rotomem_client.messages import PromptBox, PromptPoint

    settings = request.shot.settings
    points = [PromptPoint(x, y) for x, y in request.inside]
    points += [PromptPoint(x, y, inside=False) for x, y in request.outside]
    say(f"connecting to {settings.endpoint}")
    folder = Path(tempfile.mkdtemp(prefix="rotomem-", dir=os.environ.get("NUKE_TEMP_DIR")))
    try:
        with connect(settings) as client:
            Shot(request.shot, folder, say=say, stopped=stopped).send(client)
            say(f"looking at frame {request.frame}; the first click on a frame takes longest")
            pattern = str(folder / "clicked.%04d.exr")
            score = client.prompt(
                settings.session_id,
                request.frame,
                request.object_name,
                Path(pattern % request.frame),
                points=points,
                box=PromptBox(*request.box) if request.box else None,
            )
            traced = baking.trace(
                client, pattern, [request.frame], [request.object_name], TOLERANCE_PX, say=say, stopped=stopped
            )
            shapes = [outline.at(request.frame) for _, outlines in traced for outline in outlines]
            named = [
                replace(shape, name=f"{_stem(request.frame)}{number}")
                for number, shape in enumerate(_without_specks([s for s in shapes if s is not None]), start=1)
            ]
            return Clicked(request, tuple(named), score)
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def draw(rotomem: RotomemNode, clicked: Clicked) -> str:
    """Put the shapes into the Roto in place of those of an earlier click on this frame; return the status line.

    Raises:
        GraphError: the Roto is gone, or its layer shows them elsewhere.
    """
    request = clicked.request
    source = drawing_node(rotomem)
    if source is None:
        raise GraphError(f"{rotomem.name} has no Roto to draw in any more; wire one into 'roto'")
    if not clicked.shapes:
        return f"nothing was found there on frame {request.frame}; click elsewhere, or draw"
    _remove_earlier(source, request)
    drawing.draw_shapes(
        source,
        request.object_name,
        request.frame,
        clicked.shapes,
        height=request.shot.plate.format.height,
        lifetime=(request.frame, request.frame),
    )
    count = len(clicked.shapes)
    return (
        f"drew {count} {'shape' if count == 1 else 'shapes'} of {request.object_name} on frame {request.frame}, "
        f"score {clicked.score:.2f}; correct them, then Propagate"
    )


def _without_specks(shapes: Sequence[Shape]) -> list[Shape]:
    """Leave out what an artist would only have to delete."""
    areas = [_area(shape) for shape in shapes]
    return [shape for shape, area in zip(shapes, areas) if area >= SPECK * max(areas)]


def _area(shape: Shape) -> float:
    """Return the area of the polygon through the vertices."""
    corners = [point.center for point in shape.points]
    return abs(sum(x * v - u * y for (x, y), (u, v) in zip(corners, corners[1:] + corners[:1]))) / 2


def _remove_earlier(source: host.Node, request: ClickRequest) -> None:
    curves = source["curves"]
    for layer in curves.rootLayer:
        if isinstance(layer, host.Layer) and roto.layer_name(layer.name) == request.object_name:
            for index in reversed(range(len(layer))):
                if re.fullmatch(rf"{_stem(request.frame)}\d+", layer[index].name):
                    layer.remove(index)
    curves.changed()


def _stem(frame: int) -> str:
    return f"click{frame}_".replace("-", "m")


def _layer(rotomem: RotomemNode, source: host.Node) -> str:
    chosen = rotomem.chosen_object()
    layers = [roto.layer_name(entry.name) for entry in source["curves"].rootLayer if isinstance(entry, host.Layer)]
    return chosen if chosen in layers else OBJECT


def _flipped(points: Sequence[tuple[float, float]], size: Format) -> tuple[tuple[float, float], ...]:
    return tuple((x, size.height - y) for x, y in points if (x, y) != NO_POINT)
