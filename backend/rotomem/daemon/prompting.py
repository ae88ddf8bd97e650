"""Prompts to mattes, in a process of its own beside the worker's: an artist who clicks waits for no propagation.

One prompt at a time. The process stays, with its network and the frames it has looked at, until it was idle for long.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from rotomem.errors import RotomemError, WorkerCrashedError
from rotomem.session.prompt import PromptTask

log = logging.getLogger(__name__)

IDLE_S = 600.0
"""Without a prompt for so long the process ends and frees its memory."""

Outcome = tuple[bytes, float] | RotomemError
"""An EXR file and its score."""


class PromptDesk:
    """Answers prompts, one after the other."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process: BaseProcess | None = None
        self._pipe: Connection

    def start(self, task: PromptTask, then: Callable[[Outcome], None]) -> None:
        """Return at once; ``then`` is told the outcome on a thread of its own."""
        threading.Thread(target=self._work, args=(task, then), name="rotomem-prompts", daemon=True).start()

    def close(self) -> None:
        """End the process."""
        process = self._process
        if process is not None:
            process.kill()

    def _work(self, task: PromptTask, then: Callable[[Outcome], None]) -> None:
        try:
            with self._turn:
                outcome = self._ask(task)
        except OSError as error:
            outcome = WorkerCrashedError(f"the process that answers prompts cannot be started: {error}; try again")
        then(outcome)

    def _ask(self, task: PromptTask) -> Outcome:
        if self._process is None or not self._process.is_alive():
            self._start_process()
        process = self._process
        assert process is not None
        try:
            self._pipe.send(task)
            outcome: Outcome = self._pipe.recv()
        except (EOFError, OSError):
            process.join()
            self._process = None
            return WorkerCrashedError(
                f"the process that answers prompts ended by exit code {process.exitcode} (often too little memory); "
                "try again, or draw the frame"
            )
        return outcome

    def _start_process(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_answer, args=(theirs,), name="rotomem-prompts", daemon=True)
        self._process.start()
        theirs.close()


def _answer(pipe: Connection) -> None:
    """Be the process: the pipe's end, or idleness, ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompted.exr"
        try:
            while pipe.poll(IDLE_S):
                pipe.send(_outcome(pipe.recv(), path))
        except (EOFError, OSError):
            log.info("the daemon is gone; nobody prompts any more")


def _outcome(task: PromptTask, path: Path) -> Outcome:
    from rotomem.session.prompt import prompt_frame

    try:
        score = prompt_frame(task, path)
        return path.read_bytes(), score
    except RotomemError as error:
        return error
    except Exception as error:
        log.exception("a prompt on frame %d failed", task.frame)
        return RotomemError(f"the prompt on frame {task.frame} failed ({type(error).__name__}: {error})")
