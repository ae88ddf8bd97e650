"""The queue of jobs and the one worker process that runs them."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from rotomem.daemon.worker import (
    JobBroke,
    JobEnded,
    JobProposed,
    JobStopped,
    JobSuggested,
    JobWrote,
    RunJob,
    Runners,
    StopJob,
    Task,
    WorkerEvent,
    run_worker,
)
from rotomem.errors import RotomemError, WorkerCrashedError

log = logging.getLogger(__name__)

_POLL_S = 0.5
_RUNNERS = Runners()
_ENDS = (JobEnded, JobSuggested, JobProposed, JobStopped, JobBroke)


class WorkerPool:
    """Runs one job at a time, in a process that outlives jobs but not crashes.

    Of those that wait, the one of the highest priority is next, and of these the first that was submitted.

    Args:
        on_event: told everything, from this pool's thread or from within ``cancel``; per job, exactly one of
            ``JobEnded``, ``JobSuggested``, ``JobProposed``, ``JobStopped`` and ``JobBroke`` comes last. After
            ``close`` nothing is told any more.
        runners: what the worker runs.
        environment: set in the worker process.
        stop_grace_s: a cancelled job that does not reach its next frame in this time is ended with its process.
    """

    def __init__(
        self,
        *,
        on_event: Callable[[WorkerEvent], None],
        runners: Runners = _RUNNERS,
        environment: dict[str, str] | None = None,
        stop_grace_s: float = 20.0,
    ) -> None:
        self._on_event = on_event
        self._runners = runners
        self._environment = environment or {}
        self._stop_grace_s = stop_grace_s
        self._waiting: list[tuple[int, RunJob]] = []
        self._changed = threading.Condition()
        self._worker: _WorkerProcess | None = None
        self._running = ""
        self._stop_asked_at: float | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="rotomem-jobs", daemon=True)
        self._thread.start()

    @property
    def state(self) -> str:
        """``busy``, ``idle``, or ``none`` if there is no worker process just now."""
        with self._changed:
            if self._running:
                return "busy"
            return "idle" if self._worker is not None and self._worker.alive else "none"

    def submit(self, job_id: str, task: Task, *, priority: int = 1) -> None:
        """Queue a job; a higher ``priority`` starts first."""
        with self._changed:
            self._waiting.append((priority, RunJob(job_id, task)))
            self._changed.notify()

    def cancel(self, job_id: str) -> None:
        """Stop the running job between two frames; one that waits is taken from the queue and told at once."""
        with self._changed:
            waiting = next((entry for entry in self._waiting if entry[1].job_id == job_id), None)
            if waiting is not None:
                self._waiting.remove(waiting)
            elif self._running == job_id and self._stop_asked_at is None:
                self._stop_asked_at = time.monotonic()
            worker = self._worker if self._running == job_id else None
        if waiting is not None:
            self._on_event(JobStopped(job_id, 0))
        elif worker is not None:
            # Not under the lock: a worker that is still importing torch takes its orders seconds later.
            worker.send(StopJob(job_id))

    def close(self) -> None:
        """End the worker at once. Its job is not told to have ended, so that the next daemon takes it up."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            if self._worker is not None:
                self._worker.kill()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    break
                # max takes the first of equals, which is the one that has waited longest.
                first = max(self._waiting, key=lambda entry: entry[0])
                self._waiting.remove(first)
                job = first[1]
                self._running = job.job_id
            end = self._attempt(job)
            with self._changed:
                self._running = ""
                self._stop_asked_at = None
            if end is not None:
                self._on_event(end)
        self._drop_worker()

    def _attempt(self, job: RunJob) -> WorkerEvent | None:
        """Run a job to its end, whatever happens, and return that; None if the pool is being closed."""
        try:
            return self._run(job)
        except Exception as error:
            # Too little memory or too many open files for a worker process, say. This thread must go on: without it
            # this job and all later ones would wait for ever.
            log.exception("job %s cannot be run", job.job_id)
            self._drop_worker()
            return None if self._closing else JobBroke(job.job_id, WorkerCrashedError.code, _explain_failure(error))

    def _run(self, job: RunJob) -> WorkerEvent | None:
        with self._changed:
            if self._closing:
                return None
            if self._stop_asked_at is not None:
                return JobStopped(job.job_id, 0)
            if self._worker is None or not self._worker.alive:
                self._worker = _WorkerProcess(self._runners, self._environment)
            worker = self._worker
        worker.send(job)
        if self._stop_asked_at is not None:
            # Asked for while the worker process was being started, perhaps before it could be told.
            worker.send(StopJob(job.job_id))
        written = 0
        while not self._closing:
            event = worker.receive(_POLL_S)
            if isinstance(event, _ENDS):
                if isinstance(event, JobBroke) and event.code == RotomemError.code:
                    worker.kill()
                return event
            if event is not None:
                written += isinstance(event, JobWrote) and not event.matte.preview
                self._on_event(event)
            elif not worker.alive:
                return None if self._closing else _tell_crash(job.job_id, worker, written)
            elif self._overdue():
                worker.kill()
                return JobStopped(job.job_id, written)
        return None

    def _overdue(self) -> bool:
        asked = self._stop_asked_at
        return asked is not None and time.monotonic() - asked > self._stop_grace_s

    def _drop_worker(self) -> None:
        """End the worker process, if there is one; the next job starts another."""
        with self._changed:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()


class _WorkerProcess:
    """One worker process and our end of its pipe."""

    def __init__(self, runners: Runners, environment: dict[str, str]) -> None:
        # Spawned, not forked: torch and CUDA do not survive a fork, nor do this process's threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._pipe: Connection = ours
        self._sending = threading.Lock()
        self._process: SpawnProcess = context.Process(
            target=run_worker, args=(theirs, runners, environment), name="rotomem-worker", daemon=True
        )
        try:
            self._process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            # Ours alone from here on, so that its end is seen when the process goes.
            theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """Negative for a signal."""
        self._process.join(5.0)
        return self._process.exitcode

    def send(self, order: RunJob | StopJob) -> None:
        try:
            with self._sending:
                self._pipe.send(order)
        except OSError:
            log.info("the worker process is gone; whoever waits for it will see that")

    def receive(self, timeout_s: float) -> WorkerEvent | None:
        """Return what the worker says next; None when it said nothing in time, or never will again."""
        multiprocessing.connection.wait([self._pipe, self._process.sentinel], timeout_s)
        try:
            if self._pipe.poll():
                event: WorkerEvent = self._pipe.recv()
                return event
        except (EOFError, OSError):
            # It is dying; its exit code is there in a moment.
            self._process.join(5.0)
        return None

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _tell_crash(job_id: str, worker: _WorkerProcess, written: int) -> JobBroke:
    code = worker.exit_code
    how = f"exit code {code}" if code is None or code >= 0 else f"signal {-code} ({_signal_name(-code)})"
    hint = " (often too little memory)" if code == -9 else ""
    message = (
        f"the worker process ended by {how}{hint} while it ran; the {written} mattes that it had made are kept: "
        "propagate again, perhaps over a smaller range or on another device"
    )
    log.error("job %s: %s", job_id, message)
    return JobBroke(job_id, WorkerCrashedError.code, message)


def _explain_failure(error: Exception) -> str:
    kind, words = type(error).__name__, (str(error).splitlines() or [""])[0][:300]
    return (
        f"the worker process cannot be started or used ({kind}: {words}): free memory, close other programs, then "
        "propagate again; mattes already made are kept"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
