"""What is shown before the network is tuned to the shot is told, written, and never taken for a finished matte."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
import torch

from rotomem.errors import CancelledError
from rotomem.plates import FramePattern, MatteMetadata, read_alpha, read_matte_metadata
from rotomem.propagation.shot_tuning import ShotTuning
from rotomem.session import MatteWritten, PlateReference, Progress, PropagationTask, ShotAnnotation, propagate_shot
from rotomem.session import propagate as session_propagate
from rotomem.session.cache_folder import current_frames
from rotomem.session.job_file import JobShot
from rotomem.vos import Network, save_weights
from rotomem_client.shapes import ControlPoint, Shape
from tiny_networks import TINY_WITH_CUE

LAST = 14
NEXT_TO_FOCUS = [3, 4, 5, 6, 7, 8, 9, 10]


def drawn(frame: int) -> ShotAnnotation:
    corners = [(x + frame, y) for x, y in ((8.0, 16.0), (24.0, 16.0), (24.0, 32.0), (8.0, 32.0))]
    return ShotAnnotation(frame, "hero", shapes=(Shape("square", tuple(ControlPoint(each) for each in corners)),))


@pytest.fixture
def task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PropagationTask:
    """A shot that is drawn on the first and the last frame; the artist looks at frame 7."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    save_weights(Network(TINY_WITH_CUE).state_dict(), tmp_path / "tiny.safetensors", TINY_WITH_CUE)
    monkeypatch.setattr(session_propagate, "ShotTuning", functools.partial(ShotTuning, steps=2, seconds=1e6))
    noise = np.random.default_rng(3).random((48, 64, 3)).astype(np.float32)
    for frame in range(1, LAST + 1):
        assert oiio.ImageBuf(np.roll(noise, frame, axis=1)).write(str(tmp_path / f"p.{frame:04d}.png"), "uint8")
    return PropagationTask(
        plate=PlateReference(first=1, last=LAST, pattern=str(tmp_path / "p.%04d.png")),
        annotations=(drawn(1), drawn(LAST)),
        objects=("hero",),
        first=1,
        last=LAST,
        output_pattern=str(tmp_path / "out" / "hero.%04d.exr"),
        engine="xmem",
        device="cpu",
        weights=str(tmp_path / "tiny.safetensors"),
        weights_dir=tmp_path,
        revision=1,
        focus=7,
        shot_id="sh010",
        tuning_dir=tmp_path / "tuned",
    )


class Run:
    """One propagation, and what it told."""

    def __init__(self, task: PropagationTask, *, stop: Callable[[list[MatteWritten]], bool] | None = None) -> None:
        self.told: list[MatteWritten | Progress] = []
        self.stopped = False
        try:
            propagate_shot(
                task,
                on_matte=self.told.append,
                on_progress=self.told.append,
                cancelled=lambda: stop is not None and stop(self.mattes),
            )
        except CancelledError as error:
            self.stopped = "cancelled after 0 of" in str(error)

    @property
    def mattes(self) -> list[MatteWritten]:
        return [each for each in self.told if isinstance(each, MatteWritten)]

    @property
    def previews(self) -> list[MatteWritten]:
        return [matte for matte in self.mattes if matte.preview]

    @property
    def finished(self) -> list[int]:
        return sorted(matte.frame for matte in self.mattes if not matte.preview)


def metadata(task: PropagationTask, frame: int) -> MatteMetadata:
    return read_matte_metadata(FramePattern.parse(task.output_pattern).path(frame))


def alphas(task: PropagationTask) -> list[bytes]:
    pattern = FramePattern.parse(task.output_pattern)
    return [read_alpha(pattern.path(frame), frame).tobytes() for frame in range(1, LAST + 1)]


def stopped_after_previews(task: PropagationTask) -> Run:
    run = Run(task, stop=lambda mattes: len(mattes) >= len(NEXT_TO_FOCUS))
    assert run.stopped
    return run


def test_previews_come_first_and_count_as_nothing(task: PropagationTask) -> None:
    run = Run(task)
    assert sorted(matte.frame for matte in run.previews) == NEXT_TO_FOCUS
    assert {(matte.engine, matte.weights_sha256) for matte in run.previews} == {("warp", "")}
    assert run.finished == list(range(1, LAST + 1))
    phases = list(dict.fromkeys(each.phase for each in run.told if isinstance(each, Progress)))
    assert phases[:3] == ["preparing", "previewing", "tuning to the shot, 0 %"]
    done = 0
    for each in run.told:
        if isinstance(each, MatteWritten):
            done += not each.preview
        else:
            assert each.done in (done, done - 1)
    assert not any(metadata(task, frame).preview for frame in range(1, LAST + 1))
    assert {metadata(task, frame).engine for frame in range(1, LAST + 1)} == {"xmem"}


def test_the_mattes_are_those_of_a_run_without_previews(task: PropagationTask, tmp_path: Path) -> None:
    Run(task)
    without = dataclasses.replace(
        task, focus=None, output_pattern=str(tmp_path / "plain" / "hero.%04d.exr"), tuning_dir=tmp_path / "tuned anew"
    )
    assert not Run(without).previews
    assert alphas(task) == alphas(without)


def test_a_stop_leaves_previews_that_say_so_and_the_next_job_makes_these_frames_again(task: PropagationTask) -> None:
    stopped_after_previews(task)
    on_disk = FramePattern.parse(task.output_pattern).frames_on_disk()
    assert on_disk == NEXT_TO_FOCUS
    assert all(metadata(task, frame).preview for frame in on_disk)
    assert {(metadata(task, frame).engine, metadata(task, frame).revision) for frame in on_disk} == {("warp", 1)}
    again = Run(dataclasses.replace(task, current=frozenset(on_disk)))
    assert again.finished == list(range(1, LAST + 1)), "whoever takes previews for current mattes is not believed"


def test_in_a_further_round_they_are_made_by_the_last_rounds_network_under_its_name(task: PropagationTask) -> None:
    Run(task)
    further = dataclasses.replace(task, annotations=(drawn(1), drawn(7), drawn(LAST)), revision=2)
    run = stopped_after_previews(further)
    weights = metadata(task, 1).weights_sha256
    assert sorted(matte.frame for matte in run.previews) == [3, 4, 5, 6, 8, 9, 10, 11]
    assert {(matte.engine, matte.weights_sha256) for matte in run.previews} == {("xmem", weights)}
    assert metadata(task, 2).revision == 1, "no other frame is touched"
    rest = Run(dataclasses.replace(further, current=frozenset(matte.frame for matte in run.previews)))
    assert rest.finished == list(range(1, LAST + 1))


def test_flow_alone_takes_no_place_of_an_older_matte_of_the_engine(task: PropagationTask, tmp_path: Path) -> None:
    Run(task)
    further = dataclasses.replace(task, annotations=(drawn(1), drawn(7), drawn(LAST)), revision=2, tuning_dir=None)
    assert not Run(further).previews, "the files that it would replace are better"
    elsewhere = dataclasses.replace(further, output_pattern=str(tmp_path / "new" / "hero.%04d.exr"))
    part = dataclasses.replace(elsewhere, shown=frozenset(range(1, 10)))
    assert sorted(matte.frame for matte in Run(part).previews) == [10, 11]


def test_a_preview_of_a_stopped_job_may_be_replaced_by_the_next_ones(task: PropagationTask) -> None:
    stopped_after_previews(task)
    assert sorted(matte.frame for matte in stopped_after_previews(task).previews) == NEXT_TO_FOCUS


def test_a_farm_job_makes_none_and_takes_none_for_a_matte_of_its_own(task: PropagationTask) -> None:
    stopped_after_previews(dataclasses.replace(task, tuning_dir=None))
    shot = JobShot(dataclasses.replace(task, focus=None), "", 1, LAST, "")
    engine = session_propagate.engine_of(shot.task)
    assert current_frames(shot, engine) == frozenset()
    run = Run(shot.task)
    assert (run.previews, run.finished) == ([], list(range(1, LAST + 1)))
    assert current_frames(shot, engine) == frozenset(range(1, LAST + 1))
