"""Mattes to outlines, in a process of its own beside the worker's: an artist who bakes waits for no propagation.

One request at a time. Each gets a new process, which ends with it: a file that crashes a decoder takes nothing along,
and when the daemon is gone nothing is left that would wait for it.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from rotomem.errors import RotomemError, WorkerCrashedError
from rotomem_client.shapes import Outline

log = logging.getLogger(__name__)

Outcome = tuple[Outline, ...] | RotomemError


@dataclass(frozen=True)
class TraceTask:
    """What ``rotomem.session.outlines.outlines_from_files`` is called with."""

    files: Mapping[int, Path]
    object_name: str
    tolerance: float


class Tracer:
    """Runs trace tasks, one after the other."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def start(self, task: TraceTask, then: Callable[[Outcome], None]) -> None:
        """Return at once; ``then`` is told the outcome on a thread of its own."""
        threading.Thread(target=self._work, args=(task, then), name="rotomem-tracing", daemon=True).start()

    def _work(self, task: TraceTask, then: Callable[[Outcome], None]) -> None:
        try:
            with self._turn:
                outcome = _traced_elsewhere(task)
        except OSError as error:
            outcome = WorkerCrashedError(f"the process that vectorizes mattes cannot be started: {error}; try again")
        then(outcome)


def _traced_elsewhere(task: TraceTask) -> Outcome:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_trace, args=(theirs, task), name="rotomem-tracing", daemon=True)
    process.start()
    theirs.close()
    try:
        outcome: Outcome = ours.recv()
    except EOFError:
        process.join()
        outcome = WorkerCrashedError(
            f"the process that vectorizes mattes ended by exit code {process.exitcode}; bake fewer frames, or raise "
            "the tolerance"
        )
    process.join()
    return outcome


def _trace(pipe: Connection, task: TraceTask) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from rotomem.session.outlines import outlines_from_files

    outcome: Outcome
    try:
        outcome = outlines_from_files(task.files, task.object_name, task.tolerance)
    except RotomemError as error:
        outcome = error
    except Exception as error:
        log.exception("mattes of %s cannot be vectorized", task.object_name)
        outcome = RotomemError(
            f"the mattes of {task.object_name} cannot be vectorized ({type(error).__name__}: {error})"
        )
    try:
        pipe.send(outcome)
    except OSError:
        log.info("the daemon is gone; nobody waits for the outlines")
