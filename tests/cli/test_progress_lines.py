"""How a propagation's progress looks on a terminal, in a pipe and to a render farm."""

from __future__ import annotations

import io
import re
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from tqdm import tqdm

from rotomem import session
from rotomem.cli import main
from rotomem.commands.demo import propagate_as_artist
from rotomem.commands.progress import ProgressLines, tell_phase
from rotomem.demo import DemoShot
from rotomem.session import Progress, PropagationSummary
from rotomem_client.messages import Progress as WireProgress

TUNED = [
    Progress(0, 8, "preparing", 0.0),
    Progress(1, 8, "propagating", 1.0),
    *(Progress(1, 8, f"tuning to the shot, {percent} %", 0.0) for percent in range(0, 101, 10)),
    *(Progress(done, 8, "propagating", 1.0) for done in range(2, 9)),
]
PHASES = [f"Phase: tuning to the shot, {percent} percent" for percent in range(0, 101, 10)]


def percents(lines: list[str]) -> list[int]:
    """What a farm manager's parser makes of them."""
    return [int(found.group(1)) for line in lines for found in [re.search(r"(\d+)\s*%", line)] if found]


@pytest.fixture
def tuned_shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of a propagation that tells what a tuned one tells."""

    def propagate(task, *, on_matte, on_progress, cancelled) -> PropagationSummary:
        for progress in TUNED:
            on_progress(progress)
        return PropagationSummary(tuple(range(1, 9)), "xmem", "", 1.0, ())

    monkeypatch.setattr(session, "propagate_shot", propagate)
    (tmp_path / "p.0001.png").touch()
    (tmp_path / "a.png").touch()
    plate, mattes = tmp_path / "p.%04d.png", tmp_path / "m.%04d.exr"
    return ["propagate", "--plate", str(plate), "--output", str(mattes), "--alpha", f"1={tmp_path / 'a.png'}"]


def test_a_pipe_gets_a_line_for_each_tenth_of_tuning(tuned_shot: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*tuned_shot, "--progress", "lines"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("Phase:")] == PHASES
    assert percents(lines) == [0, 12, 25, 37, 50, 62, 75, 87, 100]
    assert (
        lines.index("Progress: 12%") < lines.index(PHASES[0]) < lines.index(PHASES[-1]) < lines.index("Progress: 25%")
    )


def test_a_terminal_shows_each_tenth_of_tuning(tuned_shot: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(tuned_shot) == 0
    captured = capsys.readouterr()
    assert [percent for percent in range(0, 101, 10) if f"tuning to the shot, {percent} %" in captured.err] == list(
        range(0, 101, 10)
    )
    assert "Phase" not in captured.out


def test_a_bar_draws_a_phase_once_though_no_frame_is_done() -> None:
    drawn = io.StringIO()
    with tqdm(total=8, file=drawn, mininterval=1000.0) as bar:
        show = tell_phase(bar)
        for progress in (TUNED[2], TUNED[2], TUNED[3]):
            show(progress)
        frames = drawn.getvalue().split("\r")
        assert sum("shot, 0 %" in frame for frame in frames) == 1
        assert sum("shot, 10 %: " in frame and "| 1/8" in frame for frame in frames) == 1


def test_a_farm_job_of_two_shots_tells_tuning_and_never_goes_backward(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ProgressLines(2)
    for shot in (0, 1):
        for progress in TUNED:
            lines.show(shot, progress)
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if "tuning" in line] == 2 * PHASES
    assert percents(printed) == sorted(set(percents(printed)))
    assert percents(printed)[-1] == 100


def test_the_demos_bar_shows_the_daemons_phases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = MagicMock()
    job.events.return_value = [WireProgress("0" * 32, each.done, each.total, each.phase, 0.0) for each in TUNED]
    client = MagicMock()
    client.return_value.__enter__.return_value.propagate.return_value = job
    monkeypatch.setattr("rotomem_client.client.Client", client)
    plate = tmp_path / "p.%04d.exr"
    for frame in range(1, 9):
        Path(str(plate) % frame).touch()
    shot = DemoShot(str(plate), "", 1, 8, 64, 48, ("hero",), {frame: {"hero": ()} for frame in (1, 4, 8)})
    propagate_as_artist("tcp://127.0.0.1:1", shot, tmp_path / "out" / "m.%04d.exr", engine="xmem")
    drawn = capsys.readouterr().err
    assert "tuning to the shot, 0 %:  12%" in drawn
    assert "tuning to the shot, 100 %:  12%" in drawn
    assert "propagating: 100%" in drawn
