"""What the status line says while a job goes on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rotomem_client.messages import JobFinished, Progress
from rotomem_nuke import following
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
