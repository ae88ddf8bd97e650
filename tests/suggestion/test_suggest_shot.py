"""Suggestions for a shot on disk, through the session and the command line."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from rotomem import weights_files
from rotomem.cli import main
from rotomem.errors import (
    AnnotationRangeError,
    CancelledError,
    PlateMissingError,
    RotomemError,
    SettingError,
    WeightsMissingError,
)
from rotomem.plates import MatteMetadata, Window, write_mattes
from rotomem.session import PlateReference, Progress
from rotomem.session.frame_keys import KeyReader, prune_keys
from rotomem.session.suggest import Suggestion, SuggestionTask, suggest_shot
from rotomem.suggestion import Reason
from rotomem.vos import Network, save_weights
from tiny_networks import TINY, TINY_WITH_CUE, random_network

HEIGHT, WIDTH = 48, 64
FIRST, LAST = 1001, 1021


@pytest.fixture(scope="module")
def finished_shot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """21 PNG frames of noise that brightens, mattes of a square; the mattes of 1011 to 1013 are unsure."""
    folder = tmp_path_factory.mktemp("shot")
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 100, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for frame in range(FIRST, LAST + 1):
        cv2.imwrite(str(folder / f"plate.{frame}.png"), noise + np.uint8(5 * (frame - FIRST)))
        write_matte(folder, frame, confidence=0.3 if 1011 <= frame <= 1013 else 0.95)
    return folder


@pytest.fixture
def shot(finished_shot: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(finished_shot, tmp_path / "shot"))


def write_matte(folder: Path, frame: int, *, confidence: float | None, disagreement: float | None = 0.05) -> None:
    matte = np.zeros((HEIGHT, WIDTH), np.float32)
    matte[10:30, 10:30] = 1
    metadata = MatteMetadata("warp", frame, confidence=confidence, disagreement=disagreement)
    window = Window(0, 0, WIDTH, HEIGHT)
    write_mattes(folder / f"m.{frame}.exr", {"hero": matte}, display_window=window, pixel_aspect=1.0, metadata=metadata)


def make_task(shot: Path, **changes: object) -> SuggestionTask:
    arguments: dict[str, object] = {
        "plate": PlateReference(FIRST, LAST, pattern=str(shot / "plate.%04d.png")),
        "annotated": (FIRST, LAST),
        "first": FIRST,
        "last": LAST,
        "matte_pattern": str(shot / "m.%04d.exr"),
        "count": 3,
        **changes,
    }
    return SuggestionTask(**arguments)  # type: ignore[arg-type]


def suggest(task: SuggestionTask) -> tuple[Suggestion, ...]:
    return suggest_shot(task, on_progress=lambda progress: None, cancelled=lambda: False)


def test_the_frames_whose_mattes_are_least_sure_come_first(shot: Path) -> None:
    suggestions = suggest(make_task(shot))
    assert 1010 <= suggestions[0].frame <= 1014
    assert suggestions[0].reason == Reason.UNSURE.value
    assert len({s.frame for s in suggestions} - {FIRST, LAST}) == 3


def test_disagreeing_passes_are_read_from_the_mattes(shot: Path) -> None:
    for frame in range(1005, 1008):
        write_matte(shot, frame, confidence=0.95, disagreement=0.8)
    (first, *_) = suggest(make_task(shot, scoring="disagreement"))
    assert 1005 <= first.frame <= 1007
    assert first.reason == Reason.PASSES_DISAGREE.value


def test_without_confidence_in_the_files_soft_mattes_count_as_unsure(shot: Path) -> None:
    for frame in range(FIRST, LAST + 1):
        matte = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        matte[10:30, 10:30] = 128 if frame in (1005, 1006) else 255
        cv2.imwrite(str(shot / f"other.{frame}.png"), matte)
    (first, *_) = suggest(make_task(shot, matte_pattern=str(shot / "other.%04d.png"), scoring="confidence"))
    assert first.frame in (1005, 1006)


def test_without_mattes_frames_are_spread_in_time(shot: Path) -> None:
    suggestions = suggest(make_task(shot, matte_pattern=""))
    assert [s.frame for s in suggestions] == pytest.approx([1011, 1006, 1016], abs=1)
    assert {s.reason for s in suggestions} == {Reason.FAR.value}


def test_files_come_before_the_pattern_and_missing_mattes_are_allowed(shot: Path) -> None:
    for frame in range(1002, 1010):
        (shot / f"m.{frame}.exr").unlink()
    write_matte(shot, 7, confidence=0.05)
    files = {1018: shot / "m.7.exr", 1017: shot / "m.7.exr"}
    (first, *_) = suggest(
        make_task(shot, matte_files=files, scoring="confidence", count=1, annotated=(1001, 1010, 1014))
    )
    assert 1015 <= first.frame <= 1019


def test_frames_outside_the_range_are_never_suggested_but_count_as_drawn(shot: Path) -> None:
    task = make_task(shot, annotated=(1001, 1010), first=1005, last=1009, count=99, matte_pattern="")
    suggestions = suggest(task)
    assert sorted(s.frame for s in suggestions) == [1005, 1006, 1007, 1008, 1009]
    # With 1001 and 1010 drawn, the middle lies at 1005 and 1006; were 1001 forgotten, it would not.
    assert suggestions[0].frame in (1005, 1006, 1007)


def test_a_frame_whose_matte_is_empty_comes_last_with_the_reason(shot: Path) -> None:
    empty = shot / "empty.png"
    cv2.imwrite(str(empty), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    files = {frame: empty for frame in range(1013, LAST + 1)}  # 1021 was drawn empty
    suggestions = suggest(make_task(shot, matte_files=files, count=99))
    assert {s.frame for s in suggestions[-8:]} == set(range(1013, LAST))
    assert {s.reason for s in suggestions[-8:]} == {Reason.NO_OBJECT.value}


def test_a_matte_that_lost_its_object_comes_first(shot: Path) -> None:
    empty = shot / "empty.png"
    cv2.imwrite(str(empty), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    files = {frame: empty for frame in range(1016, LAST)}  # drawn on both sides
    (first, *_) = suggest(make_task(shot, matte_files=files))
    assert 1016 <= first.frame < LAST
    assert first.reason == Reason.LOST.value


def test_task_and_suggestions_travel_between_processes(shot: Path) -> None:
    task = pickle.loads(pickle.dumps(make_task(shot)))  # noqa: S301
    suggestions = suggest(task)
    assert pickle.loads(pickle.dumps(suggestions)) == suggestions  # noqa: S301


def test_progress_counts_frames_and_cancelling_stops(shot: Path) -> None:
    seen: list[Progress] = []
    with pytest.raises(CancelledError, match="after 4 of 21"):
        suggest_shot(make_task(shot), on_progress=seen.append, cancelled=lambda: seen[-1].done >= 4)
    assert [progress.done for progress in seen] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"scoring": "guess"}, SettingError, "no scoring 'guess'"),
        ({"first": 1010, "last": 1005}, SettingError, "is empty"),
        ({"last": 1100}, SettingError, "reaches outside the plate"),
        ({"annotated": (900,)}, AnnotationRangeError, "frame 900"),
        ({"count": 0}, SettingError, "number of suggestions is 0"),
        ({"matte_pattern": "nowhere.%04d.exr"}, PlateMissingError, "none of the frames 1001-1021"),
    ],
)
def test_bad_tasks_are_refused(shot: Path, changes: dict[str, object], error: type[RotomemError], match: str) -> None:
    with pytest.raises(error, match=match):
        suggest(make_task(shot, **changes))


# By the network's keys


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights" / "tiny.safetensors"
    path.parent.mkdir()
    save_weights(random_network().state_dict(), path, TINY)
    return path


def likeness_task(shot: Path, weights: Path, **changes: object) -> SuggestionTask:
    given = {"weights_dir": weights.parent, "device": "cpu", "cache_dir": shot / "keys", "annotated": (FIRST,)}
    return make_task(shot, scoring="likeness", **{**given, **changes})


def test_likeness_compares_keys_and_says_so(shot: Path, weights: Path) -> None:
    suggestions = suggest(likeness_task(shot, weights))
    assert suggestions[0].reason == Reason.UNLIKE_DRAWN.value
    assert len({s.frame for s in suggestions} - {FIRST}) == 3
    assert suggestions[0].score > suggestions[1].score > 0


def test_keys_are_encoded_once_and_again_only_where_the_plate_changed(
    shot: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    real = KeyReader._encode
    monkeypatch.setattr(KeyReader, "_encode", lambda self, frame: encoded.append(frame) or real(self, frame))
    before = suggest(likeness_task(shot, weights))
    assert encoded == list(range(FIRST, LAST + 1))
    encoded.clear()
    assert suggest(likeness_task(shot, weights)) == before
    assert encoded == []
    cv2.imwrite(str(shot / "plate.1007.png"), np.full((HEIGHT, WIDTH, 3), 7, np.uint8))
    suggest(likeness_task(shot, weights))
    assert encoded == [1007]


def test_damaged_keys_are_made_again(shot: Path, weights: Path) -> None:
    before = suggest(likeness_task(shot, weights))
    for file in (shot / "keys").glob("*"):
        file.write_bytes(b"damaged")
    assert suggest(likeness_task(shot, weights)) == before


def test_likeness_looks_at_the_mattes(shot: Path, weights: Path) -> None:
    cv2.imwrite(str(shot / "empty.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    files = {frame: shot / "empty.png" for frame in range(1012, LAST + 1)}
    suggestions = suggest(likeness_task(shot, weights, matte_files=files, count=99))
    assert {s.frame for s in suggestions[-10:]} == set(files)


def test_likeness_needs_weights(shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_files, "SHIPPED_WEIGHTS", tmp_path / "none")
    with pytest.raises(WeightsMissingError, match=r"scoring likeness needs weights .* choose scoring auto"):
        suggest(likeness_task(shot, tmp_path / "none" / "x"))


def test_weights_with_the_flow_cue_give_keys_too_and_those_shipped_serve_without_any(
    shot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "shipped.safetensors"
    save_weights(Network(TINY_WITH_CUE).state_dict(), shipped, TINY_WITH_CUE)
    monkeypatch.setattr(weights_files, "SHIPPED_WEIGHTS", shipped)
    task = likeness_task(shot, tmp_path / "none" / "x")
    suggestions = suggest(task)
    assert [s.reason for s in suggestions] == [Reason.UNLIKE_DRAWN.value] * 3
    assert all(s.score > 0 for s in suggestions)
    assert suggestions == suggest(dataclasses.replace(task, weights=str(shipped), cache_dir=None))


def test_kept_keys_are_pruned_oldest_first(tmp_path: Path) -> None:
    for age in range(4):
        path = tmp_path / f"{age}.safetensors"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    prune_keys(tmp_path, max_bytes=250)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.safetensors", "1.safetensors"]


# The command


def test_the_command_prints_a_table_and_writes_json(shot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["suggest", "--plate", str(shot / "plate.%04d.png"), "--mattes", str(shot / "m.%04d.exr")]
    assert main([*arguments, "--annotated", "1001,1021", "--count", "2", "--json", str(shot / "s.json")]) == 0
    table = capsys.readouterr().out.splitlines()
    written = json.loads((shot / "s.json").read_text())
    assert table[0].split() == ["frame", "score", "reason"]
    assert [int(line.split()[0]) for line in table[1:]] == [entry["frame"] for entry in written]
    assert set(written[0]) == {"frame", "score", "reason"}
    assert main([*arguments, "--annotated", "1001,1021", "--count", "2", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == written


def test_the_command_says_when_there_is_no_plate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suggest", "--plate", str(tmp_path / "p.%04d.png")]) == 2
    assert "no frame on disk" in capsys.readouterr().err
