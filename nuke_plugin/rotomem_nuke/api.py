"""What TDs script: the node's buttons as functions, with results instead of status lines. Python 3.9.

Everything here is called on Nuke's main thread, with a window or in ``nuke -t``, and takes a node or its name.
``backend/docs/td-api.md`` has an example of each, which the tests run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional, Union

from rotomem_client.path_map import parse_path_map
from rotomem_client.shapes import Shape
from rotomem_nuke import actions, baking, cache_listing, drawing, farm, host, jobfile, roto, staleness, suggestion
from rotomem_nuke.cache_listing import Cached
from rotomem_nuke.collection import collect, drawing_node
from rotomem_nuke.errors import CacheError, GraphError, IncompleteError, PluginError
from rotomem_nuke.formats import format_of
from rotomem_nuke.job import Job, Matte
from rotomem_nuke.node import PLATE_INPUT, ROTO_INPUT, RotomemNode

__all__ = [
    "CacheError",
    "Cached",
    "GraphError",
    "IncompleteError",
    "Job",
    "Matte",
    "PluginError",
    "Suggestion",
    "annotate",
    "assert_complete",
    "bake_to_roto",
    "clean_caches",
    "create",
    "export_job",
    "list_caches",
    "propagate",
    "propose_motion",
    "refresh",
    "suggest",
]

AnyNode = Union[str, host.Node]


@dataclass(frozen=True)
class Suggestion:
    """A frame worth drawing on.

    Args:
        score: the higher, the more it helps; comparable within one answer.
        reason: one clause.
    """

    frame: int
    score: float
    reason: str


def create(plate: AnyNode, roto: Optional[AnyNode] = None, *, name: str = "", **knobs: Any) -> host.Node:
    """Make a Rotomem node, wired, without selecting it or opening its panel; return it.

    Args:
        plate: what the mattes are for; the new node lies in its group.
        roto: a Roto, or any node with an alpha.
        name: of the new node.
        knobs: values by knob name, such as ``engine="warp"``.

    Raises:
        GraphError: no such node or knob.
    """
    source = _node(plate)
    with host.parent_of(source):
        made = host.create("Rotomem")
    if name:
        made.setName(name)
    made.setInput(PLATE_INPUT, source)
    if roto is not None:
        made.setInput(ROTO_INPUT, _node(roto))
    try:
        for knob, value in knobs.items():
            made[knob].setValue(value)
    except NameError as error:
        host.delete(made)
        raise GraphError(f"a Rotomem node has no knob {knob!r}; its gizmo lists them") from error
    return made


def propagate(
    node: AnyNode,
    first: Optional[int] = None,
    last: Optional[int] = None,
    *,
    wait: bool = True,
    remake: bool = False,
) -> Job:
    """Make the mattes of what is drawn, as the Propagate button does.

    Args:
        first: with ``last``: becomes the node's custom frame range. Without, the node's own range is made.
        wait: until the end; otherwise follow ``Job.events`` or call ``Job.wait``.
        remake: make also those mattes that the daemon knows to be right.

    Raises:
        GraphError: the input, knob or frame that is wrong.
        PluginError, ClientError: with ``wait``, what ended the job.
    """
    rotomem = RotomemNode.of(_node(node))
    _set_range(rotomem, first, last)
    job = Job(lambda told: actions.start_propagation(rotomem, told, background=True, remake=remake))
    return job.wait() if wait else job


def propose_motion(node: AnyNode, first: Optional[int] = None, last: Optional[int] = None, *, wait: bool = True) -> Job:
    """Make mattes of what moves against the camera, as the Mattes from Motion button does; arguments as ``propagate``.

    Nothing needs to be drawn; the objects are then ``object1``, the one that moves most, to ``object3``.

    Raises:
        GraphError: the input, knob or frame that is wrong.
        PluginError, ClientError: with ``wait``, what ended the job.
    """
    rotomem = RotomemNode.of(_node(node))
    _set_range(rotomem, first, last)
    job = Job(lambda told: actions.start_motion(rotomem, told, background=True))
    return job.wait() if wait else job


def suggest(node: AnyNode, count: int = 3) -> tuple[Suggestion, ...]:
    """Return the frames worth drawing on next, best first. It waits for the daemon; the playhead stays.

    Raises:
        GraphError: the input, knob or frame that is wrong.
        ClientError: the daemon is away or refused.
    """
    rotomem = RotomemNode.of(_node(node))
    found = suggestion.suggest(collect(rotomem)[0], count=count, say=lambda _: None, stopped=lambda: False)
    rotomem.show_suggestions([entry.frame for entry in found])
    return tuple(Suggestion(entry.frame, entry.score, entry.reason) for entry in found)


def bake_to_roto(node: AnyNode, tolerance: float = 0.5) -> host.Node:
    """Turn the mattes into keyed closed Beziers in a new Roto, as the Bake to Roto button does, and return it.

    One shape per contour for as long as it stays one (128 frames at most), one layer per object. It waits for the
    daemon. In a script of several views, the Roto of the first.

    Args:
        tolerance: how far, in pixels, a shape may lie from the line where the matte is one half.

    Raises:
        GraphError: nothing is wired, there are no mattes, or the tolerance makes no sense.
        ClientError: the daemon is away or refused.
    """
    rotomem = RotomemNode.of(_node(node))
    baked = [
        baking.vectorize(request, say=lambda _: None, stopped=lambda: False)
        for request in baking.collect_bake(rotomem, tolerance)
    ]
    return next(iter([baking.draw(rotomem, entry) for entry in baked]))


def annotate(node: AnyNode, frame: int, shapes: Sequence[Shape] = (), *, object_name: str = "object") -> None:
    """Annotate a frame: draw shapes into the wired Roto, or list the frame where something else is wired.

    Args:
        shapes: of one object, bottommost first, in plate pixels, origin top-left. Empty for a keyer, a paint or a Read:
            the frame joins the node's annotated frames.
        object_name: the Roto's top-level layer, made where it is missing.

    Raises:
        GraphError: nothing is wired, or shapes for a node that is no Roto, or the reverse.
    """
    rotomem = RotomemNode.of(_node(node))
    source = drawing_node(rotomem)
    if source is None:
        if shapes:
            raise GraphError(f"{rotomem.name} has no Roto to draw in; wire one into 'roto'")
        listed = rotomem.settings().annotated
        rotomem.graph_node["annotated"].setValue(f"{listed},{frame}" if listed else str(frame))
        return
    if roto.layer_name(object_name) != object_name:
        raise GraphError(f"the object name {object_name!r} cannot be a layer; use letters, digits and _")
    plate = rotomem.input(PLATE_INPUT)
    if plate is None:
        raise GraphError(f"{rotomem.name}: the plate input is not connected; wire the plate into 'img'")
    drawing.draw_shapes(source, object_name, frame, shapes, height=format_of(plate).height)


def export_job(
    node: AnyNode,
    path: Union[str, Path],
    *,
    path_map: Sequence[str] = (),
    expect: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write what the node would propagate as a job for ``rotomem job run``, which needs no Nuke; return the file.

    Args:
        path: such as ``/show/sh010/hero.rotomem.json``; rendered frames go beside it.
        path_map: ``FROM=TO`` entries: this machine's paths as the farm sees them.
        expect: point the node at the mattes to come, so that a comp saved now renders them later, and a missing one
            is an error.
        say: told what is being rendered.

    Raises:
        GraphError: the input, knob or frame that is wrong.
        CacheError: the file cannot be written.
    """
    rotomem = RotomemNode.of(_node(node))
    written = jobfile.export_job(rotomem, Path(path), path_map=parse_path_map(path_map), say=say)
    if expect:
        farm.expect_mattes(rotomem)
    return written


def assert_complete(node: AnyNode, first: Optional[int] = None, last: Optional[int] = None) -> None:
    """Make sure that every matte is in the cache folder; no daemon is asked.

    Args:
        first: with ``last``: the frames to look at; otherwise the node's own range.

    Raises:
        IncompleteError: a ``RuntimeError`` with the node, the missing frames and the folder.
    """
    rotomem = RotomemNode.of(_node(node))
    farm.assert_complete(rotomem, None if first is None or last is None else (first, last))


def refresh(node: AnyNode) -> None:
    """Show what the cache folder holds by now, such as mattes that a farm made meanwhile."""
    staleness.show_version(RotomemNode.of(_node(node)))


def list_caches(node: AnyNode) -> tuple[Cached, ...]:
    """Return what lies in the cache folder that the node uses, of every node and version that is in there."""
    return cache_listing.list_caches(RotomemNode.of(_node(node)))


def clean_caches(node: AnyNode, *, keep: int = 1, dry_run: bool = False) -> tuple[Cached, ...]:
    """Delete the mattes of the node's older versions; return what was, or with ``dry_run`` would be, deleted.

    Never deleted: frozen versions, the version that the node shows, and other nodes' mattes.

    Args:
        keep: how many of the newest versions stay.

    Raises:
        CacheError: a file cannot be deleted.
    """
    return cache_listing.clean_caches(RotomemNode.of(_node(node)), keep=keep, dry_run=dry_run)


def _set_range(rotomem: RotomemNode, first: Optional[int], last: Optional[int]) -> None:
    if (first is None) != (last is None):
        raise GraphError("give both first and last, or neither")
    if first is not None:
        for knob, value in (("range", "custom"), ("first", first), ("last", last)):
            rotomem.graph_node[knob].setValue(value)


def _node(given: AnyNode) -> host.Node:
    if not isinstance(given, str):
        return given
    return host.find(given)
