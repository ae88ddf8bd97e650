"""The table, JSON, plot and contact sheet that an evaluation leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rotomem.errors import SettingError
from rotomem.training import ClipScore, Condition, EngineSettings, EvaluationReport, HeldOutShot, evaluate_footage
from rotomem.training.chart import HEIGHT, MARGIN, WIDTH, draw_chart
from rotomem.training.evaluation_report import choose_sheet, draw_plot, write_report
from rotomem.training.evaluation_sheet import extremes
from rotomem.training.footage import find_clips
from rotomem.training.matte_samples import load_samples, sampled_frames, save_samples


def score(clip: str, j: float, *, engine: str = "warp", count: int = 3, footage_set: str = "clips") -> ClipScore:
    return ClipScore(Condition(footage_set, clip, engine, count), frames=10, j=j, f=j, t=1.0, seconds=1.0)


def test_the_extremes_are_three_best_and_three_worst() -> None:
    scores = [score(name, j) for name, j in zip("abcdefgh", (0.5, 0.9, 0.1, 0.7, 0.3, 0.8, 0.2, 0.6), strict=True)]
    best, worst = extremes(scores)
    assert [s.condition.clip for s in best] == ["b", "f", "d"]
    assert [s.condition.clip for s in worst] == ["c", "g", "e"]


@pytest.mark.parametrize(("clips", "best", "worst"), [("a", "a", ""), ("ab", "a", "b"), ("abcd", "ab", "dc")])
def test_of_few_clips_none_is_shown_twice(clips: str, best: str, worst: str) -> None:
    ranked = [score(name, 1 - index / 10) for index, name in enumerate(clips)]
    shown = extremes(ranked)
    assert ["".join(s.condition.clip for s in part) for part in shown] == [best, worst]


def test_the_sheet_shows_the_first_engine_that_does_more_than_copy() -> None:
    assert choose_sheet(["copy", "warp", "xmem"], [1, 3, 5], engine=None, count=None) == ("warp", 3)
    assert choose_sheet(["copy"], [5, 10], engine=None, count=None) == ("copy", 5)
    assert choose_sheet(["copy", "warp", "xmem"], [1, 3, 5], engine="xmem", count=5) == ("xmem", 5)


def test_a_sheet_of_what_is_not_measured_is_refused() -> None:
    with pytest.raises(SettingError, match=r"'xmem'.*copy, warp"):
        choose_sheet(["copy", "warp"], [3], engine="xmem", count=None)
    with pytest.raises(SettingError, match=r"10.*3, 5"):
        choose_sheet(["copy", "warp"], [3, 5], engine=None, count=10)


@pytest.mark.parametrize(
    ("given", "total", "expected"), [([0, 9], 10, [2, 4, 6, 8]), ([0, 2], 4, [1, 3]), ([0, 1, 2], 3, [0, 1, 2])]
)
def test_sampled_frames_lie_evenly_between_the_annotated_ones(
    given: list[int], total: int, expected: list[int]
) -> None:
    # 1 to 8 are left of ten: the middles of four quarters are the 2nd, 4th, 6th and 8th of them.
    assert sampled_frames(given, total) == expected


def test_kept_mattes_come_back_and_conditions_keep_apart(tmp_path: Path) -> None:
    mattes = np.random.default_rng(0).random((3, 20, 30)) > 0.5
    tuned = Condition("clips", "bear", "xmem", 3, "ab" * 32, tuned=True)
    save_samples(tmp_path, tuned, mattes)
    loaded = load_samples(tmp_path, tuned, (20, 30))
    assert loaded is not None
    assert np.array_equal(loaded, mattes)
    assert load_samples(tmp_path, Condition("clips", "bear", "xmem", 3, "ab" * 32, tuned=False), (20, 30)) is None
    assert load_samples(tmp_path, Condition("clips", "bear", "xmem", 5, "ab" * 32, tuned=True), (20, 30)) is None


def test_a_chart_puts_values_where_the_axes_say() -> None:
    curve = np.array([0.0, 10.0]), np.array([0.0, 1.0])
    picture = draw_chart({"rise": curve}, {"rise": (0, 0, 255)}, "", end=10, ticks=[(0, "0")], top=1.0, marked=True)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    for x, y in ((MARGIN, HEIGHT - MARGIN), (WIDTH - MARGIN, MARGIN), (WIDTH // 2, HEIGHT // 2)):
        assert (picture[y, x] == (0, 0, 255)).all()


def test_the_plot_has_a_panel_for_clips_and_one_for_synthetic_shots() -> None:
    scores = [score("bear", 0.5 + count / 20, count=count) for count in (1, 3, 5)]
    alone = draw_plot(EvaluationReport(tuple(scores)))
    scores += [score("shot", count / 20, count=count, footage_set="synthetic") for count in (1, 3, 5)]
    both = draw_plot(EvaluationReport(tuple(scores)))
    assert alone.shape == (HEIGHT, WIDTH, 3)
    assert both.shape == (2 * HEIGHT, WIDTH, 3)
    assert np.array_equal(both[:HEIGHT], alone)


def test_a_report_holds_table_json_plot_and_sheet(clips: Path) -> None:
    out = clips / "out"
    footage = [*find_clips(clips), HeldOutShot(0, frames=3, height=64, width=96)]
    report = evaluate_footage(footage, ["copy"], [1, 2], settings=EngineSettings(clips), out=out)
    written = write_report(out, report, footage, sheet_engine="copy", sheet_count=2)
    assert [path.name for path in written] == ["table.txt", "scores.json", "plot.png", "contact_sheet.png"]
    table = (out / "table.txt").read_text()
    places = [table.index(text) for text in ("Clips", "moving", "Held-out synthetic", "synthetic-000")]
    assert places == sorted(places)
    plain = json.loads((out / "scores.json").read_text())
    assert {name: len(part["clips"]) for name, part in plain.items()} == {"clips": 4, "synthetic": 2}
    assert all(row["seconds"] >= 0 for part in plain.values() for row in part["clips"])
    assert all(measured.seconds > 0 for measured in report.scores)
    assert cv2.imread(str(out / "plot.png")).shape == (2 * HEIGHT, WIDTH, 3)


def test_the_sheet_shows_the_matte_and_the_outline_of_the_truth(clips: Path) -> None:
    footage = find_clips(clips, ["moving"])
    report = evaluate_footage(footage, ["copy"], [1], settings=EngineSettings(clips), out=clips / "out")
    write_report(clips / "out", report, footage, sheet_engine="copy", sheet_count=1)
    sheet = cv2.imread(str(clips / "out" / "contact_sheet.png"))[..., ::-1].astype(int)
    # Four tiles 400 px wide, 4.17 px to the pixel, of frames 1 to 4; the title takes 84 and 34 px, the gutter 190.
    fourth = sheet[118 : 118 + 267, 190 + 3 * 410 : 190 + 3 * 410 + 400]
    yellow = (abs(fourth - (255, 225, 40)) < 40).all(axis=-1)
    columns = np.flatnonzero(yellow.any(axis=0))
    # In frame 4 the square is at columns 24 to 48 of 96, its copy from frame 0 at 8 to 32.
    assert abs(columns.min() - 24 * 400 / 96) <= 2
    assert abs(columns.max() - 48 * 400 / 96) <= 2
    wall = fourth[32 * 267 // 64]
    inside, outside = wall[12 * 400 // 96 : 20 * 400 // 96], wall[60 * 400 // 96 : 90 * 400 // 96]
    assert (inside[:, 2] - inside[:, 0]).mean() > (outside[:, 2] - outside[:, 0]).mean() + 30


def test_a_clip_whose_mattes_are_not_kept_still_has_its_row(clips: Path) -> None:
    footage = find_clips(clips)
    report = evaluate_footage(footage, ["copy"], [2], settings=EngineSettings(clips))
    write_report(clips / "out", report, footage, sheet_engine="copy", sheet_count=2)
    assert (clips / "out" / "contact_sheet.png").stat().st_size > 0
