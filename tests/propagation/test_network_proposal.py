"""The networks in the place of the classical means: their masks, and their opinion of mattes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moving_scene import MovingScene, Square
from rotomem.errors import CancelledError
from rotomem.propagation.classical_motion import propose_objects
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_critic import NetworkCritic
from rotomem.propagation.network_motion import propose_by_networks
from rotomem.propagation.network_proposal import find_masks, network_proposal
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


def test_what_a_young_segmenter_sees_is_linked_before_it_is_corrected(flow: PlateFlow) -> None:
    classical = propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)
    networks = tiny_motion_networks()
    given = find_masks(flow, classical, networks).flow_masks
    linked = segmenter_proposal(flow, classical, networks.segmenter)
    assert given.shape[:2] == (len(FRAMES), len(linked.main_objects()))
    for frame in FRAMES:
        sighting = linked.main_objects()[0].track.sightings.get(frame)
        share = 0.0 if sighting is None else float(sighting.mask.unpack().mean())
        assert float(given[frame - FRAMES[0], 0].mean()) == pytest.approx(share, abs=0.02)


def test_published_networks_correct_what_their_segmenter_draws(
    flow: PlateFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    classical = propose_objects(flow, FRAMES, plate_px=1.0, step=lambda: None)
    networks = tiny_motion_networks()
    monkeypatch.setattr("rotomem.propagation.network_proposal.FlowConfig", lambda: networks.segmenter.config)
    found = find_masks(flow, classical, networks)
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
