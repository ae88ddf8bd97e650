"""The networks in the place of the classical means: their masks, and their opinion of mattes."""

from __future__ import annotations

import numpy as np
import pytest

from moving_scene import MovingScene, Square
from rotomem.errors import CancelledError
from rotomem.propagation.classical_motion import propose_objects
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_critic import NetworkCritic
from rotomem.propagation.network_motion import propose_by_networks
from rotomem.propagation.network_proposal import network_proposal
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
    expected = propose_by_networks(flow, FRAMES, networks, gap=classical.gap)
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
