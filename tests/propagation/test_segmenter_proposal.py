"""Objects where the shipped flow segmenter sees motion."""

from __future__ import annotations

import numpy as np
import pytest

from moving_scene import MovingScene, Square
from rotomem.engine_names import SHIPPED_SEGMENTER
from rotomem.errors import CancelledError
from rotomem.motion import FlowSegmenter
from rotomem.propagation.classical_motion import MotionProposal, propose_objects
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_networks import load_segmenter
from rotomem.propagation.segmenter_proposal import LEAST_SHARE, segmenter_proposal
from rotomem.weights_files import expected_sha256

FRAMES = range(12)


@pytest.fixture(scope="module")
def segmenter() -> FlowSegmenter:
    return load_segmenter(SHIPPED_SEGMENTER)


def classical(scene: MovingScene) -> tuple[PlateFlow, MotionProposal]:
    flow = PlateFlow(scene, longer_side_px=240)
    return flow, propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)


def test_the_shipped_weights_are_small_and_have_their_sum_and_card_beside_them() -> None:
    assert SHIPPED_SEGMENTER.stat().st_size < 5_000_000
    assert len(expected_sha256(SHIPPED_SEGMENTER)) == 64
    card = SHIPPED_SEGMENTER.with_name("model_card.md").read_text(encoding="utf-8")
    assert expected_sha256(SHIPPED_SEGMENTER) in card


def test_what_moves_is_found_under_a_moving_camera(segmenter: FlowSegmenter) -> None:
    scene = MovingScene([Square((30, 40), (5, 1), side=64)], pan=(1, 0))
    flow, before = classical(scene)
    found = segmenter_proposal(flow, before, segmenter)
    assert found.figures is before.figures
    strongest = found.objects[0]
    for frame in FRAMES:
        mask, truth = strongest.track.sightings[frame].mask.unpack(), scene.truth(frame, 0)
        assert (mask & truth).sum() > 0.6 * (mask | truth).sum(), frame
    assert strongest.share == 1.0
    assert all(LEAST_SHARE <= other.share <= 1 for other in found.objects)
    assert 0.3 < np.mean([strongest.confidence(frame) for frame in FRAMES]) <= 1


def test_where_nothing_moves_the_network_is_not_asked(segmenter: FlowSegmenter) -> None:
    flow, before = classical(MovingScene(pan=(2, 1)))
    assert before.objects == ()
    assert segmenter_proposal(flow, before, segmenter) is before


def test_it_stops_when_told(segmenter: FlowSegmenter) -> None:
    flow, before = classical(MovingScene([Square((30, 40), (5, 1), side=64)]))
    with pytest.raises(CancelledError, match="the finished mattes are kept"):
        segmenter_proposal(flow, before, segmenter, cancelled=lambda: True)
