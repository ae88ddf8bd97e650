"""A behavioural fake of Foundry's ``nuke`` module, for tests only. Nothing here was run inside Nuke.

It knows what the plugin calls and nothing else: any other attribute raises. Each behaviour that differs from what one
would expect cites its evidence; ``research/nuke.md`` is the project's collection of it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

from nuke._session import session

session.__init__()  # type: ignore[misc]

from nuke import _graph, _images, _knobs, _script  # noqa: E402
from nuke._graph import Node  # noqa: E402
from nuke._knobs import (  # noqa: E402
    Boolean_Knob,
    Enumeration_Knob,
    File_Knob,
    Format,
    Int_Knob,
    Knob,
    PyScript_Knob,
    String_Knob,
    Text_Knob,
)

__all__ = [
    "Boolean_Knob",
    "Enumeration_Knob",
    "File_Knob",
    "Format",
    "Int_Knob",
    "Knob",
    "Node",
    "PyScript_Knob",
    "String_Knob",
    "Text_Knob",
]


class _Environment(dict):  # type: ignore[type-arg]
    pass


def __getattr__(name: str) -> Any:
    if name == "GUI":
        return session.gui
    if name == "NUKE_VERSION_STRING":
        return "fake"
    if name == "rawArgs":  # the words of the command line (Foundry's reference, nuke.rawArgs)
        return list(session.command_line)
    if name == "env":
        return _Environment(nc=session.nc, indie=False, gui=session.gui)
    raise AttributeError(f"module 'nuke' has no attribute {name!r} (or the fake does not know it)")


TO_SCRIPT, WRITE_NON_DEFAULT_ONLY = 1, 16
"""Flags of ``Node.writeKnobs``; Nuke's own numbers do not matter to callers."""


def thisNode() -> Node:
    session.check_thread("thisNode")
    return session.handle(session.this[-1][0])  # type: ignore[no-any-return]


def thisKnob() -> Knob | None:
    session.check_thread("thisKnob")
    return session.this[-1][1]  # type: ignore[no-any-return]


def root() -> Node:
    session.check_thread("root")
    return Node(session.root)


def toNode(name: str) -> Node | None:
    session.check_thread("toNode")
    if name == "root":
        return root()
    return session.handle(session.root.find(name))  # type: ignore[no-any-return]


def allNodes(filter: str | None = None, group: Node | None = None, recurseGroups: bool = False) -> list[Node]:
    """Non-commercial: the list ends where the handles do (research/nuke.md §2 "NC/Indie")."""
    session.check_thread("allNodes")
    pending = list((group._op if group else session.root).children)
    found = []
    while pending:
        op = pending.pop(0)
        if recurseGroups:
            pending += op.children
        if filter is None or op.class_name == filter:
            node = session.handle(op)
            if node is None:
                break
            found.append(node)
    return found


def frame(number: int | None = None) -> int:
    """The playhead: asked without a number, moved with one (Foundry, nuke.frame)."""
    session.check_thread("frame")
    if number is not None:
        session.frame = int(number)
    return session.frame


def scriptOpen(path: str) -> None:
    """Replace the script by what the test says that the file holds (``session.scripts``)."""
    session.check_thread("scriptOpen")
    if path not in session.scripts:
        raise RuntimeError(f"{path}: not a script")
    for op in list(session.root.children):
        op.delete()
    session.root.knobs["name"]._value = path
    session.scripts[path]()


def scriptSaveAs(path: str, overwrite: int = -1) -> None:
    """Without ``overwrite`` Nuke asks before it replaces a file (Foundry's reference, nuke.scriptSaveAs)."""
    session.check_thread("scriptSaveAs")
    if overwrite != 1 and not session.gui:
        raise RuntimeError(f"{path}: may exist, and nobody is there to be asked")
    session.saved_scripts.append(path)


class Layer:
    """Makes a layer known by its name and its channels' full names (Foundry, nuke.Layer)."""

    def __init__(self, name: str, channels: list[str]) -> None:
        session.check_thread("Layer")
        if any(not channel.startswith(f"{name}.") for channel in channels):
            raise ValueError(f"channels of {name} are named {name}.something")
        session.channels.update(channels)


def value(expression: str, default: str | None = None) -> str:
    session.check_thread("value")
    node, _, knob = expression.rpartition(".")
    op = session.root if node == "root" else _op_named(node)
    if op is None or knob not in op.knobs:
        if default is not None:
            return default
        raise RuntimeError(f"no such knob: {expression}")
    found = op.knob(knob).value()
    return ("true" if found else "false") if isinstance(found, bool) else str(found)


def _op_named(path: str) -> Any:
    """``Rotomem1.input0`` is what is wired there, as in labels' ``[value input0.name]`` (Foundry, "TCL", value)."""
    stem, _, last = path.rpartition(".")
    match = re.fullmatch(r"input(\d*)", last)
    op = session.root.find(stem if match else path)
    return op if op is None or match is None else op.inputs.get(int(match.group(1) or 0))


class _Nodes:
    """``nuke.nodes.X(**knobs)``: no selection, no panel."""

    def __getattr__(self, class_name: str) -> Callable[..., Node | None]:
        def create(inputs: list[Node] | None = None, **knobs: Any) -> Node | None:
            session.check_thread(f"nodes.{class_name}")
            op = _make(class_name)
            if session.undo_depth == 0:
                session.undoable.append(f"create {op.full_name}")
            for index, source in enumerate(inputs or []):
                if source._op.parent is not op.parent:
                    raise RuntimeError(f"{source._op.full_name} is in another group than {op.full_name}")
                op.inputs[index] = source._op
            for name, given in knobs.items():
                op.knob(name).setValue(given)
            return session.handle(op)  # type: ignore[no-any-return]

        return create


nodes = _Nodes()


def _make(class_name: str) -> Any:
    from pathlib import Path

    for folder in session.plugin_path:
        gizmo = Path(folder) / f"{class_name}.gizmo"
        if gizmo.is_file():
            (op,) = _script.load(gizmo.read_text(encoding="utf-8"), session.context[-1])
            op.run("onCreate")
            return op
    op = _graph.Op(class_name, class_name + "1", session.context[-1])
    op.run("onCreate")
    return op


def selectedNodes() -> list[Node]:
    session.check_thread("selectedNodes")
    return [session.handle(op) for op in session.context[-1].children if op.knobs["selected"]._value]


def createNode(class_name: str) -> Node | None:
    """As from the menu: wired to the selected node, and selected in its place (Foundry, nuke.createNode).

    The panel opens, which is a ``showPanel`` change (research/nuke.md §2 "Callbacks").
    """
    session.check_thread("createNode")
    selected = [op for op in session.context[-1].children if op.knobs["selected"]._value]
    op = _make(class_name)
    op.inputs.update(enumerate(reversed(selected)))
    for other in selected:
        other.knobs["selected"]._value = False
    op.knobs["selected"]._value = True
    if session.gui:
        panel = _knobs.Knob("showPanel")
        op.knob_changed(panel)
    return session.handle(op)  # type: ignore[no-any-return]


def delete(node: Node) -> None:
    session.check_thread("delete")
    node._op.check_attached()
    if session.undo_depth == 0:
        session.undoable.append(f"delete {node._op.full_name}")
    node._op.delete()


def execute(
    node: Any,
    first: int,
    last: int,
    step: int = 1,
    views: list[str] | None = None,
    continueOnError: bool = False,
) -> None:
    session.check_thread("execute")
    op = session.root.find(node) if isinstance(node, str) else node._op
    wanted = list(views or session.views)
    session.renders.append({"first": first, "last": last, "views": wanted, "node": op.full_name})
    _run_before(session.before_render, op)
    for view in wanted:
        if view not in session.views:
            raise RuntimeError(f"no view named {view}")
        for frame in range(first, last + 1, step):
            session.frame, playhead = frame, session.frame
            try:
                _run_before(session.before_frame_render, op)
            finally:
                session.frame = playhead
            _images.execute(op, frame, frame, 1, view)


def _run_before(callbacks: list[Any], op: Any) -> None:
    """Exceptions abort the render (Foundry's Python guide, "beforeRender"; research/nuke.md §2 "Callbacks")."""
    for call, args, kwargs, node_class in callbacks:
        if node_class in ("*", op.class_name):
            session.this.append((op, None))
            try:
                call(*args, **kwargs)
            finally:
                session.this.pop()


def addBeforeRender(
    call: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, nodeClass: str = "Write"
) -> None:
    session.before_render.append((call, args, kwargs or {}, nodeClass))


def addBeforeFrameRender(
    call: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None, nodeClass: str = "Write"
) -> None:
    """As above, before each frame, with ``nuke.frame()`` on it (Foundry's Python guide, "beforeFrameRender")."""
    session.before_frame_render.append((call, args, kwargs or {}, nodeClass))


def views() -> list[str]:
    session.check_thread("views")
    return list(session.views)


def message(text: str) -> None:
    session.check_thread("message")
    if not session.gui:
        raise AssertionError(f"a message window in batch: {text}")
    session.messages.append(text)


def ask(text: str) -> bool:
    """A question with Yes and No; the test's answer is ``session.answer``."""
    session.check_thread("ask")
    if not session.gui:
        raise AssertionError(f"a question window in batch: {text}")
    session.questions.append(text)
    return session.answer


def executeInMainThread(
    call: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
) -> None:
    """Foundry: "Do not run executeInMainThread from within the main thread or NUKE will hang"."""
    _refuse_main_thread("executeInMainThread")
    session.requests.put(lambda: _served(call, args, kwargs))


def executeInMainThreadWithResult(
    call: Callable[..., Any], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
) -> Any:
    """As above, and waits. An exception of ``call`` stays on the main thread: the caller gets None."""
    _refuse_main_thread("executeInMainThreadWithResult")
    outcome: list[Any] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(_served(call, args, kwargs))
        finally:
            done.set()

    session.requests.put(run)
    if not done.wait(60.0):
        raise AssertionError("nobody served the main thread for 60 s")
    return outcome[0] if outcome else None


def _served(call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    """Run a handed-over call; its exception is printed and goes no further."""
    try:
        return call(*args, **(kwargs or {}))
    except Exception as error:
        session.served_errors.append(error)
        return None


def _refuse_main_thread(name: str) -> None:
    if threading.current_thread() is threading.main_thread():
        raise AssertionError(f"nuke.{name} from the main thread hangs Nuke")
    if not session.gui:
        raise AssertionError(f"nuke.{name} without a GUI: nothing serves it")


class ProgressTask:
    """Any thread. 17.1 gains arguments after the title, other versions have none (research/nuke.md §2 "Threads")."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.progress = 0
        self.text = ""
        self.cancel_pressed = False
        session.progress_tasks.append(self)

    def setProgress(self, percent: int) -> None:
        if not isinstance(percent, int):
            raise TypeError("an integer is required")
        self.progress = percent

    def setMessage(self, text: str) -> None:
        self.text = text

    def isCancelled(self) -> bool:
        return self.cancel_pressed


class Undo:
    @staticmethod
    def disable() -> None:
        session.check_thread("Undo.disable")
        session.undo_depth += 1

    @staticmethod
    def enable() -> None:
        session.check_thread("Undo.enable")
        session.undo_depth -= 1


def pluginPath() -> list[str]:
    return list(session.plugin_path)


def pluginAddPath(folder: str) -> None:
    session.plugin_path.insert(0, folder)


def addAutolabel(call: Callable[[], Any], nodeClass: str = "*") -> None:
    session.autolabels.append((call, nodeClass))


class _Menu:
    def __init__(self, path: str) -> None:
        self._path = path

    def addMenu(self, name: str) -> _Menu:
        return _Menu(f"{self._path}/{name}")

    def addCommand(self, name: str, command: str) -> None:
        session.menu_commands[f"{self._path}/{name}"] = command


def menu(name: str) -> _Menu:
    if not session.gui:
        raise RuntimeError("menus exist with a GUI only")
    return _Menu(name)
