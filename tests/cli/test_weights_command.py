"""``rotomem weights``: where the published ones come from, and a published checkpoint from download to engine."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from rotomem.cli import main
from rotomem.propagation import make_engine
from rotomem.vos import Network, NetworkConfig
from rotomem.vos.published_weights import PUBLISHED


def test_official_tells_addresses_hashes_and_that_nothing_is_downloaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "official"]) == 0
    told = capsys.readouterr().out
    for weights in PUBLISHED:
        assert weights.url in told
    assert "16205ad04bfc55b442bd4d7af894382e09868b35e10721c5afc09a24ea8d72d9" in told
    assert told.count("not published") == len(PUBLISHED) - 1
    assert "Nothing is downloaded" in told


def test_list_says_where_published_weights_come_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list", "--weights-dir", str(tmp_path)]) == 0
    assert "rotomem weights official" in capsys.readouterr().out


def test_a_published_checkpoint_is_verified_converted_and_used_with_the_full_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Network(NetworkConfig()).state_dict().items()}
    checkpoint, folder = tmp_path / "XMem.pth", tmp_path / "weights"
    torch.save({name: torch.zeros(shape, dtype=torch.half) for name, shape in shapes.items()}, checkpoint)
    sha256, size = hashlib.sha256(checkpoint.read_bytes()).hexdigest(), checkpoint.stat().st_size
    arguments = ["weights", "add", str(checkpoint), "--weights-dir", str(folder)]
    assert main([*arguments, "--sha256", "0" * 64]) == 5
    assert main([*arguments, "--size", str(size - 1)]) == 5
    assert not folder.exists()
    assert main([*arguments, "--sha256", sha256, "--size", str(size)]) == 0
    told = capsys.readouterr().out
    assert sha256 in told
    assert "XMem's full configuration" in told
    engine = make_engine("xmem", weights_dir=folder, weights="XMem", device="cpu")
    assert engine.weights_sha256 == hashlib.sha256((folder / "XMem.safetensors").read_bytes()).hexdigest()
