"""The queue of jobs and the one worker process that runs them."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import queue
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from rotomem.daemon.worker import (
    JobBroke,
    JobEnded,
    JobStopped,
    JobWrote,
    RunJob,
    StopJob,
    WorkerEvent,
    run_worker,
)
from rotomem.errors import WorkerCrashedError
from rotomem.session.shot import PropagationTask

log = logging.getLogger(__name__)

_POLL_S = 0.5
_ENDS = (JobEnded, JobStopped, JobBroke)


class WorkerPool:
    """Runs one job at a time, each in the order of submission, in a process that outlives jobs but not crashes.

    Args:
        on_event: told everything, from this pool's thread; per job, exactly one of ``JobEnded``, ``JobStopped`` and
            ``JobBroke`` comes last. After ``close`` nothing is told any more.
        runner: what the worker runs, as ``module:function``.
        environment: set in the worker process.
        stop_grace_s: a cancelled job that does not reach its next frame in this time is ended with its process.
    """

    def __init__(
        self,
        *,
        on_event: Callable[[WorkerEvent], None],
        runner: str = "rotomem.session:propagate_shot",
        environment: dict[str, str] | None = None,
        stop_grace_s: float = 20.0,
    ) -> None:
        self._on_event = on_event
        self._runner = runner
        self._environment = environment or {}
        self._stop_grace_s = stop_grace_s
        self._queue: queue.SimpleQueue[RunJob | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopped: dict[str, float] = {}
        self._worker: _WorkerProcess | None = None
        self._running = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rotomem-jobs", daemon=True)
        self._thread.start()

    @property
    def state(self) -> str:
        """``busy``, ``idle``, or ``none`` if there is no worker process just now."""
        with self._lock:
            if self._running:
                return "busy"
            return "idle" if self._worker is not None and self._worker.alive else "none"

    def submit(self, job_id: str, task: PropagationTask) -> None:
        """Queue a job."""
        self._queue.put(RunJob(job_id, task))

    def cancel(self, job_id: str) -> None:
        """Stop a job between two frames, or take it from the queue."""
        with self._lock:
            self._stopped.setdefault(job_id, time.monotonic())
            worker = self._worker if self._running == job_id else None
        # Not under the lock: a worker that is still importing torch takes its orders seconds later.
        if worker is not None:
            worker.send(StopJob(job_id))

    def close(self) -> None:
        """End the worker at once. Its job is not told to have ended, so that the next daemon takes it up."""
        self._closing.set()
        self._queue.put(None)
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
        self._thread.join()

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            if job is None or self._closing.is_set():
                break
            end = self._run(job)
            with self._lock:
                self._running = ""
                self._stopped.pop(job.job_id, None)
            if end is not None:
                self._on_event(end)
        if self._worker is not None:
            self._worker.kill()

    def _run(self, job: RunJob) -> WorkerEvent | None:
        """Run a job to its end and return that; None if the pool is being closed."""
        with self._lock:
            if job.job_id in self._stopped:
                return JobStopped(job.job_id, 0)
            if self._closing.is_set():
                return None
            if self._worker is None or not self._worker.alive:
                self._worker = _WorkerProcess(self._runner, self._environment)
            worker = self._worker
            self._running = job.job_id
        worker.send(job)
        written = 0
        while not self._closing.is_set():
            event = worker.receive(_POLL_S)
            if isinstance(event, _ENDS):
                if isinstance(event, JobBroke) and event.code == "INTERNAL":
                    worker.kill()
                return event
            if event is not None:
                written += isinstance(event, JobWrote)
                self._on_event(event)
            elif not worker.alive:
                return None if self._closing.is_set() else _tell_crash(job.job_id, worker, written)
            elif self._overdue(job.job_id):
                worker.kill()
                return JobStopped(job.job_id, written)
        return None

    def _overdue(self, job_id: str) -> bool:
        with self._lock:
            asked = self._stopped.get(job_id)
        return asked is not None and time.monotonic() - asked > self._stop_grace_s


class _WorkerProcess:
    """One worker process and our end of its pipe."""

    def __init__(self, runner: str, environment: dict[str, str]) -> None:
        # Spawned, not forked: torch and CUDA do not survive a fork, nor do this process's threads.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._pipe: Connection = ours
        self._sending = threading.Lock()
        self._process: SpawnProcess = context.Process(
            target=run_worker, args=(theirs, runner, environment), name="rotomem-worker", daemon=True
        )
        self._process.start()
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
        f"the worker process ended by {how}{hint} while it propagated; the {written} mattes that it had made are kept: "
        "propagate again, perhaps over a smaller range or on another device"
    )
    log.error("job %s: %s", job_id, message)
    return JobBroke(job_id, WorkerCrashedError.code, message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
