"""Measurements are kept as they are made: pieces, interruptions, and what makes a measurement another one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rotomem.errors import SettingError
from rotomem.training import EngineSettings, EvaluationReport, HeldOutShot, evaluate_footage
from rotomem.training.evaluation import MEASUREMENTS
from rotomem.training.footage import EVALUATION_SEED, find_clips
from rotomem.vos import Network, save_weights
from tiny_networks import TINY

Told = list[tuple[int, int]]


def copy_clips(
    clips: Path, counts: list[int], *, only: list[str] | None = None, told: Told | None = None, out: Path | None = None
) -> EvaluationReport:
    return evaluate_footage(
        find_clips(clips, only),
        ["copy"],
        counts,
        settings=EngineSettings(clips),
        out=out or clips / "out",
        on_progress=None if told is None else lambda done, total: told.append((done, total)),
    )


def test_an_interrupted_evaluation_goes_on_where_it_stopped(clips: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_footage(
            find_clips(clips), ["copy"], [2, 3], settings=EngineSettings(clips), out=clips / "out", on_progress=stop
        )
    told: Told = []
    resumed = copy_clips(clips, [2, 3], told=told)
    assert told == [(3, 4), (4, 4)]
    assert len((clips / "out" / MEASUREMENTS).read_text().splitlines()) == 4
    assert copy_clips(clips, [2, 3]) == resumed


def test_a_line_cut_off_by_a_kill_is_measured_again(clips: Path) -> None:
    whole = copy_clips(clips, [2])
    log = clips / "out" / MEASUREMENTS
    log.write_bytes(log.read_bytes()[:-20])
    told: Told = []
    again = copy_clips(clips, [2], told=told)
    assert told == [(1, 2), (2, 2)]
    assert [(s.condition, s.j, s.f, s.t) for s in again.scores] == [(s.condition, s.j, s.f, s.t) for s in whole.scores]
    assert [json.loads(line)["condition"]["clip"] for line in log.read_text().splitlines()] == ["moving", "still"]


def test_clips_measured_in_pieces_make_one_report(clips: Path) -> None:
    for name in ("still", "moving"):
        copy_clips(clips, [2], only=[name])
    told: Told = []
    report = copy_clips(clips, [2], told=told)
    assert told == [(2, 2)]
    assert [score.condition.clip for score in report.scores] == ["moving", "still"]


def test_footage_that_changed_is_measured_again(clips: Path, write_clip: Callable[..., None]) -> None:
    (before,) = copy_clips(clips, [2], only=["still"]).scores
    shutil.rmtree(clips / "still")
    write_clip(clips / "still", frames=5, step_px=6)
    (after,) = copy_clips(clips, [2], only=["still"]).scores
    assert (before.j, before.frames) == (1.0, 2)
    assert after.frames == 3
    assert after.j < 0.7


def test_other_weights_and_tuning_are_other_measurements(clips: Path) -> None:
    told: Told = []
    for seed, tune in ((0, False), (1, False), (1, True), (1, True)):
        torch.manual_seed(seed)
        save_weights(Network(TINY).state_dict(), clips / "weights" / "tiny.safetensors", TINY)
        settings = EngineSettings(clips / "weights", device="cpu", weights="tiny", tune=tune)
        report = evaluate_footage(
            find_clips(clips, ["still"]),
            ["xmem"],
            [2],
            settings=settings,
            out=clips / "out",
            on_progress=lambda done, total: told.append((done, total)),
        )
    assert told == [(0, 1), (1, 1)] * 3 + [(1, 1)]
    (score,) = report.scores
    assert score.condition.tuned is True
    assert len(score.condition.weights_sha256) == 64


def test_a_file_of_something_else_is_refused(clips: Path) -> None:
    (clips / "out").mkdir()
    (clips / "out" / MEASUREMENTS).write_text('{"a": 1}\n')
    with pytest.raises(SettingError, match=r"line 1 of .*measurements\.jsonl"):
        copy_clips(clips, [2])


def test_synthetic_shots_are_held_out_and_have_scores_of_their_own(clips: Path) -> None:
    shots = [HeldOutShot(index, frames=4, height=64, width=96) for index in range(2)]
    assert EVALUATION_SEED > 1 << 40
    assert len({shot.fingerprint for shot in shots}) == 2
    report = evaluate_footage([*find_clips(clips, ["still"]), *shots], ["copy"], [1, 3], settings=EngineSettings(clips))
    assert [report.of(name).overall("copy", 1).frames for name in ("clips", "synthetic")] == [3, 6]
    assert report.of("clips").overall("copy", 1).j == 1.0
    assert report.of("synthetic").overall("copy", 1).j < 0.999
    alone = evaluate_footage(shots, ["copy"], [1, 3], settings=EngineSettings(clips))
    assert [(s.condition, s.j) for s in alone.scores] == [(s.condition, s.j) for s in report.of("synthetic").scores]


def test_every_object_of_a_synthetic_shot_is_seen_in_its_first_frame() -> None:
    for index in range(3):
        footage = HeldOutShot(index, frames=2, height=64, width=96).open()
        assert footage.truth.shape[0] == 2
        assert footage.truth.shape[1] >= 1
        assert (footage.truth[0].max(axis=(1, 2)) > 0.5).all()
