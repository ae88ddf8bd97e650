"""RAFT as a flow estimator: weights found, refused in one sentence, and any size of frame."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rotomem.errors import WeightsCorruptError, WeightsMismatchError, WeightsMissingError
from rotomem.propagation import raft
from rotomem.propagation.flow import PlateFlow

needs_torchvision = pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None or importlib.util.find_spec("PIL") is None,
    reason="needs torchvision and its pillow",
)


@pytest.fixture
def random_weights(tmp_path: Path) -> Path:
    """A small RAFT as it is initialised, saved under the name that torchvision's own has."""
    torch.manual_seed(0)
    path = tmp_path / "raft_small_C_T_V2-01064c6d.pth"
    torch.save(raft._optical_flow_models().raft_small(weights=None).state_dict(), path)
    return path


class Frames:
    size = (72, 150)

    def image(self, frame: int) -> np.ndarray:
        return np.random.default_rng(frame).random((*self.size, 3)).astype(np.float32)


def test_the_larger_network_is_found_first(tmp_path: Path) -> None:
    assert raft.find_raft_weights(tmp_path) is None
    (tmp_path / "raft_small_C_T_V2-01064c6d.pth").touch()
    assert raft.find_raft_weights(tmp_path).name == "raft_small_C_T_V2-01064c6d.pth"
    (tmp_path / "raft_large_C_T_SKHT_V2-ff5fadd5.pth").touch()
    assert raft.find_raft_weights(tmp_path).name == "raft_large_C_T_SKHT_V2-ff5fadd5.pth"


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match=r"no weights .*raft_small\.pth"):
        raft.RaftEstimator(tmp_path / "raft_small.pth")


def test_a_name_that_tells_no_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatchError, match="which RAFT it holds"):
        raft.RaftEstimator(tmp_path / "flow.pth")


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "raft_small.pth"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsCorruptError, match="download it again"):
        raft.RaftEstimator(path)


def test_without_torchvision_one_sentence_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "raft_small.pth"
    torch.save({}, path)
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", None)  # what Python takes for "not there"
    with pytest.raises(WeightsMissingError, match=r"needs the package torchvision.*--flow dis"):
        raft.RaftEstimator(path)


@needs_torchvision
def test_another_networks_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "raft_large.pth"
    torch.save({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsMismatchError, match="does not fit torchvision's raft_large"):
        raft.RaftEstimator(path)


@needs_torchvision
def test_frames_of_any_size_get_flow_of_that_size(random_weights: Path) -> None:
    flow = PlateFlow(Frames(), estimate=raft.RaftEstimator(random_weights))
    displacement = flow.displacement(0, 1)
    assert displacement.shape == (72, 150, 2)
    assert np.isfinite(displacement).all()


@needs_torchvision
def test_the_network_sees_frames_from_minus_one_to_one(random_weights: Path) -> None:
    seen = []
    estimator = raft.RaftEstimator(random_weights)
    estimator._network.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[:2]))
    frame = np.zeros((72, 150, 3), np.uint8)
    estimator(frame, frame + 255)
    assert seen[0].shape == (1, 3, 128, 152)
    assert seen[0].unique().tolist() == [-1.0]
    assert seen[1].unique().tolist() == [1.0]
