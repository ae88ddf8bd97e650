"""What the artist drew, per object and annotated frame: shapes where they say it all, else the rendered alpha."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from rotomem_client.shapes import Shape
from rotomem_nuke import host, roto
from rotomem_nuke.errors import GraphError, NothingDrawnError
from rotomem_nuke.plate import PlateSource, upstream_of
from rotomem_nuke.temporary import render_node

FRAME_LIST = re.compile(r"^(-?\d+)(?:-(-?\d+)(?:x(\d+))?)?$")


@dataclass(frozen=True)
class Annotation:
    """One object on one annotated frame.

    Args:
        shapes: bottommost first; empty when the object is absent or rendered.
        absent: the artist hid the object here: its matte is black.
        rendered_because: why the alpha is rendered instead; empty otherwise.
        members: the object's elements in the Roto's root layer, for rendering it alone; empty for any other node.
    """

    frame: int
    object_name: str
    shapes: tuple[Shape, ...] = ()
    absent: bool = False
    rendered_because: str = ""
    members: tuple[int, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """Everything drawn for one propagation.

    Args:
        objects: names in output order.
        annotations: ascending by frame.
        remarks: sentences for the artist: what was left out or rendered.
        source: the node that draws, for ``alpha_renderer``; None where nothing is drawn yet.
    """

    objects: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    remarks: tuple[str, ...]
    source: Optional[host.Node]


NO_DRAWING = Drawing(("matte",), (), (), None)
"""Before the first annotation: a session needs an object, whatever its name."""


def drawn_by(node: Optional[host.Node], annotated: str) -> list[int]:
    """Return the annotated frames, ascending, of what is wired into the roto input; raises like ``read_drawing``."""
    source = _source(node)
    listed = parse_frames(annotated)
    if listed or not roto.is_roto(source):
        return listed
    return sorted({frame for found in roto.roto_objects(source) for frame in roto.key_frames(source, found)})


def read_drawing(node: Optional[host.Node], annotated: str, plate: PlateSource) -> Drawing:
    """Read what is wired into the roto input. Main thread only.

    Args:
        node: the annotation input.
        annotated: the artist's list of frames, such as ``1001,1040-1050x5``; empty takes the Roto's keys.
        plate: whose frames and size count.

    Raises:
        NothingDrawnError: nothing wired, nothing drawn, or no annotated frame.
        GraphError: an annotated frame outside of the plate, or the node that draws is disabled.
    """
    source = _source(node)
    listed = parse_frames(annotated)
    for frame in listed:
        if not plate.first <= frame <= plate.last:
            raise GraphError(
                f"annotated frame {frame} is outside of the plate ({plate.first}-{plate.last}); "
                "correct 'annotated frames'"
            )
    if roto.is_roto(source):
        return _read_roto(source, listed, plate)
    if not listed:
        raise NothingDrawnError(
            f"{source.fullName()} is no Roto, so its annotated frames are unknown; write them into 'annotated frames'"
        )
    name = roto.layer_name(source.name())
    reason = f"{source.name()} is a {source.Class()}"
    found = tuple(Annotation(frame, name, rendered_because=reason) for frame in listed)
    return Drawing((name,), found, (), source)


def _source(node: Optional[host.Node]) -> host.Node:
    if node is None:
        raise NothingDrawnError("the roto input is not connected; wire a Roto into 'roto'")
    source = upstream_of(node)
    if source["disable"].value():
        raise GraphError(f"{source.fullName()} is disabled; enable it or wire another node into 'roto'")
    return source


def parse_frames(text: str) -> list[int]:
    """Return the frames of ``1001,1040-1050x5``, ascending.

    Raises:
        GraphError: with the part that is no frame.
    """
    frames: set[int] = set()
    for part in re.split(r"[,\s]+", text.strip()):
        if not part:
            continue
        match = FRAME_LIST.match(part)
        first, last, step = match.groups() if match else (None, None, None)
        if first is None or (step is not None and int(step) == 0) or (last is not None and int(last) < int(first)):
            raise GraphError(f"'annotated frames' has {part!r}; write frames and ranges such as 1001,1040-1050x5")
        frames.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return sorted(frames)


RenderAlpha = Callable[[Path, Annotation], Path]


def alpha_renderer(drawing: Drawing, plate: PlateSource) -> RenderAlpha:
    """Return a function (folder, annotation) -> file that renders its alpha; it must be called on the main thread."""

    def render(folder: Path, annotation: Annotation) -> Path:
        assert drawing.source is not None  # where there are annotations, something draws them
        pattern = folder / f"{annotation.object_name}.%04d.exr"
        if annotation.members:
            _render_alone(drawing.source, annotation, pattern, plate)
        else:
            _render_alpha(drawing.source, annotation.frame, pattern, plate)
        return folder / f"{annotation.object_name}.{annotation.frame:04d}.exr"

    return render


def _render_alpha(source: host.Node, frame: int, pattern: Path, plate: PlateSource) -> None:
    render_node(source, pattern, frame, frame, channels="alpha", size=plate.format, view=plate.view)


def _read_roto(source: host.Node, listed: Sequence[int], plate: PlateSource) -> Drawing:
    annotations: list[Annotation] = []
    objects: list[str] = []
    remarks: list[str] = []
    for found in roto.roto_objects(source):
        keys = list(listed) or roto.key_frames(source, found)
        frames = [frame for frame in keys if plate.first <= frame <= plate.last]
        if len(frames) < len(keys):
            outside = ", ".join(str(frame) for frame in keys if frame not in frames)
            remarks.append(f"keys of {found.name} outside of the plate are left out: {outside}")
        read = [_annotation_at(source, found, frame, plate) for frame in frames]
        if read and not all(annotation.absent for annotation in read):
            objects.append(found.name)
            annotations.extend(read)
            remarks.extend(
                f"frame {a.frame} of {a.object_name} is rendered: {a.rendered_because}"
                for a in read
                if a.rendered_because
            )
    if not annotations:
        raise NothingDrawnError(
            f"{source.fullName()} has no visible shape with a key between frame {plate.first} and {plate.last}; "
            "draw one on a frame of the plate"
        )
    annotations.sort(key=lambda annotation: annotation.frame)
    return Drawing(tuple(objects), tuple(annotations), tuple(remarks), source)


def _annotation_at(source: host.Node, found: roto.RotoObject, frame: int, plate: PlateSource) -> Annotation:
    try:
        shapes = roto.shapes_at(source, found, frame, height=plate.format.height, view=plate.view or host.views()[0])
    except roto.NotShapesError as reason:
        return Annotation(frame, found.name, rendered_because=str(reason), members=found.members)
    return Annotation(frame, found.name, shapes=tuple(shapes), absent=not shapes)


def _render_alone(source: host.Node, annotation: Annotation, pattern: Path, plate: PlateSource) -> None:
    """Render one object of a Roto without the others and without the alpha that its input carries.

    A copy is pruned: hiding the artist's own layers would change their script.
    """
    with host.unrecorded(), host.parent_of(source):
        alone = host.create(source.Class())
        try:
            alone["format"].setValue(source.format())
            alone["output"].setValue("alpha")
            curves = alone["curves"]
            curves.fromScript(source["curves"].toScript())
            root = curves.rootLayer
            for index in reversed(range(len(root))):
                if index not in annotation.members:
                    root.remove(index)
            curves.changed()
            _render_alpha(alone, annotation.frame, pattern, plate)
        finally:
            host.delete(alone)
