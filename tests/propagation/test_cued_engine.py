"""The xmem engine with weights that know the flow cue."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from rendered_scenes import Scene
from rotomem.errors import AnnotationError
from rotomem.propagation import PropagatedFrame, WarpEngine, make_engine
from rotomem.propagation.cued_engine import CuedEngine, blended
from rotomem.propagation.engine import Annotations, Engine
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.held_out_cues import held_out_cues
from rotomem.propagation.shot_tuning import ShotTuning
from rotomem.training import region_j
from rotomem.vos import Network, save_weights
from tiny_networks import TINY_WITH_CUE

OFF = ShotTuning(enabled=False)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def cued(tuning: ShotTuning = OFF, *, refine_edges: bool = True) -> CuedEngine:
    """An untrained network: it gives back what was carried."""
    torch.manual_seed(0)
    network = Network(TINY_WITH_CUE)
    return CuedEngine(
        network, weights_sha256="ab" * 32, device=torch.device("cpu"), refine_edges=refine_edges, tuning=tuning
    )


def drawn(scene: Scene, frames: Sequence[int]) -> Annotations:
    return {frame: {"square": scene.truth(frame)} for frame in frames}


def results_of(
    engine: Engine, scene: Scene, annotations: Annotations, frames: range, focus: int | None = None
) -> dict[int, PropagatedFrame]:
    names = sorted({name for mattes in annotations.values() for name in mattes}, reverse=True)
    results = engine.propagate(scene, annotations, names, frames, cancelled=lambda: False, focus=focus)
    return {result.frame: result for result in results}


def mean_j(results: dict[int, PropagatedFrame], scene: Scene) -> float:
    scores = [region_j(r.mattes[0], scene.truth(frame)) for frame, r in results.items() if not r.annotated]
    return float(np.mean(scores))


def test_untrained_it_gives_what_warp_gives() -> None:
    scene = Scene()
    annotations = drawn(scene, [0, 8])
    ours = results_of(cued(), scene, annotations, range(9))
    warped = results_of(WarpEngine(), scene, annotations, range(9))
    assert sorted(ours) == list(range(9))
    assert abs(mean_j(ours, scene) - mean_j(warped, scene)) < 0.03


def test_what_was_carried_counts_by_its_share() -> None:
    def one(*values: float) -> np.ndarray:
        return np.array(values, np.float32)[None, :, None]

    network, flow = one(0.0, 1.0, 0.25, 0.9, 0.1), one(0.0, 1.0, 0.25, 0.1, 0.8)
    none, half, all_of_it = (np.full_like(network, share) for share in (0.0, 0.5, 1.0))
    assert np.allclose(blended(network, flow, none), network, atol=1e-6)
    assert np.allclose(blended(network, flow, all_of_it), flow, atol=1e-6)
    assert np.allclose(blended(network, flow, half).ravel()[:4], [0.0, 1.0, 0.25, 0.5], atol=1e-6)
    assert 0.1 < blended(network, flow, half).ravel()[4] < 0.8


class FastScene(Scene):
    """Every fifth frame: the square moves 15 px at a time, too far for flow among so much texture."""

    def image(self, frame: int) -> np.ndarray:
        return super().image(5 * frame)

    def truth(self, frame: int, *, pole: bool = True) -> np.ndarray:
        return super().truth(frame if pole is False else 5 * frame)


def test_tuning_repairs_what_flow_gets_wrong() -> None:
    scene = FastScene()
    annotations = drawn(scene, [0, 4, 8])
    before = mean_j(results_of(cued(refine_edges=False), scene, annotations, range(9)), scene)
    after = mean_j(
        results_of(cued(ShotTuning(steps=60, seconds=1e6), refine_edges=False), scene, annotations, range(9)), scene
    )
    assert after > before + 0.02


def test_the_artists_mattes_come_back_bit_for_bit() -> None:
    scene = Scene()
    matte = np.random.default_rng(0).random(scene.size).astype(np.float32)
    result = results_of(cued(ShotTuning(steps=2)), scene, {2: {"square": matte}}, range(1, 4))
    assert result[2].mattes[0].tobytes() == matte.tobytes()
    assert result[2].annotated
    assert not result[1].annotated


def test_the_order_of_frames_changes_no_matte() -> None:
    scene = Scene()
    annotations = drawn(scene, [0, 4, 8])
    plain = results_of(cued(), scene, annotations, range(9))
    focused = results_of(cued(), scene, annotations, range(9), focus=6)
    assert next(iter(focused)) in range(4, 9)
    for frame, result in plain.items():
        assert np.array_equal(result.mattes, focused[frame].mattes)


def test_objects_drawn_on_different_frames_share_no_pixel_twice() -> None:
    scene = Scene()
    annotations = {
        0: {"square": scene.truth(0), "second": scene.second(0)},
        4: {"square": scene.truth(4)},
        8: {"square": scene.truth(8), "second": scene.second(8)},
    }
    results = results_of(cued(ShotTuning(steps=2), refine_edges=False), scene, annotations, range(9))
    assert sorted(results) == list(range(9))
    assert results[4].mattes[0].tobytes() == scene.truth(4).tobytes()
    assert region_j(results[2].mattes[0], scene.truth(2)) > 0.7
    assert region_j(results[4].mattes[1], np.where(scene.truth(4) > 0, 0, scene.second(4))) > 0.5


class Rounds:
    """Counts the steps of tuning."""

    def __init__(self, folder: Path | None, shot: str = "sh010", steps: int = 4) -> None:
        self.shares: list[float] = []
        self.tuning = ShotTuning(steps=steps, folder=folder, shot=shot, on_progress=self.shares.append)

    def run(self, revision: int, frames: Sequence[int]) -> int:
        """Return how many steps a round took."""
        self.shares.clear()
        scene = Scene()
        engine = cued(dataclasses.replace(self.tuning, revision=revision))
        results_of(engine, scene, drawn(scene, frames), range(3))
        assert self.shares[:1] + self.shares[-1:] in ([], [0.0, 1.0])
        return max(0, len(self.shares) - 1)


def test_a_tuned_network_is_kept_and_the_next_round_goes_on_from_it(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path)
    assert rounds.run(1, [0]) == 4
    assert rounds.run(1, [0]) == 0
    assert rounds.run(2, [0, 2]) == 2
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_without_a_shot_nothing_is_kept(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path, shot="")
    assert rounds.run(1, [0]) == 4
    assert rounds.run(1, [0]) == 4
    assert not list(tmp_path.iterdir())


def test_one_job_tunes_once_whatever_stretches_it_makes() -> None:
    shares: list[float] = []
    engine = cued(ShotTuning(steps=3, on_progress=shares.append))
    scene = Scene()
    annotations = drawn(scene, [0, 6])
    for frames in (range(1, 3), range(4, 6)):
        results_of(engine, scene, annotations, frames)
    assert len(shares) == 4
    results_of(engine, scene, drawn(scene, [0, 5]), range(1, 3))
    assert len(shares) == 8


def test_the_shipped_weights_are_never_changed() -> None:
    engine = cued(ShotTuning(steps=3))
    before = {name: value.clone() for name, value in engine._network.state_dict().items()}
    scene = Scene()
    results_of(engine, scene, drawn(scene, [0, 4]), range(5))
    for name, value in engine._network.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_cancelled_tuning_ends_the_propagation() -> None:
    steps: list[float] = []
    engine = cued(ShotTuning(steps=1000, seconds=1e6, on_progress=steps.append))
    scene = Scene()
    results = engine.propagate(
        scene, drawn(scene, [0, 4]), ["square"], range(5), cancelled=lambda: len(steps) >= 3, focus=None
    )
    assert [result.frame for result in results] == [0, 4]
    assert len(steps) == 3  # the start, and two steps


def test_nothing_of_a_shot_is_held_once_it_is_done() -> None:
    scene = Scene()
    engine, seen = cued(), weakref.ref(scene)
    gc.disable()
    try:
        results_of(engine, scene, drawn(scene, [0, 3]), range(4))
        del scene
        assert seen() is None
    finally:
        gc.enable()


def test_an_object_drawn_nowhere_is_refused() -> None:
    scene = Scene()
    with pytest.raises(AnnotationError, match="'ghost' is annotated on no frame"):
        list(cued().propagate(scene, drawn(scene, [0]), ["square", "ghost"], range(3), cancelled=lambda: False))


def test_what_is_carried_to_a_drawn_frame_knows_nothing_of_its_drawing() -> None:
    scene = Scene()
    annotated = {"square": [0, 4, 8]}
    cues = held_out_cues(
        PlateFlow(scene), drawn(scene, [0, 4, 8]), annotated, wanted=[0, 4, 8], cancelled=lambda: False
    )
    empty = {**drawn(scene, [0, 8]), 4: {"square": np.zeros(scene.size, np.float32)}}
    without = held_out_cues(PlateFlow(scene), empty, annotated, wanted=[4], cancelled=lambda: False)
    assert np.array_equal(cues[4, "square"], without[4, "square"])
    before, after, trust_before, trust_after = cues[4, "square"]
    assert region_j(before, scene.truth(4)) > 0.8
    assert region_j(after, scene.truth(4)) > 0.8
    assert trust_before.min() > 0
    assert trust_after.max() <= 1
    assert not cues[0, "square"][0].any()  # nothing was drawn before the first one
    assert not cues[8, "square"][1].any()


def test_weights_with_the_cue_make_this_engine(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(TINY_WITH_CUE)
    save_weights(network.state_dict(), tmp_path / "ours.safetensors", network.config)
    engine = make_engine("xmem", weights_dir=tmp_path, device="cpu", tune=False)
    assert isinstance(engine, CuedEngine)
    assert engine.name == "xmem"
    assert not engine.tuning.enabled
    assert len(engine.weights_sha256) == 64
