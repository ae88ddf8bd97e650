"""A second opinion from motion: what it takes for wrong, and what is edited."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from moving_scene import MovingScene, Square
from rotomem.propagation.classical_motion import propose_objects
from rotomem.propagation.criticised_engine import CriticisedEngine, corrected_matte
from rotomem.propagation.engine import PropagatedFrame
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_critic import ProposalCritic

FRAMES = range(12)


@pytest.fixture(scope="module")
def scene() -> MovingScene:
    return MovingScene([Square((40, 40), (4, 1), side=64)], pan=(1, 0))


@pytest.fixture(scope="module")
def flow(scene: MovingScene) -> PlateFlow:
    return PlateFlow(scene)


@pytest.fixture(scope="module")
def critic(flow: PlateFlow) -> ProposalCritic:
    return ProposalCritic([propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)])


def wrong_matte(scene: MovingScene, frame: int) -> tuple[np.ndarray, tuple[slice, slice], tuple[slice, slice]]:
    """Return a matte with a lump beside the object and a hole in it, and where these are."""
    x, y = 40 + 4 * frame, 40 + frame
    lump = (slice(y + 10, y + 40), slice(x + 64, x + 94))
    hole = (slice(y + 20, y + 50), slice(x + 20, x + 46))
    matte = scene.truth(frame, 0).astype(np.float32)
    matte[lump], matte[hole] = 1.0, 0.0
    return matte, lump, hole


class Wrong:
    """An engine that makes wrong mattes of a given confidence."""

    name, weights_sha256 = "warp", ""

    def __init__(self, scene: MovingScene, confidence: float) -> None:
        self._scene, self._confidence = scene, confidence

    def propagate(self, source, annotations, objects, frames, *, cancelled, focus=None) -> Iterator[PropagatedFrame]:
        for frame in frames:
            drawn = frame in annotations
            matte = annotations[frame]["hero"] if drawn else wrong_matte(self._scene, frame)[0]
            confidence = np.full((160, 240), self._confidence, np.float32)
            yield PropagatedFrame(frame, matte[None], confidence, drawn)


def run(scene: MovingScene, critic: ProposalCritic, flow: PlateFlow, *, confidence: float, correct: bool):
    engine = CriticisedEngine(Wrong(scene, confidence), critic, flow, correct=correct)
    drawn = {0: {"hero": wrong_matte(scene, 0)[0]}}
    results = engine.propagate(scene, drawn, ["hero"], FRAMES, cancelled=lambda: False)
    return {result.frame: result for result in results}, drawn


def test_a_lump_and_a_hole_are_found_and_the_rest_is_not(scene: MovingScene, critic: ProposalCritic) -> None:
    matte, lump, hole = wrong_matte(scene, 5)
    critique = critic([5], matte[None, None])
    error = critique.error[0, 0]
    assert (error[lump] > 0.5).mean() > 0.6
    assert (error[hole] > 0.5).mean() > 0.6
    beside = np.ones_like(error, bool)
    beside[lump] = beside[hole] = False
    assert (error[beside] > 0.5).mean() < 0.01
    assert critique.relative_error[0, 0] == pytest.approx(error.sum() / (matte.sum() + 1))
    right = critic([5], scene.truth(5, 0).astype(np.float32)[None, None])
    assert right.relative_error[0, 0] < 0.05 < critique.relative_error[0, 0]


def test_of_what_stands_still_nothing_is_thought(critic: ProposalCritic) -> None:
    still = np.zeros((160, 240), np.float32)
    still[110:150, 10:60] = 1.0
    critique = critic([5], np.stack([still, np.zeros_like(still)])[None])
    assert not critique.error.any()
    assert not critique.relative_error.any()


def test_only_where_the_propagation_is_not_sure_either_is_anything_edited(
    scene: MovingScene, critic: ProposalCritic, flow: PlateFlow
) -> None:
    unsure, drawn = run(scene, critic, flow, confidence=0.2, correct=True)
    sure, _ = run(scene, critic, flow, confidence=0.9, correct=True)
    told, _ = run(scene, critic, flow, confidence=0.2, correct=False)
    assert sorted(unsure) == list(FRAMES)
    assert np.array_equal(unsure[0].mattes[0], drawn[0]["hero"]), "what is drawn stays bit for bit"
    assert unsure[0].motion_error is None
    for frame in (3, 6, 9):
        matte, _, _ = wrong_matte(scene, frame)
        truth = scene.truth(frame, 0)
        assert np.array_equal(sure[frame].mattes[0], matte)
        assert np.array_equal(told[frame].mattes[0], matte)
        assert told[frame].motion_error.max() > 0.5
        assert told[frame].relative_error > 0.05
        before, after = ((mask > 0.5) ^ truth for mask in (matte, unsure[frame].mattes[0]))
        assert after.sum() < 0.4 * before.sum()


def test_edits_end_on_the_plates_edges_at_its_own_resolution() -> None:
    image = np.zeros((120, 200, 3), np.float32)
    image[30:91, 40:141] = 0.8
    matte = (image[..., 0] > 0).astype(np.float32)
    wrong = matte.copy()
    wrong[:, 90:] = 0.0
    error, target = np.zeros((30, 50), np.float32), np.zeros((30, 50), np.float32)
    error[7:23, 22:36] = 1.0
    target[7:23, 10:36] = 1.0  # a quarter of the plate's size: its right edge is off by 3 pixels
    edited = corrected_matte(wrong, image, np.zeros((120, 200), np.float32), error, target)
    assert np.abs(edited - matte).mean() < 0.004
    far = np.s_[:, :52]
    assert np.array_equal(edited[far], wrong[far]), "away from the edit every pixel stays"
