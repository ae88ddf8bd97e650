"""Measuring mattes from motion alone on clips with truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rotomem.engine_names import SHIPPED_SEGMENTER
from rotomem.errors import SettingError
from rotomem.motion import Corrector, FlowSegmenter, Selector
from rotomem.training.footage import find_clips
from rotomem.training.motion_evaluation import (
    CLASSICAL,
    SEGMENTED,
    SegmenterProposer,
    classical_mattes,
    draw_footage,
    measure_proposals,
)
from rotomem.training.network_proposals import ADAPTED, CORRECTED, FLOW_MASKS, NetworkProposer
from rotomem.vos import Network, save_weights
from tiny_motion import TINY_CORRECTOR, TINY_FLOW, TINY_SELECTOR
from tiny_networks import TINY


@pytest.fixture
def networks(tmp_path: Path) -> NetworkProposer:
    """Untrained ones, which adapt for two steps."""
    coarse, fine = TINY.feature_dims[2], TINY.feature_dims[1]
    for name, network in (
        ("flow", FlowSegmenter(TINY_FLOW)),
        ("selector", Selector(dataclasses.replace(TINY_SELECTOR, feature_dim=coarse))),
        ("corrector", Corrector(dataclasses.replace(TINY_CORRECTOR, feature_dim=fine))),
    ):
        save_weights(network.state_dict(), tmp_path / "weights" / f"{name}.safetensors", network.config)
    save_weights(Network(TINY).state_dict(), tmp_path / "key.safetensors", TINY)
    return NetworkProposer(tmp_path / "weights", key_weights=tmp_path / "key.safetensors", adapt_steps=2)


def test_every_stage_is_measured_beside_the_classical_proposal_and_kept(
    clips: Path, tmp_path: Path, networks: NetworkProposer
) -> None:
    footage = find_clips(clips, ["moving"])
    proposers = {(CLASSICAL,): classical_mattes, networks.names: networks}
    weights = dict.fromkeys(networks.names, networks.sha256)
    told = []
    report = measure_proposals(
        footage, out=tmp_path / "out", proposers=proposers, weights_sha256=weights, on_score=told.append
    )
    assert [score.condition.engine for score in report.scores] == [CLASSICAL, FLOW_MASKS, CORRECTED, ADAPTED]
    assert [bool(score.condition.weights_sha256) for score in report.scores] == [False, True, True, True]
    # A square of 24 x 24 that moves 4 px a frame over a wall that does not.
    assert report.scores[0].j > 0.6
    seconds = [score.seconds for score in report.scores[1:]]
    assert seconds == sorted(seconds)
    assert len(told) == 4
    again = measure_proposals(
        footage, out=tmp_path / "out", proposers=proposers, weights_sha256=weights, on_score=told.append
    )
    assert again == report
    assert len(told) == 4


def test_the_shipped_segmenter_is_measured_by_itself(clips: Path, tmp_path: Path) -> None:
    segmented = SegmenterProposer(SHIPPED_SEGMENTER)
    proposers = {(SEGMENTED,): segmented}
    report = measure_proposals(
        find_clips(clips, ["moving"]),
        out=tmp_path / "out",
        proposers=proposers,
        weights_sha256={SEGMENTED: segmented.sha256},
    )
    (score,) = report.scores
    assert (score.condition.engine, score.condition.weights_sha256) == (SEGMENTED, segmented.sha256)
    assert score.j > 0.6


def test_mattes_have_the_plates_size(clips: Path, networks: NetworkProposer) -> None:
    (source,) = find_clips(clips, ["still"])
    clip = source.open()
    for mattes, _ in networks(clip, 640).values():
        assert mattes.shape == (4, 64, 96)
        assert mattes.dtype == np.bool_


def test_clips_are_drawn_by_a_seed(clips: Path) -> None:
    footage = find_clips(clips, None)
    assert draw_footage(footage, 2, seed=1) == list(footage)
    assert len({draw_footage(footage, 1, seed=seed)[0].name for seed in range(8)}) == 2
    with pytest.raises(SettingError, match="3 clips cannot be drawn from 2"):
        draw_footage(footage, 3, seed=1)
