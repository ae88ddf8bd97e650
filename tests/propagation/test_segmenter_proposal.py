"""Objects where the shipped flow segmenter sees motion."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import torch

from moving_scene import MovingScene, Square
from rotomem.engine_names import SHIPPED_SEGMENTER
from rotomem.errors import CancelledError
from rotomem.motion import FlowConfig, FlowSegmenter, steady_motion, working_size
from rotomem.propagation.classical_motion import MotionProposal, propose_objects
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_networks import area_for, load_segmenter
from rotomem.propagation.network_motion import shot_flows
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
    assert found.objects is not before.objects
    strongest = found.objects[0]
    for frame in FRAMES:
        mask, truth = strongest.track.sightings[frame].mask.unpack(), scene.truth(frame, 0)
        assert (mask & truth).sum() > 0.6 * (mask | truth).sum(), frame
    assert strongest.share == 1.0
    assert all(LEAST_SHARE <= other.share <= 1 for other in found.objects)
    assert 0.3 < np.mean([strongest.confidence(frame) for frame in FRAMES]) <= 1


def test_it_sees_motion_inside_of_what_moves_and_none_around(segmenter: FlowSegmenter) -> None:
    scene = MovingScene([Square((30, 40), (5, 1), side=64)], pan=(1, 0))
    flow, _ = classical(scene)
    size = working_size(*flow.size, area=area_for(segmenter))
    moving = steady_motion(shot_flows(flow, FRAMES, size), segmenter, size).numpy()
    inside, outside = [], []
    for frame in FRAMES:
        truth = cv2.resize(scene.truth(frame, 0).astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST) > 0
        inside.append(np.mean(moving[frame][truth]))
        outside.append(np.mean(moving[frame][~truth]))
    assert np.mean(inside) > 0.6
    assert np.mean(outside) < 0.25


def test_what_the_network_does_not_see_stays_as_it_was_found(segmenter: FlowSegmenter) -> None:
    flow, before = classical(MovingScene([Square((30, 40), (5, 1), side=64)]))
    blind = copy.deepcopy(segmenter)
    with torch.no_grad():
        blind.decoder_am.conv.bias.fill_(-20)
    assert segmenter_proposal(flow, before, blind) is before


def test_published_segmenters_see_frames_of_the_published_size() -> None:
    assert area_for(FlowSegmenter()) == 128 * 224
    assert area_for(FlowSegmenter(FlowConfig.small())) < 128 * 224


def test_where_nothing_moves_the_network_is_not_asked(segmenter: FlowSegmenter) -> None:
    flow, before = classical(MovingScene(pan=(2, 1)))
    assert before.objects == ()
    assert segmenter_proposal(flow, before, segmenter) is before


def test_it_stops_when_told(segmenter: FlowSegmenter) -> None:
    flow, before = classical(MovingScene([Square((30, 40), (5, 1), side=64)]))
    with pytest.raises(CancelledError, match="the finished mattes are kept"):
        segmenter_proposal(flow, before, segmenter, cancelled=lambda: True)
