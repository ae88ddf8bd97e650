"""What a press of a button reads from the graph, as plain values for a worker thread. Main thread only."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass, replace

from rotomem_nuke import host, roto
from rotomem_nuke.annotation import (
    NO_DRAWING,
    Annotation,
    Drawing,
    RenderAlpha,
    alpha_renderer,
    drawn_by,
    read_drawing,
)
from rotomem_nuke.errors import GraphError, NothingDrawnError
from rotomem_nuke.node import PLATE_INPUT, ROTO_INPUT, RotomemNode
from rotomem_nuke.plate import Extract, PlateSource, extractor, find_plate, upstream_of
from rotomem_nuke.settings import Settings

log = logging.getLogger(__name__)

MAX_UPSTREAM_NODES = 500
MOVING_OBJECTS = ("object1", "object2", "object3")
"""The layers of what moves where nothing is drawn, the one that moves most first."""
_LAYOUT = re.compile(r"\b(?:xpos|ypos|selected|name|label|tile_color|note_font\w*)\s+(?:\{[^{}]*\}|\"[^\"]*\"|\S+)\s*")
"""Knobs that move no pixel, in the text of ``host.changed_knobs``."""


@dataclass(frozen=True)
class PropagationRequest:
    """All that the propagation of one view needs to know.

    Args:
        objects: names in output order.
        remarks: sentences about the annotations, for the artist.
        first: first frame to make, inclusive.
        last: last frame to make, inclusive.
        shown_first: first frame of the whole plate: from here on a matte that was not made is a hole.
        shown_last: last frame of the whole plate, inclusive.
        focus: the frame under the playhead.
        sources: text of the nodes whose pixels are rendered, for telling later whether they changed.
        extract: (folder, first, last) -> files; renders the plate. Main thread.
        render_alpha: (folder, annotation) -> file. Main thread.
    """

    settings: Settings
    plate: PlateSource
    objects: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    remarks: tuple[str, ...]
    first: int
    last: int
    shown_first: int
    shown_last: int
    focus: int
    sources: tuple[str, ...]
    extract: Extract
    render_alpha: RenderAlpha


def collect(rotomem: RotomemNode) -> tuple[PropagationRequest, ...]:
    """Read the graph for work that starts now, one request a view, and show on the node what was found.

    Raises:
        GraphError: with the input, knob or frame that is wrong.
    """
    requests = read_graph(rotomem)
    with host.unrecorded():
        show_drawing(rotomem, requests[0])
    for request in requests:
        for remark in request.remarks:
            log.warning("%s: %s", request.settings.name, remark)
        if request.plate.extracted_because:
            log.info("%s: the plate is rendered, for %s", request.settings.name, request.plate.extracted_because)
    return requests


def collect_for_suggestion(rotomem: RotomemNode) -> PropagationRequest:
    """Read the graph of the first view; a node without any drawing may ask too where to begin.

    Raises:
        GraphError: with the input, knob or frame that is wrong.
    """
    view = views_of(rotomem.settings())[0]
    try:
        return _read_view(rotomem, view)
    except NothingDrawnError:
        return _read_view(rotomem, view, drawn=False)


def collect_for_motion(rotomem: RotomemNode) -> tuple[PropagationRequest, ...]:
    """Read the graph for mattes of what moves, one request a view; nothing needs to be drawn.

    Raises:
        GraphError: with the input, knob or frame that is wrong.
    """
    requests = []
    for view in views_of(rotomem.settings()):
        try:
            requests.append(_read_view(rotomem, view))
        except NothingDrawnError:
            requests.append(replace(_read_view(rotomem, view, drawn=False), objects=MOVING_OBJECTS))
    with host.unrecorded():
        show_drawing(rotomem, requests[0])
    return tuple(requests)


def read_plate_frame(rotomem: RotomemNode, frame: int) -> PropagationRequest:
    """Read one frame of the plate in the first view, without any drawing.

    Raises:
        GraphError: no plate is wired, or it has no such frame.
    """
    request = _read_view(rotomem, views_of(rotomem.settings())[0], drawn=False)
    if not request.shown_first <= frame <= request.shown_last:
        raise GraphError(
            f"frame {frame} is outside of the plate ({request.shown_first}-{request.shown_last}); move the playhead"
        )
    return replace(request, plate=replace(request.plate, first=frame, last=frame))


def read_graph(rotomem: RotomemNode) -> tuple[PropagationRequest, ...]:
    """Read the graph and change nothing, one request a view; raises like ``collect``."""
    return tuple(_read_view(rotomem, view) for view in views_of(rotomem.settings()))


def show_drawing(rotomem: RotomemNode, request: PropagationRequest) -> None:
    rotomem.show_objects(request.objects)
    rotomem.show_keys(Counter(annotation.frame for annotation in request.annotations))


def views_of(settings: Settings) -> list[str]:
    """Return the views to work on; one empty name in a script with a single view.

    Raises:
        GraphError: the artist named a view that the script does not have.
    """
    existing = list(host.views())
    wanted = [name for name in re.split(r"[,\s]+", settings.views) if name]
    for name in wanted:
        if name not in existing:
            raise GraphError(f"'views' names {name!r}, but the script has {', '.join(existing)}; correct it")
    if len(existing) == 1:
        return [""]
    return [name for name in existing if not wanted or name in wanted]


def annotated_frames(rotomem: RotomemNode) -> list[int]:
    """Return the frames that are annotated now, ascending; those outside of the plate too.

    Raises:
        GraphError: nothing that draws is wired, or the list of frames is wrong.
    """
    listed = rotomem.settings().annotated
    return drawn_by(rotomem.input(ROTO_INPUT), listed)


def drawing_node(rotomem: RotomemNode) -> host.Node | None:
    """Return the Roto behind the roto input; None where there is none."""
    drawn = rotomem.input(ROTO_INPUT)
    try:
        source = upstream_of(drawn) if drawn is not None else None
    except GraphError:
        return None
    return source if source is not None and roto.is_roto(source) else None


def _read_view(rotomem: RotomemNode, view: str, *, drawn: bool = True) -> PropagationRequest:
    settings = rotomem.settings(view)
    wired = rotomem.input(PLATE_INPUT)
    if wired is None:
        raise GraphError("the plate input is not connected; wire the plate into 'img'")
    if settings.input_colour == "":
        raise GraphError("'input colour' is 'named', but 'colourspace' is empty; write a name such as ACEScg")
    whole = find_plate(wired, settings.input_colour, view)
    first, last = _frame_range(settings, whole)
    drawing = NO_DRAWING if not drawn else read_drawing(rotomem.input(ROTO_INPUT), settings.annotated, whole)
    plate = _needed_part(whole, settings, drawing, first, last)
    return PropagationRequest(
        settings=settings,
        plate=plate,
        objects=drawing.objects,
        annotations=drawing.annotations,
        remarks=drawing.remarks,
        first=first,
        last=last,
        shown_first=whole.first,
        shown_last=whole.last,
        focus=host.frame(),
        sources=_rendered_sources(wired, plate, drawing),
        extract=extractor(wired, view),
        render_alpha=alpha_renderer(drawing, plate),
    )


def _rendered_sources(wired: host.Node, plate: PlateSource, drawing: Drawing) -> tuple[str, ...]:
    texts = []
    if plate.extracted_because:
        texts.append(upstream_text(wired))
    if drawing.source is not None and any(annotation.rendered_because for annotation in drawing.annotations):
        if roto.is_roto(drawing.source):
            texts.append(str(drawing.source["curves"].toScript()))
        else:
            texts.append(upstream_text(drawing.source))
    return tuple(texts)


def upstream_text(node: host.Node) -> str:
    """Return the settings of every node above ``node``, so that a change of its pixels can be told.

    The non-commercial edition counts each node that Python touches: there it is empty, and a change upstream of a
    rendered plate goes unnoticed until the next propagation.
    """
    if host.limits_handles():
        return ""
    texts: list[str] = []
    pending, seen = [node], {node.fullName()}
    while pending and len(texts) < MAX_UPSTREAM_NODES:
        here = pending.pop()
        texts.append(f"{here.Class()} {_LAYOUT.sub('', host.changed_knobs(here))}")
        for index in range(here.inputs()):
            above = here.input(index)
            if above is not None and above.fullName() not in seen:
                seen.add(above.fullName())
                pending.append(above)
    return "\n".join(texts)


def _frame_range(settings: Settings, plate: PlateSource) -> tuple[int, int]:
    if settings.frame_range == "custom":
        first, last = settings.first, settings.last
    elif settings.frame_range == "global":
        first, last = int(float(host.value("root.first_frame"))), int(float(host.value("root.last_frame")))
    else:
        first, last = plate.first, plate.last
    if last < first:
        raise GraphError(f"the frame range {first}-{last} ends before it begins; correct 'frame range'")
    if first < plate.first or last > plate.last:
        if settings.frame_range == "custom":
            raise GraphError(
                f"the frame range {first}-{last} reaches outside of the plate ({plate.first}-{plate.last}); "
                "correct 'frame range'"
            )
        first, last = max(first, plate.first), min(last, plate.last)
        if last < first:
            raise GraphError("the script's frame range does not meet the plate's; correct 'frame range'")
    return first, last


def _needed_part(plate: PlateSource, settings: Settings, drawing: Drawing, first: int, last: int) -> PlateSource:
    """Cut the plate to what the range, its handles and the annotations need: no other frame is rendered or sent."""
    frames = [annotation.frame for annotation in drawing.annotations]
    return replace(
        plate,
        first=max(plate.first, min([first - settings.handles, *frames])),
        last=min(plate.last, max([last + settings.handles, *frames])),
    )
