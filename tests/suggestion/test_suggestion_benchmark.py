"""The benchmark of suggestions, on two small clips and the copy engine."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rotomem.cli import main
from rotomem.errors import SettingError
from rotomem.propagation import CopyEngine
from rotomem.training.footage import find_clips
from rotomem.training.suggestion_benchmark import (
    SuggestionScore,
    development_clips,
    halve_largest_gap,
    measure_suggestions,
    overall_curves,
)

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """``a``: a square that stands still for 6 frames and then moves 4 px a frame; ``b``: one that never moves."""
    for name, offsets in (("a", [0] * 6 + [4, 8, 12]), ("b", [0] * 5)):
        for part in ("frames", "masks"):
            (tmp_path / name / part).mkdir(parents=True)
        for frame, offset in enumerate(offsets):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[12:32, 8 + offset : 28 + offset] = 255
            cv2.imwrite(str(tmp_path / name / "frames" / f"{frame:05d}.png"), np.dstack([mask] * 3))
            cv2.imwrite(str(tmp_path / name / "masks" / f"{frame:05d}.png"), mask)
    return tmp_path


def measure(clips: Path, log_file: Path, methods: list[str], **settings: int) -> list[SuggestionScore]:
    return measure_suggestions(find_clips(clips), CopyEngine(), log_file, methods=methods, **settings)


def test_the_first_round_is_the_same_for_all_and_by_hand(clips: Path, tmp_path: Path) -> None:
    scores = measure(clips, tmp_path / "log", ["uniform", "bisection", "random", "need"], most_drawn=3)
    first = [score for score in scores if (score.clip, score.k) == ("a", 1)]
    # Frames 1 to 5 are right, 6 to 8 are 4, 8 and 12 px off a 20 px square: J = (20 - d) / (20 + d).
    assert [score.j for score in first] == pytest.approx([(5 + 16 / 24 + 12 / 28 + 8 / 32) / 8] * 4, abs=1e-4)
    assert {score.j_and_f for score in scores if score.clip == "b"} == {1.0}


def test_uniform_knows_k_and_bisection_keeps_what_it_drew(clips: Path, tmp_path: Path) -> None:
    scores = measure(clips, tmp_path / "log", ["uniform", "bisection"], most_drawn=4)
    drawn = {(score.method, score.k): score.annotated for score in scores if score.clip == "a"}
    assert [drawn["uniform", k] for k in (2, 3, 4)] == [(0, 8), (0, 4, 8), (0, 3, 5, 8)]
    assert [drawn["bisection", k] for k in (2, 3, 4)] == [(0, 8), (0, 4, 8), (0, 2, 4, 8)]


def test_halving_takes_the_first_of_equal_gaps() -> None:
    assert [halve_largest_gap(drawn, 9) for drawn in ([0], [0, 8], [0, 4, 8], [0, 2, 4, 8])] == [8, 4, 2, 6]


def test_what_is_in_the_log_is_not_made_again(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_file = tmp_path / "log"
    before = measure(clips, log_file, ["need"], most_drawn=3)
    lines = log_file.read_text().splitlines()
    log_file.write_text("\n".join([*lines[:-1], lines[-1][:40]]))  # interrupted while it wrote
    made: list[int] = []
    real = CopyEngine.propagate

    def count(self: CopyEngine, *arguments: object, **named: object) -> object:
        made.append(1)
        return real(self, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(CopyEngine, "propagate", count)
    assert measure(clips, log_file, ["need"], most_drawn=3) == before
    assert len(made) == 1


def test_clips_for_choosing_and_for_reporting_are_apart() -> None:
    scores = [SuggestionScore(f"c{i}", "need", 1, i / 10, i / 10, (0,)) for i in range(6)]
    curves = overall_curves(scores)
    chosen = development_clips([score.clip for score in scores])
    assert len(chosen) == 2
    assert curves["all"]["need"] == pytest.approx([0.25])
    both = 2 * curves["development"]["need"][0] + 4 * curves["reported"]["need"][0]
    assert both == pytest.approx(6 * 0.25)


def test_unknown_methods_are_refused(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no method 'luck'"):
        measure(clips, tmp_path / "log", ["luck"])


def test_the_command_prints_a_table_and_writes_json_and_a_plot(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate-suggestions", "--clips", str(clips), "--engine", "copy", "--methods", "uniform,need"]
    outputs = ["--log", str(tmp_path / "log"), "--json", str(tmp_path / "s.json"), "--plot", str(tmp_path / "s.png")]
    assert main([*arguments, "--most", "3", *outputs]) == 0
    table = capsys.readouterr().out
    assert "k=3" in table
    written = json.loads((tmp_path / "s.json").read_text())
    assert list(written["overall"]["all"]) == ["uniform", "need"]
    assert len(written["clips"]) == 2 * 2 * 3
    picture = cv2.imread(str(tmp_path / "s.png"))
    assert picture is not None
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
