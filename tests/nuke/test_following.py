"""What the status line says while a job goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rotomem_client.delivery import describe_file
from rotomem_client.errors import JobFailedError, RefusedError
from rotomem_client.messages import JobCancelled, JobEvent, JobFailed, JobFinished, MatteReady, Progress
from rotomem_nuke import following
from rotomem_nuke.cache import read_manifest
from rotomem_nuke.following import Following, Goal, Report

JOB = "0" * 32


class _Told:
    """A job that tells these events."""

    id = JOB

    def __init__(self, *events: Any) -> None:
        self._events = events

    def events(self, timeout_s: float) -> Any:
        return iter(self._events)


def test_a_phase_with_a_percentage_stands_alone_and_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RELOAD_INTERVAL_S", 1e9)  # no report but those of a new phase
    settings: Any = SimpleNamespace(
        mattes=str(tmp_path / "m.%04d.exr"), live=True, timeout_s=60.0, name="Rotomem1", session_id="s", endpoint=""
    )
    reports: list[Report] = []
    phases = ["preparing", "propagating", "tuning to the shot, 40 %", "tuning to the shot, 40 %", "propagating"]
    job: Any = _Told(
        *(Progress(JOB, 3, 24, phase, 0.0) for phase in phases), JobFinished(JOB, (1, 24), "xmem", "", 1.0)
    )
    client: Any = SimpleNamespace(endpoint="")
    follower = Following(Goal(settings, 1, 24, 1, 24, 2), show=reports.append, stopped=lambda: False)
    follower.follow(client, job)
    assert [report.sentence for report in reports] == [
        "preparing 0/24",
        "propagating 0/24",
        "tuning to the shot, 40 %",
        "propagating 0/24",
    ]
    assert not any(report.reload for report in reports)


LAST = 4
PATTERN = "m.%04d.exr"


class _Shot:
    """A cache folder, and a daemon that fetches whatever is ready but the frames in ``gone``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(following, "RELOAD_INTERVAL_S", 0.0)
        self.gone: set[int] = set()
        self.pattern = str(folder / PATTERN)
        self.reports: list[Report] = []

    def follow(self, *events: JobEvent) -> Report:
        settings: Any = SimpleNamespace(
            mattes=self.pattern, live=True, timeout_s=60.0, name="Rotomem1", session_id="s", endpoint=""
        )
        client: Any = SimpleNamespace(endpoint="", fetch_matte=self._fetch, list_mattes=lambda *_: [])
        job: Any = _Told(*events)
        follower = Following(Goal(settings, 1, LAST, 1, LAST, 2), show=self.reports.append, stopped=lambda: False)
        return follower.follow(client, job)

    def _fetch(self, ready: MatteReady, destination: Path) -> None:
        if ready.frame in self.gone:
            raise RefusedError("MATTE_GONE", "it was made anew meanwhile")
        destination.write_text(ready.sha256)


@pytest.fixture
def shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Shot:
    return _Shot(tmp_path, monkeypatch)


def ready(frame: int, *, preview: bool = False) -> MatteReady:
    sha256 = f"{frame}{'e' if preview else 'f'}".rjust(64, "0")
    engine = "warp" if preview else "xmem"
    return MatteReady(JOB, "s", frame, 2, sha256, 64, "/m.exr", False, engine, 2, preview, 0.9, preview)


FINISHED = JobFinished(JOB, tuple(range(1, LAST + 1)), "xmem", "", 1.0)
CANCELLED = JobCancelled(JOB, 0)


def test_a_preview_is_shown_at_once_and_no_count_rises(shot: _Shot, tmp_path: Path) -> None:
    end = shot.follow(
        ready(2, preview=True),
        Progress(JOB, 0, LAST, "tuning to the shot, 0 %", 0.0),
        *(ready(frame) for frame in range(1, LAST + 1)),
        FINISHED,
    )
    first = shot.reports[0]
    assert (first.on_disk, first.reload) == ((2,), True)
    assert (first.done, first.wanted, first.made, first.engine) == (0, 0, (), "")
    assert first.sentence == f"propagating 0/{LAST}"
    counts = [report.done for report in shot.reports]
    assert counts == sorted(counts)
    assert (end.done, end.wanted, end.complete, end.older, end.engine) == (LAST, LAST, True, 0, "xmem")
    assert (tmp_path / (PATTERN % 2)).read_text().endswith("f"), "the finished matte took the preview's place"


def test_previews_of_a_stopped_job_count_as_older_mattes(shot: _Shot) -> None:
    end = shot.follow(ready(2, preview=True), ready(3, preview=True), ready(3), CANCELLED)
    assert end.sentence == f"stopped: 1/{LAST} made, 1 older matte still shown"
    assert (end.done, end.wanted, end.older, end.complete) == (1, 1, 1, False)
    manifest = read_manifest(shot.pattern)
    assert manifest is not None
    assert (manifest.older, manifest.complete) == (1, False)


def test_a_preview_in_the_place_of_an_older_matte_takes_nothing_off_the_count(shot: _Shot) -> None:
    shot.follow(*(ready(frame) for frame in range(1, LAST + 1)), FINISHED)
    shot.follow(ready(2, preview=True), CANCELLED)
    assert shot.reports[-1].wanted == LAST


def test_a_preview_that_an_earlier_session_of_nuke_fetched_is_still_none_that_was_made(shot: _Shot) -> None:
    shot.follow(ready(2, preview=True), CANCELLED)
    first = Path(shot.pattern % 2)
    taken_up = replace(ready(2, preview=True), sha256=describe_file(2, first).offer.sha256)
    assert shot.follow(taken_up, CANCELLED).wanted == 0


def test_a_failed_job_leaves_its_previews_marked(shot: _Shot) -> None:
    with pytest.raises(JobFailedError):
        shot.follow(ready(2, preview=True), JobFailed(JOB, "WORKER_CRASHED", "the worker process ended"))
    manifest = read_manifest(shot.pattern)
    assert manifest is not None
    assert manifest.older == 1


def test_a_preview_that_was_replaced_before_it_came_is_passed_over(shot: _Shot) -> None:
    shot.gone = {2}
    end = shot.follow(ready(2, preview=True), ready(3, preview=True), CANCELLED)
    assert end.on_disk == (3,)
    with pytest.raises(RefusedError):
        shot.follow(ready(2), CANCELLED)
