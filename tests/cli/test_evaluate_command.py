"""``rotomem evaluate`` from the command line, on small clips."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rotomem.cli import main


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two clips of four frames: a grey square on black that moves 2 and 4 px per frame."""
    for name, step in (("slow", 2), ("fast", 4)):
        for kind in ("frames", "masks"):
            (tmp_path / "clips" / name / kind).mkdir(parents=True)
            for frame in range(4):
                pixels = np.zeros((48, 64), np.uint8)
                pixels[16:32, 4 + step * frame : 20 + step * frame] = 200
                cv2.imwrite(str(tmp_path / "clips" / name / kind / f"{frame:05d}.png"), pixels)
    return tmp_path / "clips"


def evaluate(clips: Path, *arguments: str) -> int:
    return main(["evaluate", "--clips", str(clips), "--engines", "copy", "--synthetic", "0", *arguments])


def test_pieces_in_one_folder_make_one_report(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = clips.parent / "out"
    for arguments in (["--only", "slow"], ["--only", "fast"], []):
        assert evaluate(clips, "--out", str(out), *arguments) == 0
    scores = json.loads((out / "scores.json").read_text())["clips"]["clips"]
    rows = {(row["clip"], row["annotations"]): row for row in scores}
    assert sorted({annotations for _, annotations in rows}) == [1, 3, 5, 10]
    # A square of 16 px, drawn in the first frame: 2, 4 and 6 px off in the others.
    assert rows["slow", 1]["J"] == pytest.approx(np.mean([14 / 18, 12 / 20, 10 / 22]), abs=1e-4)
    assert rows["fast", 10]["J"] == 1.0
    assert len((out / "measurements.jsonl").read_text().splitlines()) == 8
    assert {path.name for path in out.iterdir()} == {
        *("measurements.jsonl", "mattes", "table.txt", "scores.json", "plot.png", "contact_sheet.png")
    }
    assert (out / "table.txt").read_text() in capsys.readouterr().out


def test_a_wrong_setting_is_told_before_anything_is_measured(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = clips.parent / "out"
    for arguments, told in (
        (["--sheet-engine", "warp"], "'warp' is not measured"),
        (["--counts", "3,x"], "'3,x'"),
        (["--synthetic", "-1"], "-1"),
        (["--only", "absent"], "'absent'"),
        (["--counts", "0"], "1 or more"),
    ):
        assert evaluate(clips, "--out", str(out), *arguments) == 2
        assert told in capsys.readouterr().err
    assert not (out / "measurements.jsonl").exists()


def test_without_clips_and_shots_there_is_nothing_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--synthetic", "0", "--engines", "copy"]) == 2
    assert "--clips CLIPS" in capsys.readouterr().err


def test_scores_that_cannot_be_written_are_named(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (clips.parent / "file").write_text("in the way")
    assert evaluate(clips, "--counts", "1", "--json", str(clips.parent / "file" / "scores.json")) == 6
    assert "scores.json" in capsys.readouterr().err
