"""What a second round meets in the engine that Rotomem runs by default: both sides compared, objects that join."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rendered_scenes import Scene
from rotomem.propagation import PropagatedFrame
from rotomem.propagation.cued_engine import CuedEngine
from rotomem.propagation.engine import Annotations
from rotomem.propagation.shot_tuning import ShotTuning
from rotomem.session.incremental import unchanged_frames
from rotomem.session.shot import ShotAnnotation
from rotomem.vos import Network
from tiny_networks import TINY_WITH_CUE


@pytest.fixture
def engine() -> CuedEngine:
    torch.manual_seed(0)
    return CuedEngine(
        Network(TINY_WITH_CUE),
        weights_sha256="ab" * 32,
        device=torch.device("cpu"),
        tuning=ShotTuning(steps=2, seconds=60.0),
    )


def propagate(engine: CuedEngine, scene: Scene, drawn: Annotations, *names: str) -> dict[int, PropagatedFrame]:
    results = engine.propagate(scene, drawn, names, range(9), cancelled=lambda: False)
    return {result.frame: result for result in results}


def test_sides_that_contradict_each_other_are_told_apart_from_sides_that_agree(engine: CuedEngine) -> None:
    scene = Scene()
    agreeing = propagate(engine, scene, {0: {"a": scene.truth(0)}, 8: {"a": scene.truth(8)}}, "a")
    contradicting = propagate(engine, scene, {0: {"a": scene.truth(0)}, 8: {"a": scene.second(8)}}, "a")
    assert agreeing[0].disagreement is None
    assert agreeing[4].disagreement is not None
    assert contradicting[4].disagreement is not None
    assert agreeing[4].disagreement < 0.3 < contradicting[4].disagreement


def test_an_object_that_joins_mid_shot_is_carried_both_ways_and_leaves_again(engine: CuedEngine) -> None:
    engine.tuning = ShotTuning(enabled=False)  # how fast it learns depends on the clock
    scene = Scene()
    drawn: dict[int, dict[str, np.ndarray]] = {0: {"a": scene.truth(0)}, 8: {"a": scene.truth(8)}}
    first = propagate(engine, scene, drawn, "a")
    joined = propagate(engine, scene, {**drawn, 5: {"b": scene.second(5)}}, "a", "b")
    assert all(result.mattes.shape[0] == 2 for result in joined.values())
    for frame in (2, 7):
        assert (joined[frame].mattes[1] > 0.5).any()
    assert np.array_equal(joined[5].mattes[1], scene.second(5))
    left = propagate(engine, scene, drawn, "a")
    assert all(np.array_equal(left[frame].mattes, first[frame].mattes) for frame in range(9))


def test_one_more_annotation_may_change_every_frame_and_none_is_said_to_be_unchanged(engine: CuedEngine) -> None:
    scene = Scene()
    drawn = {frame: {"a": scene.truth(frame)} for frame in (0, 4, 8)}
    first = propagate(engine, scene, drawn, "a")
    second = propagate(engine, scene, {**drawn, 6: {"a": scene.second(6)}}, "a")
    assert not np.array_equal(first[2].mattes, second[2].mattes), "tuning learns from frame 6, gaps away"
    before = [ShotAnnotation(frame, "a", absent=True) for frame in drawn]
    after = [*before, ShotAnnotation(6, "a", absent=True)]
    assert unchanged_frames(engine.name, ["a"], before, after, range(9)) == frozenset()
    assert unchanged_frames(engine.name, ["a"], after, after, range(9)) == frozenset(range(9))
