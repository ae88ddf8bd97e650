"""Work in progress on a node: one run at a time, shown on the node as it goes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Callable, Optional, Protocol

from rotomem_nuke import host
from rotomem_nuke.following import Report
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.propagation import explain, is_absence, is_expected
from rotomem_nuke.settings import Settings

log = logging.getLogger(__name__)

OnReport = Callable[[Report], None]

_running: dict[str, Run] = {}


class Task(Protocol):
    """The work on one view: a ``Propagation`` or a ``Resumption``."""

    @property
    def settings(self) -> Settings: ...

    def run(self, *, show: OnReport, stopped: Callable[[], bool]) -> Report: ...


class Run:
    """Tasks of one node, one view after the other.

    Args:
        on_report: told each report of all views together, on the thread that works.
    """

    def __init__(self, node: RotomemNode, tasks: Sequence[Task], on_report: Optional[OnReport] = None) -> None:
        self._node = node
        self._tasks = tasks
        self._on_report = on_report
        self._settings = tasks[0].settings
        self._state_before = node.state
        self._stop = threading.Event()
        self._bar = host.ProgressBar(f"Rotomem: {self._settings.name}")
        self._reports: dict[str, Report] = {}
        self._last = Report("")
        self.finished = threading.Event()
        self.error: Optional[Exception] = None

    @property
    def report(self) -> Report:
        """The last one; once ``finished`` is set, the final one."""
        return self._last

    def stop(self) -> None:
        self._stop.set()

    def start(self, background: bool) -> None:
        """Return at once, or when the work ended, and raise what ended it."""
        _running[self._settings.node_uuid] = self
        self._node.show_state("running")
        if background:
            threading.Thread(target=self._work, name="rotomem", daemon=True).start()
            return
        self._work()
        if self.error is not None:
            raise self.error

    def _work(self) -> None:
        try:
            for task in self._tasks:
                if self._stop.is_set():
                    break
                self._show(task.settings, task.run(show=self._shower(task.settings), stopped=self._stopped))
            self._end(_state_after(self._last))
        except Exception as error:  # a thread's last resort: the artist reads it on the node
            self._fail(error)
        finally:
            self._bar.close()
            _running.pop(self._settings.node_uuid, None)
            self.finished.set()

    def _stopped(self) -> bool:
        return self._stop.is_set() or self._bar.cancelled

    def _shower(self, settings: Settings) -> OnReport:
        return lambda report: self._show(settings, report)

    def _show(self, settings: Settings, report: Report) -> None:
        self._reports[settings.view] = report
        whole = _together(list(self._reports.values()), len(self._tasks), settings.view)
        percent = 100 * whole.done // max(1, whole.total)
        self._bar.show(percent, whole.sentence)
        if whole.done != self._last.done:
            log.info("Progress: %d%%", percent)
        self._last = whole
        if self._on_report is not None:
            self._on_report(whole)
        host.later(lambda: _show_on_node(self._node, settings, whole))

    def _end(self, state: str, failure: str = "") -> None:
        log.info("%s: %s", self._settings.name, self._last.sentence)
        host.later(lambda: _show_state(self._node, state, failure))

    def _fail(self, error: Exception) -> None:
        self.error = error
        if not is_expected(error):
            log.error("%s: the work failed", self._settings.name, exc_info=error)
        self._last = replace(self._last, sentence=f"failed: {explain(error)}", reload=self._last.done > 0)
        if self._on_report is not None:
            self._on_report(self._last)
        last = self._last
        host.later(lambda: _show_on_node(self._node, self._settings, last))
        if is_absence(error):  # costs a status line and no more
            self._end("idle" if self._state_before == "running" else self._state_before)
        else:
            self._end("error", last.sentence)


def start(
    node: RotomemNode,
    tasks: Sequence[Task],
    on_report: Optional[OnReport] = None,
    *,
    background: Optional[bool] = None,
) -> Run:
    """Start work on a node.

    Args:
        background: on a thread of its own, whose requests the main thread must ``host.serve`` where there is no window;
            None: where Nuke has a window.
    """
    run = Run(node, tasks, on_report)
    run.start(host.gui() if background is None else background)
    return run


def running(identifier: str) -> Optional[Run]:
    """Return the run of the node with this identifier, if there is one."""
    return _running.get(identifier)


def _together(reports: Sequence[Report], tasks: int, view: str) -> Report:
    """Return one report for all views; a script with a single view has its own back."""
    latest = reports[-1]
    if tasks == 1:
        return latest
    frames = sorted({frame for report in reports for frame in report.on_disk})
    return Report(
        sentence=f"{view}: {latest.sentence}",
        done=sum(report.done for report in reports),
        total=latest.total * tasks,
        wanted=sum(report.wanted for report in reports),
        on_disk=tuple(frames),
        shown=latest.shown,
        made=tuple(entry for report in reports for entry in report.made),
        engine=latest.engine,
        reload=latest.reload,
        complete=len(reports) == tasks and all(report.complete for report in reports),
        older=sum(report.older for report in reports),
    )


def _state_after(report: Report) -> str:
    if report.older:
        return "stale"
    return "complete" if report.complete else "idle"


def _show_state(node: RotomemNode, state: str, failure: str) -> None:
    if node.attached:
        with host.unrecorded():
            node.show_state(state, failure)


def _show_on_node(node: RotomemNode, settings: Settings, report: Report) -> None:
    if not node.attached:  # deleted meanwhile; an undo finds the mattes in the cache
        return
    with host.unrecorded():
        node.show_status(report.sentence)
        if node.mattes(settings.view) != settings.mattes:
            return  # the artist looks at another version meanwhile; its mattes stay
        if report.total:
            node.show_progress(f"{report.wanted}/{report.total}")
        if report.engine:
            node.show_engine(report.engine)
        if report.reload and report.on_disk:
            node.show_mattes(
                settings.shown_mattes,
                min(report.shown[0], report.on_disk[0]),
                max(report.shown[1], report.on_disk[-1]),
                len(report.on_disk),
                on_error="error" if report.complete else "black",
            )
