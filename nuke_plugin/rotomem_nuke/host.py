"""The only importer of ``nuke``: the host application in plain functions, and the hand-off to its main thread.

Nuke's API may be called on its main thread only. A worker thread passes a function to ``on_main`` (waits for its
result) or ``later`` (does not). Everything else here must be called on the main thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Callable, Optional, TypeVar

import nuke.rotopaint as rotopaint

import nuke
from rotomem_nuke.errors import GraphError, HandleLimitError, PluginError, RenderCancelled

T = TypeVar("T")
Node = nuke.Node
Knob = nuke.Knob
Layer = rotopaint.Layer
Shape = rotopaint.Shape
Stroke = rotopaint.Stroke
ShapeControlPoint = rotopaint.ShapeControlPoint
CVec3 = rotopaint.CVec3
OPEN_FLAG = rotopaint.FlagType.eOpenFlag
DETACHED = (ValueError, RuntimeError)
"""What a handle of a deleted node raises ("A PythonObject is not attached to a node")."""


def gui() -> bool:
    return bool(nuke.GUI)


_requests: queue.Queue[Callable[[], object]] = queue.Queue()
"""What other threads want done on the main thread, in order."""


def on_main(function: Callable[[], T]) -> T:
    """Run ``function`` on the main thread, wait, and return its result or raise what it raised.

    Without a window the main thread must be in ``serve``.
    """
    if threading.current_thread() is threading.main_thread():
        return function()
    outcome: list[T] = []
    failure: list[BaseException] = []
    done = threading.Event()

    def call() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # handed to the waiting thread, which raises it
            failure.append(error)
        finally:
            done.set()

    _hand_over(call)
    done.wait()
    if failure:
        raise failure[0]
    return outcome[0]


def later(function: Callable[[], object]) -> None:
    """Run ``function`` on the main thread soon; the caller does not wait."""
    if threading.current_thread() is threading.main_thread():
        function()
    else:
        _hand_over(function)


def serve(timeout_s: float) -> bool:
    """Do one thing that another thread wants done here; False when none came. For a main thread that waits."""
    try:
        function = _requests.get(timeout=timeout_s) if timeout_s > 0 else _requests.get_nowait()
    except queue.Empty:
        return False
    function()
    return True


def _hand_over(function: Callable[[], object]) -> None:
    # Whoever comes first does it: Nuke's event loop, or a script on the main thread that waits in ``serve``. Nuke's own
    # executeInMainThreadWithResult would hang with such a script. Nothing serves Nuke's queue without a window.
    _requests.put(function)
    if gui():
        nuke.executeInMainThread(serve, (0.0,))


_rendering = False


def on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class ProgressBar:
    """Nuke's progress window; without a GUI only the log speaks. Usable from any thread.

    Args:
        title: the window's title; Nuke 17.1 adds further arguments, so nothing else is passed.
    """

    def __init__(self, title: str) -> None:
        self._task: Optional[nuke.ProgressTask] = nuke.ProgressTask(title) if gui() else None

    def show(self, percent: int, message: str) -> None:
        if self._task is not None:
            self._task.setProgress(max(0, min(100, percent)))
            self._task.setMessage(message)

    @property
    def cancelled(self) -> bool:
        return self._task is not None and bool(self._task.isCancelled())

    def close(self) -> None:
        self._task = None  # Nuke closes the window once the task is collected


def this_node() -> Node:
    return nuke.thisNode()


def this_knob() -> Optional[Knob]:
    return nuke.thisKnob()


def required(node: Optional[Node], what: str) -> Node:
    """Return ``node``, or say why it is not there.

    Raises:
        HandleLimitError: the non-commercial edition returns None after ten Python handles in a session.
    """
    if node is not None:
        return node
    if nuke.env.get("nc") or nuke.env.get("indie"):
        raise HandleLimitError(
            f"this edition of Nuke lets Python touch ten nodes per session and the limit is reached at {what}; "
            "save, close and reopen the script, then try again"
        )
    raise PluginError(f"Nuke does not give access to {what}")


def limits_handles() -> bool:
    """Tell whether this edition counts every node that Python touches."""
    return bool(nuke.env.get("nc") or nuke.env.get("indie"))


def show_message(sentence: str) -> None:
    """Open a message window; for a button that was just pressed, never in batch."""
    if gui():
        nuke.message(sentence)


def ask(question: str) -> bool:
    """Ask whoever just pressed a button; in batch nobody is there, and a script that calls has decided."""
    return bool(nuke.ask(question)) if gui() else True


def frame() -> int:
    """Return the frame under the playhead."""
    return int(nuke.frame())


def move_playhead(number: int) -> None:
    nuke.frame(number)


def add_layer(name: str, channels: Sequence[str]) -> None:
    """Make a layer known, so that a knob can name its channels before a Read has brought them."""
    nuke.Layer(name, list(channels))


def changed_knobs(node: Node) -> str:
    """Return a node's knobs that are not at their defaults, as Tcl text."""
    return str(node.writeKnobs(nuke.TO_SCRIPT | nuke.WRITE_NON_DEFAULT_ONLY))


def value(expression: str, default: str = "") -> str:
    """Return a knob's value as text by name, such as ``root.name``; costs no node handle."""
    try:
        return str(nuke.value(expression, default))
    except (NameError, RuntimeError):
        return default


def parent_of(node: Node) -> Node:
    """Return the Group that ``node`` lies in; the root for a top-level node."""
    parent, _, _ = node.fullName().rpartition(".")
    return required(nuke.toNode(parent), parent) if parent else nuke.root()


def find(name: str) -> Node:
    """Return a node by its full name.

    Raises:
        GraphError: there is none.
    """
    found = nuke.toNode(name)
    if found is None and not limits_handles():
        raise GraphError(f"the script has no node {name!r}; give its full name, such as Group1.Read1")
    return required(found, name)


def create(class_name: str, **knobs: Any) -> Node:
    """Create a node without selecting it or opening its panel."""
    return required(getattr(nuke.nodes, class_name)(**knobs), f"a new {class_name}")


def create_with_panel(class_name: str) -> Node:
    """Create a node as the menu does: on the selection, and its panel opens."""
    return required(nuke.createNode(class_name), f"a new {class_name}")


def selected_nodes() -> list[Node]:
    return list(nuke.selectedNodes())


def open_panel(node: Node) -> None:
    if gui():
        node.showControlPanel()


def place_beside(node: Node, other: Node, right: int, down: int) -> None:
    """Put a node so many units of the node graph to the right of another, and below it."""
    node.setXYpos(other.xpos() + right, other.ypos() + down)


def delete(node: Node) -> None:
    nuke.delete(node)


@contextmanager
def unrecorded() -> Iterator[None]:
    """Keep temporary nodes and knob changes out of the artist's undo history."""
    nuke.Undo.disable()
    try:
        yield
    finally:
        nuke.Undo.enable()


@contextmanager
def full_resolution() -> Iterator[None]:
    """Render at full size although the artist looks at proxies."""
    proxy = nuke.root()["proxy"]
    before = proxy.value()
    proxy.setValue(False)
    try:
        yield
    finally:
        proxy.setValue(before)


def render(node: Node, first: int, last: int, view: str) -> None:
    """Execute a Write for ``first`` to ``last`` in one view.

    Raises:
        RenderCancelled: the artist pressed cancel or ^C.
        PluginError: Nuke's own sentence.
    """
    global _rendering
    _rendering = True
    try:
        nuke.execute(node, first, last, 1, [view])
    except RuntimeError as error:
        if "cancel" in str(error).lower():
            raise RenderCancelled(f"cancelled while rendering frame {first} to {last}") from error
        raise PluginError(f"Nuke could not render frames {first} to {last}: {error}") from error
    finally:
        _rendering = False


def renders_for_plugin() -> bool:
    """Tell whether the render under way is the plugin's own, of a plate or an alpha."""
    return _rendering


def views() -> Sequence[str]:
    return list(nuke.views())


def add_plugin_path(folder: str) -> None:
    if folder not in nuke.pluginPath():
        nuke.pluginAddPath(folder)


def add_before_render(guard: Callable[[], None], guard_frame: Callable[[], None]) -> None:
    """Call ``guard`` before each render of a Write and ``guard_frame`` before each frame; what they raise ends it."""
    nuke.addBeforeRender(guard, nodeClass="Write")
    nuke.addBeforeFrameRender(guard_frame, nodeClass="Write")


def open_script(path: str) -> None:
    """Open a comp in place of the one that is open.

    Raises:
        PluginError: Nuke's own sentence.
    """
    try:
        nuke.scriptOpen(path)
    except RuntimeError as error:
        raise PluginError(f"Nuke cannot open {path}: {error}") from error


def save_script(path: str) -> None:
    """Write the comp under another name; raises like ``open_script``."""
    try:
        nuke.scriptSaveAs(path, 1)
    except RuntimeError as error:
        raise PluginError(f"Nuke cannot save {path}: {error}") from error


def groups() -> list[Node]:
    """Return every Group of the comp, those inside of others too."""
    return nuke.allNodes("Group", recurseGroups=True)


def command_line() -> Sequence[str]:
    """Return the words that Nuke was started with."""
    return list(nuke.rawArgs)


def nodes_in(group: Node) -> list[Node]:
    return list(group.nodes())


def add_autolabel(label: Callable[[], Optional[str]]) -> None:
    nuke.addAutolabel(label, nodeClass="Group")


def add_node_command(menu: str, name: str, code: str) -> None:
    """Add ``menu`` to the node toolbar, with one command that runs ``code``; Tab finds it by its name."""
    nuke.menu("Nodes").addMenu(menu).addCommand(name, code)
