"""The node's buttons. Each takes the node that it was pressed on; scripts may call them too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from rotomem_nuke import baking, clicking, host, roto, runs, staleness
from rotomem_nuke.background import work_then
from rotomem_nuke.buttons import (
    ask_daemon,
    asking,
    node_of_button,
    refuse,
    refuse_later,
    require_idle,
    require_ready,
    require_thawed,
    show_status,
)
from rotomem_nuke.cache import clear_mattes, next_version
from rotomem_nuke.collection import (
    annotated_frames,
    collect,
    collect_for_motion,
    collect_for_suggestion,
    drawing_node,
    read_graph,
    show_drawing,
    views_of,
)
from rotomem_nuke.errors import GraphError, PluginError
from rotomem_nuke.following import Report
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.propagation import MotionMattes, Propagation, explain
from rotomem_nuke.shot import connect
from rotomem_nuke.suggestion import describe
from rotomem_nuke.suggestion import suggest as ask_for_suggestions

if TYPE_CHECKING:
    from rotomem_client.messages import SuggestedFrame


def propagate(node: host.Node) -> None:
    """Propagate what is drawn: in the background where Nuke has a window, otherwise until it is done.

    Raises:
        PluginError: without a window only; with one, the sentence is shown.
        ClientError: likewise.
    """
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        start_propagation(rotomem)
    except PluginError as error:
        refuse(node, error)


def from_motion(node: host.Node) -> None:
    """Make mattes of what moves, whether or not anything is drawn; as ``propagate``."""
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        start_motion(rotomem)
    except PluginError as error:
        refuse(node, error)


def start_propagation(
    rotomem: RotomemNode,
    on_report: Callable[[Report], None] | None = None,
    *,
    background: bool | None = None,
    remake: bool = False,
) -> runs.Run:
    """Start what the Propagate button starts; arguments as ``runs.start`` and ``Propagation``.

    Raises:
        PluginError: why nothing can start; without ``background``, also what ended the work, as a ``ClientError`` does.
    """
    require_ready(rotomem)
    tasks = [Propagation(request, remake=remake) for request in collect(rotomem)]
    return runs.start(rotomem, tasks, on_report, background=background)


def start_motion(
    rotomem: RotomemNode, on_report: Callable[[Report], None] | None = None, *, background: bool | None = None
) -> runs.Run:
    """Start what the Mattes from Motion button starts; as ``start_propagation``."""
    require_ready(rotomem)
    tasks = [MotionMattes(request) for request in collect_for_motion(rotomem)]
    return runs.start(rotomem, tasks, on_report, background=background)


def stop(node: host.Node) -> None:
    """Stop the node's work after the frame it is at; finished mattes stay."""
    identifier = RotomemNode.of(node).identifier
    run = runs.running(identifier)
    if run is not None:
        run.stop()
    waiting = asking.get(identifier)
    if waiting is not None:
        waiting.set()


def is_running(node: host.Node) -> bool:
    identifier = RotomemNode.of(node).identifier
    return runs.running(identifier) is not None or identifier in asking


def suggest(node: host.Node) -> None:
    """Ask the daemon where to draw next; the playhead goes there and the status says why."""
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        require_idle(rotomem)
        request = collect_for_suggestion(rotomem)
    except PluginError as error:
        refuse(node, error)
        return

    def shown(suggestions: tuple[SuggestedFrame, ...]) -> None:
        with host.unrecorded():
            rotomem.show_suggestions([entry.frame for entry in suggestions])
            rotomem.show_status(describe(suggestions))
        if suggestions:
            host.move_playhead(suggestions[0].frame)

    ask_daemon(rotomem, lambda say, stopped: ask_for_suggestions(request, say=say, stopped=stopped), shown)


def to_roto(node: host.Node) -> None:
    """Bake the mattes into keyed shapes of a new Roto; in the background where Nuke has a window."""
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        require_idle(rotomem)
        requests = baking.collect_bake(rotomem, rotomem.tolerance)
    except PluginError as error:
        refuse(node, error)
        return

    def draw(found: list[baking.Baked]) -> None:
        rotos = [baking.draw(rotomem, entry) for entry in found]
        show_status(rotomem, baking.describe(rotos, found))

    ask_daemon(rotomem, lambda say, stopped: [baking.vectorize(r, say=say, stopped=stopped) for r in requests], draw)


def draw_click(node: host.Node) -> None:
    """Draw what is clicked on into the Roto, on the frame under the playhead."""
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        require_idle(rotomem)
        request = clicking.collect_click(rotomem)
    except PluginError as error:
        refuse(node, error)
        return

    def draw(clicked: clicking.Clicked) -> None:
        try:
            sentence = clicking.draw(rotomem, clicked)
        except PluginError as error:
            sentence = f"failed: {error}"
        show_status(rotomem, sentence)

    ask_daemon(rotomem, lambda say, stopped: clicking.segment(request, say=say, stopped=stopped), draw)


def previous_annotated(node: host.Node) -> None:
    """Move the playhead to the annotated frame before it."""
    _step(node, lambda frames, here: max((frame for frame in frames if frame < here), default=None), "before")


def next_annotated(node: host.Node) -> None:
    """Move the playhead to the annotated frame after it."""
    _step(node, lambda frames, here: min((frame for frame in frames if frame > here), default=None), "after")


def rescan(node: host.Node) -> None:
    """Show which objects the Roto holds now, and on which frames they are drawn."""
    rotomem = RotomemNode.of(node)
    source = drawing_node(rotomem)
    rotomem.show_objects([found.name for found in roto.roto_objects(source)] if source is not None else [])
    try:
        show_drawing(rotomem, read_graph(rotomem)[0])
    except PluginError as error:
        rotomem.show_status(str(error))


def version_up(node: host.Node) -> None:
    """Go on in a new, empty version."""
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        require_idle(rotomem)
        settings = rotomem.settings(views_of(rotomem.settings())[0])
    except PluginError as error:
        refuse(node, error)
        return

    def shown(version: int) -> None:
        if rotomem.attached:
            rotomem.show_version(version)
            staleness.show_version(rotomem)

    work_then(lambda: next_version(settings.mattes, settings.version), shown, lambda error: refuse_later(node, error))


def open_cache(node: host.Node) -> None:
    """Open the folder of this version's mattes in the system's file browser."""
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    folder = _cache_folders(rotomem)[0]

    def browse() -> None:
        if not folder.is_dir():
            raise GraphError(f"{folder.as_posix()} does not exist yet; it is made with the first matte")
        if sys.platform == "win32":
            os.startfile(str(folder))
        else:
            subprocess.Popen(["open" if sys.platform == "darwin" else "xdg-open", str(folder)])

    work_then(browse, lambda _: None, lambda error: refuse_later(node, error))


def clear_cache(node: host.Node) -> None:
    """Delete this version's mattes from the cache, after a question; what the daemon has stays there."""
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        require_idle(rotomem)
        require_thawed(rotomem)
        patterns = [rotomem.settings(view).mattes for view in views_of(rotomem.settings())]
    except PluginError as error:
        refuse(node, error)
        return
    version = rotomem.settings().version
    if not host.ask(f"Delete the mattes of {rotomem.name} v{version:03d} in {Path(patterns[0]).parent.as_posix()}?"):
        return

    def cleared(count: int) -> None:
        if rotomem.attached:
            rotomem.show_nothing()
            rotomem.show_status(f"{count} {'matte' if count == 1 else 'mattes'} deleted; Propagate brings them back")

    work_then(
        lambda: sum(clear_mattes(pattern) for pattern in patterns), cleared, lambda error: refuse_later(node, error)
    )


def test_backend(node: host.Node) -> None:
    """Ask the daemon who it is; the answer stands beside the button."""
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        settings = rotomem.settings()
    except PluginError as error:
        refuse(node, error)
        return
    rotomem.show_daemon(f"asking {settings.endpoint}")

    def ask() -> str:
        with connect(settings) as client:
            welcome = client.connect()
            worker = client.ping()
        engines = ", ".join(welcome.engines)
        return f"{settings.endpoint}: Rotomem {welcome.server_version} on {welcome.device}, {worker}; engines {engines}"

    def answered(sentence: str) -> None:
        if rotomem.attached:
            rotomem.show_daemon(sentence)

    work_then(ask, answered, lambda error: answered(explain(error)))


def _step(node: host.Node, pick: Callable[[list[int], int], int | None], where: str) -> None:
    rotomem = node_of_button(node)
    if rotomem is None:
        return
    try:
        here = host.frame()
        target = pick(annotated_frames(rotomem), here)
        if target is None:
            raise GraphError(f"no frame {where} {here} is annotated")
    except PluginError as error:
        refuse(node, error)
        return
    host.move_playhead(target)


def _cache_folders(rotomem: RotomemNode) -> list[Path]:
    return [Path(rotomem.settings(view).mattes).parent for view in views_of(rotomem.settings())]
