"""One picture per shot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem.errors import CancelledError, PlateMissingError, SettingError
from rotomem.plates import MatteMetadata, Window, write_mattes
from rotomem.session import PlateReference
from rotomem.session.report import ReportTask, ShotReport, measure_report
from rotomem.session.report_picture import draw_report, write_report

WIDTH, HEIGHT = 96, 64
DRAWN = (250, 184, 46)
SEAM = (255, 105, 70)
MISSING = (90, 40, 40)


@pytest.fixture
def task(tmp_path: Path) -> ReportTask:
    """Frames 1-10 of a still plate; 1 and 10 are drawn, 6 is unsure, 8 has no matte, and 10 is larger than 9."""
    noise = cv2.GaussianBlur(np.random.default_rng(1).random((HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 1)
    for frame in range(1, 11):
        assert oiio.ImageBuf(noise).write(str(tmp_path / f"p.{frame:04d}.exr"), "half")
        if frame == 8:
            continue
        matte = np.zeros((HEIGHT, WIDTH), np.float32)
        matte[16:48, 20 : 60 + 8 * (frame == 1)] = 1.0
        drawn = frame in (1, 10)
        metadata = MatteMetadata("warp", frame, annotated=drawn, confidence=1.0 if drawn else 0.8 - 0.4 * (frame == 6))
        write_mattes(
            tmp_path / f"m.{frame:04d}.exr",
            {"hero": matte},
            display_window=Window(0, 0, WIDTH, HEIGHT),
            pixel_aspect=1.0,
            metadata=metadata,
        )
    plate = PlateReference(first=1, last=10, pattern=str(tmp_path / "p.%04d.exr"))
    return ReportTask(plate, str(tmp_path / "m.%04d.exr"), first=1, last=10, suggested=(6, 4, 99))


def measure(task: ReportTask) -> ShotReport:
    return measure_report(task, on_progress=lambda _: None, cancelled=lambda: False)


def test_figures_come_from_the_mattes_and_the_plate(task: ReportTask) -> None:
    report = measure(task)
    assert report.annotated == (1, 10)
    assert report.confidence[6] == pytest.approx(0.4)
    assert 8 not in report.made
    assert sorted(report.jumps) == [1, 2, 3, 4, 5, 6, 9]
    # The drawn frame is 48 wide, its neighbour 40: 8 of a mean of 44.
    assert report.jumps[1] == pytest.approx(8 / 44, abs=0.02)
    assert report.jumps[3] == pytest.approx(0, abs=0.01)
    assert report.worst_seam is not None
    assert (report.worst_seam.annotated, report.worst_seam.neighbour) == (1, 2)
    assert report.suggested == (6, 4)


def test_thumbnails_show_what_to_look_at_and_why(task: ReportTask) -> None:
    thumbnails = {one.frame: one.reason for one in measure(task).thumbnails}
    assert thumbnails == {
        1: "drawn",
        2: "jumps beside frame 1",
        4: "suggestion 2",
        6: "least certain",
        10: "drawn",
    }


def test_frames_to_draw_next_are_suggested_where_none_are_named(task: ReportTask) -> None:
    suggesting = ReportTask(task.plate, task.matte_pattern, first=1, last=10, suggest=2)
    suggested = measure(suggesting).suggested
    assert len(suggested) == 2
    assert not {1, 10}.intersection(suggested)


def test_the_picture_marks_drawn_frames_seams_and_missing_mattes(task: ReportTask, tmp_path: Path) -> None:
    report = measure(task)
    picture = draw_report(report, title="hero")
    columns = {
        colour: np.flatnonzero((picture[300:-60, 210:] == colour).all(axis=-1).any(axis=0))
        for colour in (DRAWN, SEAM, MISSING)
    }
    per_frame = (1800 - 210 - 40) / 10
    for colour, frames in ((DRAWN, {1, 10}), (SEAM, {1.5, 9.5}), (MISSING, {8})):
        places = columns[colour]
        middles = {round(2 * (place / per_frame + 0.5)) / 2 for place in places}
        assert frames <= middles, colour
    write_report(tmp_path / "report.png", report, title="hero")
    read = cv2.imread(str(tmp_path / "report.png"))
    np.testing.assert_array_equal(read[..., ::-1], picture)


@pytest.mark.parametrize("count", [1, 2000])
def test_short_and_long_shots_can_be_drawn(task: ReportTask, count: int) -> None:
    report = measure(task)
    metadata = {frame: MatteMetadata("warp", frame, annotated=False, confidence=0.5) for frame in range(1, count + 1)}
    shot = ShotReport(range(1, count + 1), (1,), metadata, {1: 0.2} if count > 1 else {}, (), (), report.thumbnails[:1])
    assert draw_report(shot, title="long").shape[1] == 1800


def test_bad_requests_are_one_sentence(task: ReportTask, tmp_path: Path) -> None:
    with pytest.raises(PlateMissingError, match=r"there are no mattes .*propagate first"):
        measure(ReportTask(task.plate, str(tmp_path / "none.%04d.exr"), first=1, last=10))
    with pytest.raises(SettingError, match="the range 5-4 is empty"):
        measure(ReportTask(task.plate, task.matte_pattern, first=5, last=4))
    with pytest.raises(CancelledError, match="no report was written"):
        measure_report(task, on_progress=lambda _: None, cancelled=lambda: True)
