"""The next best frame by motion: the largest predicted relative error far from any annotation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rotomem.errors import SettingError
from rotomem.plates import MatteMetadata, Window, write_mattes
from rotomem.session.shot import PlateReference
from rotomem.session.suggest import SuggestionTask, suggest_shot
from rotomem.suggestion import rank_by_motion_error


def test_error_times_distance_chooses() -> None:
    errors = np.array([0.9, 0.8, 0.1, 0.2, 0.5, 0.1, np.nan, 0.3])
    # Distances to frame 0: 0 .. 7; products 0, .8, .2, .6, 2, .5, 0, 2.1. Then to 0 and 7: 4 x .5 -> 3 x .5.
    chosen = rank_by_motion_error(errors, [0], 3)
    assert [(frame.index, frame.score) for frame in chosen[:2]] == [(7, pytest.approx(2.1)), (4, pytest.approx(1.5))]
    assert chosen[0].reason == "motion shows something else here than the matte"


def test_every_frame_comes_once_and_none_that_is_drawn() -> None:
    chosen = rank_by_motion_error(np.zeros(5), [2], 9)
    assert sorted(frame.index for frame in chosen) == [0, 1, 3, 4]
    assert rank_by_motion_error(np.array([0.1, 0.4, 0.2]), [], 1)[0].index == 1


def task(folder: Path) -> SuggestionTask:
    plate = PlateReference(1, 4, str(folder / "p.%04d.png"))
    pattern = str(folder / "m.%04d.exr")
    return SuggestionTask(plate, (1,), 1, 4, matte_pattern=pattern, count=1, scoring="motion")


def write(folder: Path, errors: list[float | None]) -> None:
    for frame, error in enumerate(errors, start=1):
        metadata = MatteMetadata(engine="warp", frame=frame, motion_error=error)
        mattes = {"hero": np.ones((8, 8), np.float32)}
        path = folder / f"m.{frame:04d}.exr"
        write_mattes(path, mattes, display_window=Window(0, 0, 8, 8), pixel_aspect=1.0, metadata=metadata)


def test_it_is_read_from_the_mattes(tmp_path: Path) -> None:
    write(tmp_path, [None, 0.9, 0.5, 0.1])
    (found,) = suggest_shot(task(tmp_path), on_progress=lambda progress: None, cancelled=lambda: False)
    assert (found.frame, found.score) == (3, pytest.approx(1.0))


def test_mattes_that_say_nothing_of_motion_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [None] * 4)
    with pytest.raises(SettingError, match="propagate with --motion errors"):
        suggest_shot(task(tmp_path), on_progress=lambda progress: None, cancelled=lambda: False)
