"""One worker process after the other: what becomes of jobs, and of those after a crash. Real processes."""

from __future__ import annotations

import queue
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotomem.daemon.jobs import WorkerPool
from rotomem.daemon.worker import (
    JobBroke,
    JobEnded,
    JobProgressed,
    JobStarted,
    JobStopped,
    JobSuggested,
    JobWrote,
    Runners,
    WorkerEvent,
)
from rotomem.session.shot import PlateReference, PropagationTask
from rotomem.session.suggest import Suggestion, SuggestionTask

WAIT_S = 60.0


class Events:
    """What a pool told, in order."""

    def __init__(self) -> None:
        self._queue: queue.Queue[WorkerEvent] = queue.Queue()
        self.put = self._queue.put

    def until_end(self) -> list[WorkerEvent]:
        """Wait for the end of the job that runs; return all that was told of it."""
        events: list[WorkerEvent] = []
        while not events or not isinstance(events[-1], (JobEnded, JobSuggested, JobStopped, JobBroke)):
            events.append(self._queue.get(timeout=WAIT_S))
        return events

    def waiting(self) -> list[WorkerEvent]:
        """Return what was told and not read yet."""
        return [self._queue.get() for _ in range(self._queue.qsize())]

    def until(self, kind: type[WorkerEvent]) -> None:
        while not isinstance(self._queue.get(timeout=WAIT_S), kind):
            pass


@pytest.fixture
def events() -> Events:
    return Events()


@pytest.fixture
def pool(events: Events) -> Iterator[WorkerPool]:
    made = WorkerPool(on_event=events.put, runners=Runners("stand_in_runner:run"), stop_grace_s=0.5)
    yield made
    made.close()


def task_in(folder: Path, engine: str, *, last: int = 4) -> PropagationTask:
    return PropagationTask(
        plate=PlateReference(first=1, last=last, pattern="/p.%04d.exr"),
        annotations=(),
        objects=("hero",),
        first=1,
        last=last,
        output_pattern=str(folder / "matte.%04d.exr"),
        engine=engine,
    )


def frames_written(events: list[WorkerEvent]) -> list[int]:
    return [event.matte.frame for event in events if isinstance(event, JobWrote)]


def test_a_job_tells_its_start_each_matte_and_its_end(pool: WorkerPool, events: Events, tmp_path: Path) -> None:
    assert pool.state == "none"
    pool.submit("a", task_in(tmp_path, "copy"))
    told = events.until_end()
    assert isinstance(told[0], JobStarted)
    assert frames_written(told) == [1, 2, 3, 4]
    assert [event.progress.done for event in told if isinstance(event, JobProgressed)] == [0, 1, 2, 3, 4]
    end = told[-1]
    assert isinstance(end, JobEnded)
    assert end.summary.frames == (1, 2, 3, 4)
    assert pool.state == "idle"


@pytest.mark.parametrize(
    ("engine", "words"),
    [("aborting", "signal 6 (SIGABRT)"), ("killed", "signal 9 (SIGKILL) (often too little memory)")],
)
def test_a_crash_fails_its_job_with_a_sentence_and_the_next_one_runs(
    pool: WorkerPool, events: Events, tmp_path: Path, engine: str, words: str
) -> None:
    pool.submit("a", task_in(tmp_path, engine))
    pool.submit("b", task_in(tmp_path, "copy"))
    told = events.until_end()
    assert frames_written(told) == [1, 2]
    end = told[-1]
    assert isinstance(end, JobBroke)
    assert (end.job_id, end.code) == ("a", "WORKER_CRASHED")
    assert words in end.message
    assert "the 2 mattes that it had made are kept" in end.message
    assert frames_written(events.until_end()) == [1, 2, 3, 4]


def test_previews_are_no_mattes_that_a_crashed_worker_had_made(
    pool: WorkerPool, events: Events, tmp_path: Path
) -> None:
    pool.submit("a", task_in(tmp_path, "previewing"))
    told = events.until_end()
    assert frames_written(told) == [1, 2]
    end = told[-1]
    assert isinstance(end, JobBroke)
    assert "the 0 mattes that it had made are kept" in end.message


def test_a_worker_that_exits_is_a_crash_too(pool: WorkerPool, events: Events, tmp_path: Path) -> None:
    pool.submit("a", task_in(tmp_path, "exiting"))
    end = events.until_end()[-1]
    assert isinstance(end, JobBroke)
    assert "exit code 3" in end.message


@pytest.mark.parametrize(
    ("engine", "code", "words"),
    [
        ("full", "DISK_FULL", "the disk of /cache is full at frame 3"),
        ("unexplained", "DISK_FULL", "the disk is full (/cache/m.3.exr)"),
        ("mismatched", "WEIGHTS_MISMATCH", "lack the tensor key_proj.weight"),
        ("faulty", "INTERNAL", "(ZeroDivisionError: division by zero)"),
    ],
)
def test_an_error_fails_its_job_with_its_code_and_sentence(
    pool: WorkerPool, events: Events, tmp_path: Path, engine: str, code: str, words: str
) -> None:
    pool.submit("a", task_in(tmp_path, engine))
    pool.submit("b", task_in(tmp_path, "copy"))
    end = events.until_end()[-1]
    assert isinstance(end, JobBroke)
    assert end.code == code
    assert words in end.message
    assert isinstance(events.until_end()[-1], JobEnded)


def test_a_runner_that_cannot_be_loaded_is_named(events: Events, tmp_path: Path) -> None:
    pool = WorkerPool(on_event=events.put, runners=Runners("no_such_module:run"))
    pool.submit("a", task_in(tmp_path, "copy"))
    end = events.until_end()[-1]
    pool.close()
    assert isinstance(end, JobBroke)
    assert end.code == "SETTING"
    assert "no_such_module" in end.message


def test_a_worker_that_cannot_be_started_fails_its_job_and_the_next_one_runs(
    pool: WorkerPool, events: Events, tmp_path: Path
) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, allowed[1]))
    try:
        pool.submit("a", task_in(tmp_path, "copy"))
        end = events.until_end()[-1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, allowed)
    assert isinstance(end, JobBroke)
    assert (end.job_id, end.code) == ("a", "WORKER_CRASHED")
    assert "the worker process cannot be started or used (OSError: [Errno 24] Too many open files)" in end.message
    pool.submit("b", task_in(tmp_path, "copy"))
    assert frames_written(events.until_end()) == [1, 2, 3, 4]


def test_cancelling_stops_between_frames_and_keeps_what_is_made(
    pool: WorkerPool, events: Events, tmp_path: Path
) -> None:
    pool.submit("a", task_in(tmp_path, "slow", last=1000))
    events.until(JobWrote)
    pool.cancel("a")
    told = events.until_end()
    end = told[-1]
    assert isinstance(end, JobStopped)
    assert 1 <= end.done < 1000
    assert len(list(tmp_path.glob("matte.*.exr"))) == end.done


def test_a_job_cancelled_in_the_queue_never_starts(pool: WorkerPool, events: Events, tmp_path: Path) -> None:
    pool.submit("a", task_in(tmp_path, "slow", last=5))
    events.until(JobWrote)
    pool.submit("b", task_in(tmp_path, "copy"))
    pool.submit("c", task_in(tmp_path, "copy"))
    pool.cancel("b")
    assert pool.state == "busy"
    ends = [events.until_end()[-1] for _ in range(3)]
    assert ends[0] == JobStopped("b", 0), "told at once, not when the job before it has ended"
    assert [(type(end), end.job_id) for end in ends[1:]] == [(JobEnded, "a"), (JobEnded, "c")]


def test_of_the_jobs_that_wait_the_highest_priority_is_next(pool: WorkerPool, events: Events, tmp_path: Path) -> None:
    pool.submit("running", task_in(tmp_path, "slow", last=10), priority=0)
    events.until(JobWrote)
    for job, priority in (("low", 0), ("normal", 1), ("high", 2), ("normal too", 1)):
        pool.submit(job, task_in(tmp_path, "copy"), priority=priority)
    ends = [events.until_end()[-1].job_id for _ in range(5)]
    assert ends == ["running", "high", "normal", "normal too", "low"]


def test_a_job_that_suggests_frames_ends_in_them(events: Events, tmp_path: Path) -> None:
    made = WorkerPool(on_event=events.put, runners=Runners(suggest="stand_in_runner:suggest"))
    plate = PlateReference(first=1, last=4, pattern="/p.%04d.exr")
    made.submit("a", SuggestionTask(plate=plate, annotated=(4,), first=1, last=4, count=2))
    told = events.until_end()
    made.close()
    assert told[-1] == JobSuggested("a", (Suggestion(3, 0.75, "0 mattes seen"), Suggestion(2, 0.5, "0 mattes seen")))
    assert [event.progress.done for event in told if isinstance(event, JobProgressed)] == [0, 1, 2]


def test_a_job_that_does_not_listen_is_ended_with_its_process(pool: WorkerPool, events: Events, tmp_path: Path) -> None:
    pool.submit("a", task_in(tmp_path, "deaf"))
    events.until(JobWrote)
    events.until(JobWrote)
    pool.cancel("a")
    assert events.until_end()[-1] == JobStopped("a", 2)
    pool.submit("b", task_in(tmp_path, "copy"))
    assert isinstance(events.until_end()[-1], JobEnded)


def test_closing_ends_a_running_job_and_tells_no_end(pool: WorkerPool, events: Events, tmp_path: Path) -> None:
    pool.submit("a", task_in(tmp_path, "slow", last=1000))
    events.until(JobWrote)
    pool.close()
    assert pool.state == "none"
    assert not any(isinstance(event, (JobEnded, JobSuggested, JobStopped, JobBroke)) for event in events.waiting())
