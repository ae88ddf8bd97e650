"""What each use of motion is worth is measured with and without it, and never twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moving_scene import MovingScene, Square
from rotomem.engine_names import SHIPPED_SEGMENTER
from rotomem.motion import Corrector, CorrectorConfig, FlowSegmenter, Selector, SelectorConfig
from rotomem.propagation.motion_exemplars import Exemplar
from rotomem.propagation.motion_networks import CORRECTOR, FLOW, SELECTOR
from rotomem.training.motion_evaluation import measure_proposals
from rotomem.training.motion_use_evaluation import describe_exemplars, measure_uses
from rotomem.vos import save_weights
from tiny_motion import TINY_CORRECTOR, TINY_FLOW, TINY_SELECTOR

FRAMES = 8
MAKERS: dict[str, Any] = {FLOW: FlowSegmenter, SELECTOR: Selector, CORRECTOR: Corrector}
SMALL_SELECTOR = dataclasses.replace(TINY_SELECTOR, feature_dim=SelectorConfig.small().feature_dim)
SMALL_CORRECTOR = dataclasses.replace(TINY_CORRECTOR, feature_dim=CorrectorConfig.small().feature_dim)
"""They see with the key encoder that ships."""


class Scene(MovingScene):
    """Satisfies ``Footage``."""

    def __init__(self) -> None:
        super().__init__([Square((40, 40), (5, 1), side=64)], pan=(1, 0))
        self.truth = np.stack([MovingScene.truth(self, frame, 0)[None] for frame in range(FRAMES)]).astype(np.float32)


class SceneSource:
    """Satisfies ``FootageSource``."""

    set, name, fingerprint = "clips", "square", "1"
    opened = 0

    def open(self) -> Scene:
        self.opened += 1
        return Scene()


def test_each_use_is_measured_beside_the_engine_alone(tmp_path: Path) -> None:
    source = SceneSource()
    report = measure_uses([source], ["warp"], ["off", "correct", "exemplars"], [0, 1], out=tmp_path)
    labels = [(score.condition.engine, score.condition.annotations) for score in report.scores]
    assert labels == [("warp exemplars", 0), ("warp", 1), ("warp correct", 1)]
    assert all(score.j > 0.75 for score in report.scores)
    assert source.opened == 3
    again = measure_uses([source], ["warp"], ["off", "correct", "exemplars"], [0, 1], out=tmp_path)
    assert again == report
    assert source.opened == 3


def test_correction_by_networks_is_measured_beside_that_without(tmp_path: Path) -> None:
    networks = tmp_path / "networks"
    networks.mkdir()
    for name, config in ((FLOW, TINY_FLOW), (SELECTOR, SMALL_SELECTOR), (CORRECTOR, SMALL_CORRECTOR)):
        network = MAKERS[name](config)
        save_weights(network.state_dict(), networks / f"{name}.safetensors", config)
    report = measure_uses([SceneSource()], ["warp"], ["off", "correct"], [1], out=tmp_path, networks=networks)
    alone, corrected = report.scores
    assert corrected.condition.engine == "warp correct by networks"
    assert corrected.condition.weights_sha256
    assert not alone.condition.weights_sha256
    assert 0 <= corrected.j <= 1


def test_what_moves_may_be_found_by_the_flow_segmenter(tmp_path: Path) -> None:
    uses = ["off", "correct", "exemplars"]
    report = measure_uses([SceneSource()], ["warp"], uses, [0, 1], out=tmp_path, segmenter=SHIPPED_SEGMENTER)
    found = {score.condition.engine: score for score in report.scores}
    assert list(found) == ["warp exemplars by segmenter", "warp", "warp correct by segmenter"]
    assert [bool(score.condition.weights_sha256) for score in report.scores] == [True, False, True]
    assert all(score.j > 0.75 for score in report.scores)


def test_the_proposal_is_measured_without_any_annotation(tmp_path: Path) -> None:
    (score,) = measure_proposals([SceneSource()], out=tmp_path).scores
    assert score.condition.annotations == 0
    assert score.j > 0.8
    assert score.j == pytest.approx(measure_proposals([SceneSource()], out=tmp_path).scores[0].j)


def test_exemplars_are_told_with_their_overlap_with_the_truth() -> None:
    scene = Scene()
    half = scene.truth[3, 0].copy()
    half[72:] = 0  # 29 of its 64 rows are left, 43 to 71
    exemplar = Exemplar(3, {"object_1": half}, 0.75)
    assert describe_exemplars([exemplar], ["object_1"], scene) == "  exemplars: 3 (J 0.453, weight 0.75)"
    assert describe_exemplars([], ["object_1"], scene) == "  exemplars: none"
