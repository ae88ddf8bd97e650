"""The state of one fake Nuke, and the switches that tests turn."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Session:
    def __init__(self) -> None:
        self.reset()

    def reset(self, *, gui: bool = True, nc: bool = False) -> None:
        from nuke import _graph

        self.gui = gui
        self.nc = nc
        self.handles = 0
        self.root = _graph.Op("Root", "root", None)
        self.context = [self.root]
        self.this: list[tuple[Any, Any]] = []
        self.requests: queue.Queue[Callable[[], None]] = queue.Queue()
        self.messages: list[str] = []
        self.served_errors: list[Exception] = []
        self.progress_tasks: list[Any] = []
        self.renders: list[dict[str, Any]] = []
        self.cancel_render_at: int | None = None
        self.plugin_path: list[str] = []
        self.menu_commands: dict[str, str] = {}
        self.autolabels: list[tuple[Callable[[], Any], str]] = []
        self.undo_depth = 0
        self.undoable: list[str] = []
        self.views = ["main"]
        self.curve_scripts: dict[str, Any] = {}
        self.knob_changes: list[str] = []
        self.frame = 1
        self.view = "main"
        self.channels = {f"rgba.{name}" for name in ("red", "green", "blue", "alpha")}
        self.questions: list[str] = []
        self.answer = True
        self.panels: list[str] = []
        self.before_render: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = []
        self.before_frame_render: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = []
        self.scripts: dict[str, Callable[[], object]] = {}
        self.saved_scripts: list[str] = []
        self.command_line: list[str] = ["Nuke17.1"]

    def set_views(self, *views: str) -> None:
        """Make the script a stereo one; the Viewer looks at the first view."""
        self.views, self.view = list(views), views[0]

    # --- threads ---

    def check_thread(self, what: str) -> None:
        """research/nuke.md §2 "Threads": nuke's API belongs to the main thread; elsewhere Nuke crashes at random."""
        if threading.current_thread() is not threading.main_thread():
            raise AssertionError(f"nuke.{what} was called off the main thread")

    def pump(self, until: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
        """Serve requests of other threads, as Nuke's event loop does, until ``until()`` is true."""
        deadline = time.monotonic() + timeout_s
        while not until():
            if time.monotonic() > deadline:
                raise AssertionError(f"nothing happened for {timeout_s} s")
            try:
                self.requests.get(timeout=0.01)()
            except queue.Empty:
                continue

    def drain(self) -> None:
        while True:
            try:
                self.requests.get_nowait()()
            except queue.Empty:
                return

    def settle(self, threads: str, *, timeout_s: float = 30.0) -> None:
        """Pump until no thread of that name runs and none of their requests waits; a request may start a thread."""
        while True:
            self.pump(lambda: not any(thread.name == threads for thread in threading.enumerate()), timeout_s=timeout_s)
            if self.requests.empty():
                return
            self.drain()

    # --- handles ---

    def handle(self, op: Any) -> Any:
        """Return a Python object for ``op``.

        Non-commercial: ten per session, cumulatively; looking up a node already held costs another, deleting gives
        none back (shango/rotobridge test/probe/README.md, "Two host facts"; research/nuke.md §2 "NC/Indie").
        """
        from nuke import _graph

        if op is None:
            return None
        if self.nc:
            if self.handles >= 10:
                return None
            self.handles += 1
        return _graph.Node(op)

    def run_script(self, code: str, op: Any, knob: Any, *, context: Any) -> None:
        """Execute knob code with ``thisNode`` and ``thisKnob`` set."""
        import nuke

        if not code:
            return
        self.this.append((op, knob))
        self.context.append(context)
        try:
            exec(compile(code, f"<{op.full_name}>", "exec"), {"nuke": nuke})
        finally:
            self.context.pop()
            self.this.pop()

    def update_ui(self) -> None:
        """Run ``updateUI`` on every node, as Nuke does in its idle time after any change to the script.

        Evidence: Foundry's Python guide, "Callbacks": "run on every node after any changes to the script", after
        ``knobChanged`` and before ``autolabel``.
        """
        pending = list(self.root.children)
        while pending:
            op = pending.pop()
            pending += op.children
            op.run("updateUI")

    # --- start-up ---

    def start(self, plugin_folder: Path) -> None:
        """Run ``init.py``, and ``menu.py`` only with a GUI (research/nuke.md §2 "Startup")."""
        self.plugin_path.append(str(plugin_folder))
        for name in ("init.py", "menu.py") if self.gui else ("init.py",):
            path = plugin_folder / name
            if path.is_file():
                exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__file__": str(path)})


session = Session.__new__(Session)
