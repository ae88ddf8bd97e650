"""What a propagation tells while its network is tuned to the shot."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import OpenImageIO as oiio
import pytest
import torch

from rotomem.propagation import CopyEngine, PropagatedFrame
from rotomem.propagation.engine import Annotations, FrameSource
from rotomem.propagation.shot_tuning import ShotTuning
from rotomem.session import PlateReference, Progress, PropagationTask, ShotAnnotation, propagate_shot
from rotomem.session import propagate as session_propagate
from rotomem.vos import Network, save_weights
from rotomem_client.shapes import ControlPoint, Shape
from tiny_networks import TINY_WITH_CUE

TENTHS = [f"tuning to the shot, {10 * tenth} %" for tenth in range(11)]


@pytest.fixture
def task(tmp_path: Path) -> PropagationTask:
    """Six frames, drawn on the first and the last."""
    noise = np.random.default_rng(3).random((48, 64, 3)).astype(np.float32)
    for frame in range(1, 7):
        assert oiio.ImageBuf(np.roll(noise, frame, axis=1)).write(str(tmp_path / f"p.{frame:04d}.png"), "uint8")

    def drawn(frame: int) -> ShotAnnotation:
        corners = [(x + frame, y) for x, y in ((8.0, 16.0), (24.0, 16.0), (24.0, 32.0), (8.0, 32.0))]
        return ShotAnnotation(frame, "hero", shapes=(Shape("square", tuple(ControlPoint(each) for each in corners)),))

    return PropagationTask(
        plate=PlateReference(first=1, last=6, pattern=str(tmp_path / "p.%04d.png")),
        annotations=(drawn(1), drawn(6)),
        objects=("hero",),
        first=1,
        last=6,
        output_pattern=str(tmp_path / "out" / "hero.%04d.exr"),
        device="cpu",
        revision=1,
    )


def progress_of(task: PropagationTask, engine: CopyEngine | None = None) -> list[Progress]:
    told: list[Progress] = []
    propagate_shot(task, on_matte=lambda _: None, on_progress=told.append, cancelled=lambda: False, engine=engine)
    return told


def test_tuning_is_told_from_0_to_100_and_no_frame_is_taken_back(
    task: PropagationTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    weights = tmp_path / "tiny.safetensors"
    save_weights(Network(TINY_WITH_CUE).state_dict(), weights, TINY_WITH_CUE)
    monkeypatch.setattr(session_propagate, "ShotTuning", functools.partial(ShotTuning, steps=10, seconds=600.0))
    told = progress_of(
        PropagationTask(**{**vars(task), "engine": "xmem", "weights": str(weights), "weights_dir": tmp_path})
    )
    assert [each.phase for each in told if each.phase.startswith("tuning")] == TENTHS
    done = [each.done for each in told]
    assert done == sorted(done)
    assert (told[-1].done, told[-1].total) == (6, 6)
    assert max(each.done for each in told if each.phase.startswith("tuning")) > 0, "drawn frames came before"


class _SlowlyTuned(CopyEngine):
    """A frame takes half a second on ``clock``; once the first is out, tuning takes 100 s."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.tuning = ShotTuning()
        self._clock = clock

    def propagate(
        self,
        source: FrameSource,
        annotations: Annotations,
        objects: Sequence[str],
        frames: Sequence[int],
        *,
        cancelled: Callable[[], bool],
        focus: int | None = None,
    ) -> Iterator[PropagatedFrame]:
        results = super().propagate(source, annotations, objects, frames, cancelled=cancelled, focus=focus)
        for index, result in enumerate(results):
            if index == 1:
                assert self.tuning.on_progress is not None
                for share in (0.0, 0.5, 0.93, 0.996):
                    self._clock.now += 25
                    self.tuning.on_progress(share)
            self._clock.now += 0.5
            yield result


def test_frames_per_second_leave_out_tuning(task: PropagationTask, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(session_propagate, "time", SimpleNamespace(monotonic=lambda: clock.now))
    told = progress_of(task, _SlowlyTuned(clock))
    assert [(each.done, each.phase) for each in told if each.phase.startswith("tuning")] == [
        (1, TENTHS[tenth]) for tenth in (0, 5, 9, 10)
    ]
    rates = [each.frames_per_second for each in told if each.phase == "propagating"]
    assert rates == pytest.approx([2.0] * 6)
