"""The process that computes: it takes one job after the other from a pipe and tells what becomes of it.

A crash in here (torch, a driver, too little memory) takes neither the store nor the sockets along. When the daemon is
gone, however it went, the pipe ends and so does this process.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from rotomem.errors import CancelledError, DiskFullError, RotomemError, SettingError
from rotomem.session.motion_task import MotionTask
from rotomem.session.shot import MatteWritten, Progress, PropagationSummary, PropagationTask
from rotomem.session.suggest import Suggestion, SuggestionTask

if TYPE_CHECKING:
    from rotomem.session.motion import MotionSummary

log = logging.getLogger(__name__)

FULL_DISK = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


Task = PropagationTask | SuggestionTask | MotionTask


@dataclass(frozen=True)
class RunJob:
    """Into the worker: what the runner of the task's kind is called with."""

    job_id: str
    task: Task


@dataclass(frozen=True)
class StopJob:
    """Into the worker: stop this job between two frames."""

    job_id: str


@dataclass(frozen=True)
class JobStarted:
    job_id: str


@dataclass(frozen=True)
class JobProgressed:
    job_id: str
    progress: Progress


@dataclass(frozen=True)
class JobWrote:
    """A matte is complete on disk."""

    job_id: str
    matte: MatteWritten


@dataclass(frozen=True)
class JobEnded:
    job_id: str
    summary: PropagationSummary


@dataclass(frozen=True)
class JobSuggested:
    """The end of a job that suggests frames, the best first."""

    job_id: str
    suggestions: tuple[Suggestion, ...]


@dataclass(frozen=True)
class JobProposed:
    """The end of a job that makes mattes from motion alone."""

    job_id: str
    summary: MotionSummary


@dataclass(frozen=True)
class JobStopped:
    """The job was cancelled after ``done`` frames."""

    job_id: str
    done: int


@dataclass(frozen=True)
class JobBroke:
    """The job failed; ``code`` and ``message`` are for the artist."""

    job_id: str
    code: str
    message: str


WorkerEvent = JobStarted | JobProgressed | JobWrote | JobEnded | JobSuggested | JobProposed | JobStopped | JobBroke


@dataclass(frozen=True)
class Runners:
    """What the worker runs, as ``module:function``: by the signatures of these, or stand-ins of tests."""

    propagate: str = "rotomem.session:propagate_shot"
    suggest: str = "rotomem.session.suggest:suggest_shot"
    motion: str = "rotomem.session.motion:propose_shot"


def find_runner(name: str) -> Callable[..., Any]:
    """Return what ``package.module:function`` names; raises ``SettingError``."""
    module, _, function = name.partition(":")
    try:
        runner: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise SettingError(f"the worker cannot load its engine {name}: {error}; repair the installation") from error
    return runner


def run_worker(pipe: Connection, runners: Runners, environment: dict[str, str]) -> None:
    """Be the worker process: the target of ``multiprocessing.Process``. Returns when the pipe ends.

    Args:
        runners: each is loaded with the first job of its kind.
        environment: set before anything heavy is imported, such as ``OMP_NUM_THREADS``.
    """
    # Ctrl-C in the daemon's terminal reaches this process too; the daemon decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(environment)
    _Worker(pipe, runners).run()


class _Worker:
    def __init__(self, pipe: Connection, runners: Runners) -> None:
        self._pipe = pipe
        self._runners = runners
        self._jobs: queue.SimpleQueue[RunJob] = queue.SimpleQueue()
        self._stopped: set[str] = set()

    def run(self) -> None:
        threading.Thread(target=self._listen, name="rotomem-worker-pipe", daemon=True).start()
        while True:
            job = self._jobs.get()
            event = self._attempt(job)
            self._pipe.send(event)
            if isinstance(event, JobBroke) and event.code == RotomemError.code:
                # After an error that nobody foresaw (a sticky CUDA error, say) only a new process is trusted.
                return

    def _listen(self) -> None:
        try:
            while True:
                order = self._pipe.recv()
                if isinstance(order, RunJob):
                    self._jobs.put(order)
                elif isinstance(order, StopJob):
                    self._stopped.add(order.job_id)
        except (EOFError, OSError):
            # The daemon is gone. Nobody is left to tell, and a half-written matte has only its temporary name.
            os._exit(1)

    def _attempt(self, job: RunJob) -> WorkerEvent:
        done = 0

        def tell_progress(progress: Progress) -> None:
            self._pipe.send(JobProgressed(job.job_id, progress))

        def tell_matte(matte: MatteWritten) -> None:
            nonlocal done
            done += not matte.preview
            self._pipe.send(JobWrote(job.job_id, matte))

        def cancelled() -> bool:
            return job.job_id in self._stopped

        self._pipe.send(JobStarted(job.job_id))
        try:
            if isinstance(job.task, SuggestionTask):
                suggest = find_runner(self._runners.suggest)
                return JobSuggested(job.job_id, suggest(job.task, on_progress=tell_progress, cancelled=cancelled))
            if isinstance(job.task, MotionTask):
                propose = find_runner(self._runners.motion)
                found = propose(job.task, on_matte=tell_matte, on_progress=tell_progress, cancelled=cancelled)
                return JobProposed(job.job_id, found)
            propagate = find_runner(self._runners.propagate)
            summary: PropagationSummary = propagate(
                job.task, on_matte=tell_matte, on_progress=tell_progress, cancelled=cancelled
            )
        except CancelledError:
            return JobStopped(job.job_id, done)
        except RotomemError as error:
            return JobBroke(job.job_id, error.code, str(error))
        except Exception as error:
            log.exception("job %s failed", job.job_id)
            return JobBroke(job.job_id, *_explain(error))
        return JobEnded(job.job_id, summary)


def _explain(error: Exception) -> tuple[str, str]:
    """Return code and sentence for an error that is none of ours."""
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        return (
            "OUT_OF_MEMORY",
            "there is too little memory for this plate: propagate on the CPU, close other programs, "
            "or take the warp engine",
        )
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return (
            DiskFullError.code,
            f"the disk is full ({error.filename or 'of the store'}): free some space and propagate again; "
            "the mattes already made are kept",
        )
    first_line: Any = (str(error).splitlines() or [""])[0]
    return (
        RotomemError.code,
        f"the job failed unexpectedly ({kind}: {first_line[:300]}); the daemon's log has the details",
    )
