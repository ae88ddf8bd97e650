"""Exemplars found by motion stand beside what is drawn, at a lower rank."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from moving_scene import MovingScene, Square
from rotomem.propagation.classical_motion import propose_objects
from rotomem.propagation.engine import Annotations
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_exemplars import (
    Exemplar,
    TakesExemplars,
    exemplars_beside,
    find_exemplars,
    survives_round_trip,
)
from rotomem.propagation.xmem_engine import XMemEngine, XMemSettings
from tiny_networks import random_network

FRAMES = range(16)


@pytest.fixture(scope="module")
def scene() -> MovingScene:
    return MovingScene([Square((30, 30), (4, 1), side=56), Square((170, 110), (-4, 0), side=32)], pan=(1, 0))


def matte(scene: MovingScene, frame: int, index: int) -> np.ndarray:
    return scene.truth(frame, index).astype(np.float32)


def exemplars_of(scene: MovingScene, objects: list[str], annotations: Annotations) -> list[Exemplar]:
    flow = PlateFlow(scene)
    proposal = propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)
    return find_exemplars(scene, flow, [proposal], objects, annotations)


def test_without_any_drawing_the_objects_are_those_that_move_most(scene: MovingScene) -> None:
    found = exemplars_of(scene, ["large", "small"], {})
    assert found
    for exemplar in found:
        assert 0 < exemplar.weight < 1
        for index, name in enumerate(["large", "small"]):
            if name in exemplar.mattes:
                truth = scene.truth(exemplar.frame, index)
                ours = exemplar.mattes[name] > 0.5
                assert (ours & truth).sum() > 0.7 * (ours | truth).sum()
    frames = [exemplar.frame for exemplar in found if "large" in exemplar.mattes]
    assert 1 <= len(frames) <= 4
    assert all(later - earlier >= 5 for earlier, later in pairwise(frames))


def test_what_moves_is_the_object_that_is_drawn_there(scene: MovingScene) -> None:
    drawn = {3: {"hero": matte(scene, 3, 1)}}
    found = exemplars_of(scene, ["hero"], drawn)
    assert found
    for exemplar in found:
        assert abs(exemplar.frame - 3) >= 5
        truth = scene.truth(exemplar.frame, 1)
        ours = exemplar.mattes["hero"] > 0.5
        assert (ours & truth).sum() > 0.7 * (ours | truth).sum()
    nowhere = {3: {"hero": np.zeros((160, 240), np.float32)}}
    assert exemplars_of(scene, ["hero"], nowhere) == []


def test_a_mask_that_flow_does_not_support_does_not_return(scene: MovingScene) -> None:
    flow = PlateFlow(scene)
    assert survives_round_trip(flow, FRAMES, 4, scene.truth(4, 0))

    class Flicker(MovingScene):
        def image(self, frame: int) -> np.ndarray:
            return MovingScene(seed=frame).image(0)

    assert not survives_round_trip(PlateFlow(Flicker()), FRAMES, 4, scene.truth(4, 0))


def test_drawing_replaces_exemplars_nearby() -> None:
    nothing = np.zeros((4, 4), np.float32)
    exemplars = [Exemplar(frame, {"hero": nothing, "car": nothing}, 0.5) for frame in (2, 10)]
    left = exemplars_beside(exemplars, {"hero": [4], "car": [20]})
    assert [(exemplar.frame, list(exemplar.mattes)) for exemplar in left] == [(2, ["car"]), (10, ["hero", "car"])]
    assert exemplars_beside(exemplars[:1], {"hero": [1], "car": [3]}) == []


def test_an_engine_with_a_memory_reads_exemplars(scene: MovingScene) -> None:
    torch.manual_seed(0)
    network = random_network()
    drawn = {0: {"hero": matte(scene, 0, 0)}}

    def result(exemplars: list[Exemplar]) -> np.ndarray:
        engine = XMemEngine(network, weights_sha256="", device="cpu", settings=XMemSettings(processing_size=48))
        assert isinstance(engine, TakesExemplars)
        engine.exemplars = exemplars
        frames = engine.propagate(scene, drawn, ["hero"], range(3, 5), cancelled=lambda: False)
        return np.stack([frame.mattes for frame in frames])

    without = result([])
    exemplar = Exemplar(8, {"hero": matte(scene, 8, 0)}, 0.9)
    assert not np.allclose(result([exemplar]), without)
    beside = Exemplar(1, {"hero": matte(scene, 1, 0)}, 0.9)
    assert np.array_equal(result([beside]), without), "drawing has taken its place"
