"""From a plate to objects: what moves against the camera is found, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from moving_scene import MovingScene, Square
from rotomem.propagation.classical_motion import MotionProposal, propose_objects
from rotomem.propagation.classical_motion.evidence import choose_gap, gather_evidence
from rotomem.propagation.flow import PlateFlow

FRAMES = range(12)


def propose(scene: MovingScene, frames: range = FRAMES) -> MotionProposal:
    return propose_objects(PlateFlow(scene), frames, plate_px=1.0, step=lambda: None)


def iou(ours: np.ndarray, truth: np.ndarray) -> float:
    return float(((ours > 0.5) & truth).sum() / ((ours > 0.5) | truth).sum())


def test_two_objects_are_found_under_a_moving_camera() -> None:
    scene = MovingScene([Square((30, 30), (4, 1), side=56), Square((170, 110), (-4, 0), side=32)], pan=(3, -1))
    proposal = propose(scene)
    assert len(proposal.objects) == 2
    for frame in (0, 5, 11):
        mattes = proposal.mattes(frame, scene.image(frame), 2)
        assert iou(mattes[0], scene.truth(frame, 0)) > 0.75
        assert iou(mattes[1], scene.truth(frame, 1)) > 0.75
        assert 0.4 < proposal.confidence(frame, 2) <= 1.0
    assert proposal.figures[5].camera.pan_px == pytest.approx((3, -1), abs=0.1)
    assert proposal.figures[5].camera.rim_share > 0.85
    assert proposal.main_objects()[0] is proposal.objects[0]


@pytest.mark.parametrize("pan", [(0, 0), (4, 2)])
def test_where_nothing_moves_against_the_camera_nothing_is_guessed(pan: tuple[int, int]) -> None:
    proposal = propose(MovingScene(pan=pan))
    assert proposal.objects == ()
    assert proposal.residual_px < 0.5
    image = np.zeros((160, 240, 3), np.float32)
    assert [matte.max() for matte in proposal.mattes(3, image, 2)] == [0.0, 0.0]
    assert proposal.confidence(3, 2) == 0.0


def test_an_object_that_stands_still_for_a_moment_is_still_seen() -> None:
    class Pausing(MovingScene):
        def image(self, frame: int) -> np.ndarray:
            return super().image(min(frame, 7) - min(max(frame - 7, 0), 0) + max(frame - 10, 0))

    scene = Pausing([Square((60, 60), (4, 0), side=40)])
    (found,) = propose(scene, range(16)).objects
    assert all(frame in found.track.sightings for frame in range(16))
    assert iou(found.matte(9, scene.image(9)), scene.truth(7, 0)) > 0.6


def test_slow_motion_is_looked_at_three_frames_apart() -> None:
    slow = MovingScene([Square((60, 60), (0.4, 0), side=60)])
    fast = MovingScene([Square((30, 60), (5, 0), side=60)])
    assert choose_gap(PlateFlow(slow), FRAMES) == 3
    assert choose_gap(PlateFlow(fast), FRAMES) == 1
    assert choose_gap(PlateFlow(slow), range(3)) == 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_shots_of_any_length_are_taken(count: int) -> None:
    steps = []
    proposal = propose_objects(
        PlateFlow(MovingScene([Square((60, 60), (5, 0), side=60)])),
        range(7, 7 + count),
        plate_px=1.0,
        step=lambda: steps.append(1),
    )
    assert list(proposal.figures) == list(range(7, 7 + count))
    assert len(steps) == 3 * count
    assert bool(proposal.objects) == (count > 1)


def test_evidence_that_does_not_fit_into_memory_waits_on_disk() -> None:
    flow = PlateFlow(MovingScene(pan=(1, 0)))
    own = np.random.default_rng(0).uniform(0, 15, (5, *flow.size)).astype(np.float32)
    in_memory = dict(gather_evidence(flow, range(5), lambda frame: own[frame]))
    on_disk = dict(gather_evidence(flow, range(5), lambda frame: own[frame], spool_bytes=0))
    assert list(in_memory) == [4, 3, 2, 1, 0]
    for frame in range(5):
        assert np.array_equal(in_memory[frame], on_disk[frame])


def test_evidence_is_the_mean_over_the_frames_around_nearer_ones_counting_more() -> None:
    flow = PlateFlow(MovingScene())
    own = [np.full(flow.size, value, np.float32) for value in (0.0, 0.0, 10.0)]
    found = dict(gather_evidence(flow, range(3), lambda frame: own[frame]))
    # Weights 0.8 to the power of the distance.
    assert found[2].mean() == pytest.approx(10 / (1 + 0.8 + 0.64), abs=0.1)
    assert found[0].mean() == pytest.approx(6.4 / (1 + 0.8 + 0.64), abs=0.1)
    assert found[1].mean() == pytest.approx(8 / (1 + 0.8 + 0.8), abs=0.1)
