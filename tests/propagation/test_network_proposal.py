"""The networks in the place of the classical means: their masks, and their opinion of mattes."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from moving_scene import MovingScene, Square
from rotomem.errors import CancelledError
from rotomem.motion import FlowConfig, FlowSegmenter
from rotomem.propagation.classical_motion import MotionProposal, ProposedObject, propose_objects
from rotomem.propagation.classical_motion.regions import PackedMask
from rotomem.propagation.classical_motion.tracks import Sighting, Track
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_critic import NetworkCritic
from rotomem.propagation.network_motion import propose_by_networks
from rotomem.propagation.network_proposal import find_masks, network_proposal, object_masks
from rotomem.propagation.segmenter_proposal import segmenter_proposal
from tiny_motion import tiny_motion_networks

FRAMES = range(5, 13)


@pytest.fixture(scope="module")
def flow() -> PlateFlow:
    return PlateFlow(MovingScene([Square((30, 30), (4, 1), side=56)], pan=(1, 0)))


def test_their_masks_take_the_place_of_the_classical_ones(flow: PlateFlow) -> None:
    classical = propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)
    networks = tiny_motion_networks()
    found = network_proposal(flow, classical, networks)
    assert (found.figures, found.gap) == (classical.figures, classical.gap), "the diagnosis stays"
    expected = find_masks(flow, classical, networks)
    assert expected is not None
    shown = int((expected.masks.flatten(2).amax(dim=2) > 0.5).any(dim=0).sum())
    assert 0 < len(found.objects) <= shown
    strengths = [item.track.strength for item in found.objects]
    assert strengths == sorted(strengths, reverse=True)
    confidences = expected.confidence.numpy()
    for item in found.objects:
        for frame, sighting in item.track.sightings.items():
            assert sighting.mask.unpack().shape == flow.size
            assert np.isclose(confidences[frame - FRAMES[0]], sighting.confidence, atol=1e-5).any()
    with pytest.raises(CancelledError):
        network_proposal(flow, classical, networks, cancelled=lambda: True)


def test_objects_become_masks_of_the_networks_size() -> None:
    left, right = np.zeros((2, 48, 80), bool)
    left[8:24, 8:32] = True
    right[24:40, 48:72] = True
    strong, weak = Track(), Track()
    for frame in FRAMES:
        strong.see(frame, Sighting(PackedMask.pack(left), 1.0, 1.0, 10.0))
    for frame in (7, 9):
        weak.see(frame, Sighting(PackedMask.pack(right), 1.0, 1.0, 5.0))
    proposal = MotionProposal(FRAMES, 1, {}, (ProposedObject(strong, 1.0), ProposedObject(weak, 0.15)))
    masks = object_masks(proposal, (24, 40)).numpy() > 0.5
    assert masks.shape == (len(FRAMES), 2, 24, 40), "a weak object is one too"
    assert (masks[:, 0] == left[::2, ::2]).all()
    for index, frame in enumerate(FRAMES):
        assert (masks[index, 1] == (right[::2, ::2] & (frame in (7, 9)))).all()


def test_what_a_segmenter_of_ours_sees_is_linked_before_it_is_corrected(flow: PlateFlow) -> None:
    classical = propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)
    networks = tiny_motion_networks()
    found = find_masks(flow, classical, networks)
    assert found is not None
    linked = segmenter_proposal(flow, classical, networks.segmenter)
    size = (found.flow_masks.shape[2], found.flow_masks.shape[3])
    assert torch.equal(found.flow_masks, object_masks(linked, size))


def test_where_ours_sees_nothing_that_lasts_the_classical_objects_stay(flow: PlateFlow) -> None:
    classical = propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)
    networks = tiny_motion_networks()
    blind = copy.deepcopy(networks.segmenter)
    with torch.no_grad():
        blind.decoder_am.conv.weight.zero_()
        blind.decoder_am.conv.bias.fill_(-9)
    assert network_proposal(flow, classical, dataclasses.replace(networks, segmenter=blind)) is classical


def test_a_published_segmenters_masks_are_corrected_as_they_come(flow: PlateFlow) -> None:
    classical = propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)
    torch.manual_seed(0)
    published = FlowSegmenter(FlowConfig()).eval().requires_grad_(False)
    networks = dataclasses.replace(tiny_motion_networks(), segmenter=published)
    found = find_masks(flow, classical, networks)
    assert found is not None
    expected = propose_by_networks(flow, FRAMES, networks, gap=classical.gap)
    assert torch.equal(found.masks, expected.masks)


def test_where_nothing_moves_they_are_not_asked() -> None:
    still = PlateFlow(MovingScene())
    classical = propose_objects(still, FRAMES, plate_px=1.0, step=lambda: None)
    assert network_proposal(still, classical, tiny_motion_networks()) is classical


def test_their_opinion_of_mattes_has_the_mattes_size(flow: PlateFlow) -> None:
    mattes = np.zeros((3, 2, *flow.size), np.float32)
    mattes[:, 0, 40:90, 50:110] = 1.0
    critique = NetworkCritic(flow, tiny_motion_networks())([5, 6, 7], mattes)
    for part in (critique.error, critique.target):
        assert part.shape == mattes.shape
        assert 0 <= part.min() <= part.max() <= 1
    assert critique.relative_error.shape == (3, 2)
    assert (critique.relative_error[:, 0] > 0).all()
    assert not critique.relative_error[:, 1].any(), "what is not there has no error relative to its area"
