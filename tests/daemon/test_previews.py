"""What the daemon makes of mattes that were made in haste: shown at once, and never taken for finished ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from daemon_process import DaemonProcess
from desk import Desk

from rotomem.daemon.worker import JobStopped
from rotomem.plates import read_matte_metadata
from rotomem.session.shot import PropagationTask
from rotomem.vos import Network, save_weights
from rotomem_client.client import Client
from rotomem_client.messages import (
    AnnotationStored,
    AnnotationUndone,
    FetchMatte,
    JobAccepted,
    JobCancelled,
    JobFinished,
    JobResumed,
    ListMattes,
    MatteList,
    MatteReady,
    OpenSession,
    Plate,
    Propagate,
    PruneStore,
    PutAnnotation,
    ResumeJob,
    SessionState,
    StorePruned,
    UndoAnnotation,
)
from rotomem_client.shapes import ControlPoint, Shape
from tiny_networks import TINY_WITH_CUE

ANNA = b"anna's connection"
LAST = 12
FRAMES = list(range(1, LAST + 1))


def box(left: float = 8.0) -> tuple[Shape, ...]:
    corners = ((left, 8.0), (left + 22.0, 8.0), (left + 22.0, 30.0), (left, 30.0))
    return (Shape("box", tuple(ControlPoint(corner) for corner in corners)),)


@pytest.fixture
def plate(tmp_path: Path) -> Plate:
    noise = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    for frame in FRAMES:
        cv2.imwrite(str(tmp_path / f"p.{frame:04d}.png"), np.roll(noise, frame, axis=1))
    return Plate(1, LAST, str(tmp_path / "p.%04d.png"))


@pytest.fixture
def desk(tmp_path: Path, plate: Plate) -> Iterator[Desk]:
    made = Desk(tmp_path / "store")
    made.connect(ANNA, "c1", "anna")
    made.ask(ANNA, OpenSession("sh010", plate, ("hero",)), SessionState)
    draw(made, 1)
    yield made
    made.close()


def draw(desk: Desk, frame: int) -> None:
    desk.ask(ANNA, PutAnnotation("sh010", frame, "hero", box(frame)), AnnotationStored)


def started(desk: Desk, engine: str = "warp") -> str:
    return desk.ask(ANNA, Propagate("sh010", 1, LAST, engine=engine, focus=5), JobAccepted).job_id


def opened(desk: Desk) -> SessionState:
    row = desk.store.session("sh010")
    return desk.ask(ANNA, OpenSession("sh010", row.plate, row.objects), SessionState)


def listed(desk: Desk, *, older: bool = False) -> tuple[MatteReady, ...]:
    revision = desk.store.session("sh010").revision
    return desk.ask(ANNA, ListMattes("sh010", revision, older=older), MatteList).mattes


def told(desk: Desk) -> list[tuple[int, bool, bool]]:
    """Return frame, preview and stale of the mattes told since the last time."""
    ready = [event for event in desk.events(ANNA) if isinstance(event, MatteReady)]
    return [(event.frame, event.preview, event.stale) for event in ready]


def test_a_preview_is_shown_as_stale_and_listed_nowhere_as_made(desk: Desk) -> None:
    desk.preview(started(desk), [4, 5])
    assert told(desk) == [(4, True, True), (5, True, True)]
    state = opened(desk)
    assert (state.matte_revision, state.mattes, state.stale) == (0, (), (4, 5))
    assert "previews" in state.stale_reason
    assert listed(desk) == ()
    assert [(matte.frame, matte.preview, matte.stale) for matte in listed(desk, older=True)] == [
        (4, True, True),
        (5, True, True),
    ]


def test_its_job_makes_it_again_and_then_it_is_gone(desk: Desk) -> None:
    job = started(desk)
    desk.preview(job, [4, 5])
    ready = [event for event in desk.events(ANNA) if isinstance(event, MatteReady)]
    desk.run(job)
    assert told(desk) == [(frame, False, False) for frame in FRAMES]
    assert not any(matte.preview for matte in listed(desk, older=True))
    state = opened(desk)
    assert (state.mattes, state.stale) == (tuple(FRAMES), ())
    fetch = FetchMatte("sh010", ready[0].revision, 4, ready[0].sha256)
    assert desk.refusal(ANNA, fetch)[0] == "MATTE_GONE"


def test_a_stopped_jobs_previews_are_no_frames_of_it_and_the_next_job_makes_them(desk: Desk) -> None:
    job = started(desk)
    desk.preview(job, [4, 5])
    desk.dispatcher.handle_worker(JobStopped(job, 0))
    assert opened(desk).stale == (4, 5)
    assert desk.run(started(desk)) == FRAMES
    assert opened(desk).stale == ()


def test_the_next_daemon_ends_a_cancelled_job_without_counting_previews_and_goes_on_with_another(desk: Desk) -> None:
    cancelled, other = started(desk), started(desk)
    for job in (cancelled, other):
        desk.preview(job, [4, 5])
    desk.store.index.set_job(cancelled, state="cancelling", attempts=1)
    desk.restart()
    desk.connect(ANNA, "c1", "anna")
    desk.ask(ANNA, ResumeJob(cancelled), JobResumed)
    (end,) = [event for event in desk.events(ANNA) if isinstance(event, JobCancelled)]
    assert end.done == 0
    assert desk.run(other) == FRAMES


def test_a_preview_hides_no_matte_that_is_right_once_its_annotation_is_taken_back(desk: Desk) -> None:
    assert desk.run(started(desk)) == FRAMES
    draw(desk, LAST)
    job = started(desk)
    desk.preview(job, [4, 5])
    desk.dispatcher.handle_worker(JobStopped(job, 0))
    assert set(opened(desk).stale) >= {4, 5}
    desk.ask(ANNA, UndoAnnotation("sh010"), AnnotationUndone)
    assert desk.run(started(desk)) == []
    assert opened(desk).stale == ()


def test_a_preview_supersedes_nothing(desk: Desk) -> None:
    desk.run(started(desk))
    draw(desk, LAST)
    job = started(desk)
    desk.preview(job, [4, 5])
    desk.dispatcher.handle_worker(JobStopped(job, 0))
    assert desk.ask(ANNA, PruneStore(0), StorePruned).size == 0, "what lies under a preview stays"
    draw(desk, 6)
    desk.run(started(desk))
    assert desk.ask(ANNA, PruneStore(0), StorePruned).size > 0


def test_a_task_knows_of_which_frames_something_better_than_flow_is_shown(desk: Desk) -> None:
    job = started(desk, "xmem")
    desk.preview(job, [4, 5])
    desk.run(job, "xmem", until=3)
    desk.dispatcher.handle_worker(JobStopped(job, 3))
    draw(desk, LAST)
    task = desk.jobs[started(desk, "xmem")]
    assert isinstance(task, PropagationTask)
    assert task.shown == {1, 2, 3}


def test_a_store_that_knew_no_previews_keeps_its_mattes(desk: Desk) -> None:
    desk.run(started(desk))
    desk.close()
    database = sqlite3.connect(desk.root / "index.sqlite")
    database.execute("ALTER TABLE mattes DROP COLUMN preview")
    database.execute("PRAGMA user_version = 3")
    database.commit()
    database.close()
    desk.start()
    desk.connect(ANNA, "c1", "anna")
    state = opened(desk)
    assert (state.mattes, state.stale) == (tuple(FRAMES), ())


def test_after_kill_9_previews_are_stale_and_the_next_daemon_makes_their_frames(
    plate: Plate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights"
    torch.manual_seed(0)
    save_weights(Network(TINY_WITH_CUE).state_dict(), weights / "tiny.safetensors", TINY_WITH_CUE)
    monkeypatch.setenv("ROTOMEM_WEIGHTS_DIR", str(weights))
    daemon = DaemonProcess(tmp_path, real_engines=True)
    with Client(daemon.endpoint, timeout_s=60.0) as client:
        client.open_session("sh010", plate, ["hero"])
        for frame in (1, LAST):
            client.put_annotation("sh010", frame, "hero", shapes=box(frame))
        events = client.propagate("sh010", 1, LAST, device="cpu", focus=6).events()
        first = next(event for event in events if isinstance(event, MatteReady))
        daemon.kill()
        assert first.preview
        assert first.stale
        assert read_matte_metadata(Path(first.path)).preview

        again = DaemonProcess(tmp_path, endpoint=daemon.endpoint, real_engines=True)
        try:
            rest = list(events)
            finished = {event.frame: event for event in rest if isinstance(event, MatteReady) and not event.preview}
            assert isinstance(rest[-1], JobFinished)
            assert sorted(finished) == FRAMES
            assert not any(read_matte_metadata(Path(matte.path)).preview for matte in finished.values())
            assert {matte.engine for matte in finished.values()} == {"xmem"}
            assert client.open_session("sh010", plate, ["hero"]).stale == ()
        finally:
            again.kill()
