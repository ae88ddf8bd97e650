from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch

from rotomem.errors import OutputUnwritableError, WeightsCorruptError, WeightsMismatchError
from rotomem.vos import Network, convert_checkpoint, load_network, save_weights
from rotomem.vos.checkpoint import VALUE_STEM, read_published_checkpoint


class Malice:
    """Unpickled the usual way, it runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


@pytest.fixture
def published(network: Network, tmp_path: Path) -> Path:
    path = tmp_path / "XMem.pth"
    torch.save(network.state_dict(), path)
    return path


def test_a_converted_checkpoint_loads_with_its_own_configuration(
    network: Network, published: Path, tmp_path: Path
) -> None:
    destination = tmp_path / "installed" / "xmem.safetensors"
    sha256 = convert_checkpoint(published, destination, network.config)
    loaded = load_network(destination)
    assert loaded.sha256 == sha256 == hashlib.sha256(destination.read_bytes()).hexdigest()
    assert (tmp_path / "installed" / "xmem.safetensors.sha256").read_text() == f"{sha256}  xmem.safetensors\n"
    assert loaded.network.config == network.config
    assert not loaded.network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)
    assert sorted(path.name for path in destination.parent.iterdir()) == [
        "xmem.safetensors",
        "xmem.safetensors.sha256",
    ]


def test_half_precision_weights_load(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    save_weights({name: tensor.half() for name, tensor in network.state_dict().items()}, path, network.config)
    parameter = next(load_network(path).network.parameters())
    assert parameter.dtype == torch.float32


@pytest.mark.parametrize("wrapper", ["network", "state_dict", "model"])
def test_wrappers_and_prefixes_are_stripped(network: Network, tmp_path: Path, wrapper: str) -> None:
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    path = tmp_path / "checkpoint.pth"
    torch.save({"iterations": 7, wrapper: state}, path)
    assert set(read_published_checkpoint(path)) == set(network.state_dict())


def test_a_single_object_stem_gets_an_empty_fifth_channel(network: Network, tmp_path: Path) -> None:
    state = dict(network.state_dict())
    state[VALUE_STEM] = state[VALUE_STEM][:, :4]
    path = tmp_path / "s0.pth"
    torch.save(state, path)
    stem = read_published_checkpoint(path)[VALUE_STEM]
    assert torch.equal(stem[:, :4], state[VALUE_STEM])
    assert torch.equal(stem[:, 4:], torch.zeros(4, 1, 7, 7))
    convert_checkpoint(path, tmp_path / "s0.safetensors", network.config)


def test_a_checkpoint_that_runs_code_is_refused_and_does_not_run_it(tmp_path: Path) -> None:
    marker = tmp_path / "was_here"
    path = tmp_path / "XMem.pth"
    torch.save({"key_encoder.conv1.weight": torch.zeros(1), "extra": Malice(marker)}, path)
    with pytest.raises(WeightsCorruptError, match=r"XMem\.pth is no plain checkpoint"):
        convert_checkpoint(path, tmp_path / "out.safetensors")
    assert not marker.exists()
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"PK\x03\x04 cut short", bytes(1000)])
def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "XMem.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsCorruptError, match=r"XMem\.pth"):
        read_published_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(published: Path) -> None:
    published.write_bytes(published.read_bytes()[:-1000])
    with pytest.raises(WeightsCorruptError):
        read_published_checkpoint(published)


@pytest.mark.parametrize("content", [[1, 2], {"iterations": 7}, {"network": {}}])
def test_checkpoints_without_tensors_are_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "XMem.pth"
    torch.save(content, path)
    with pytest.raises(WeightsCorruptError, match="holds"):
        read_published_checkpoint(path)


def test_missing_unexpected_and_reshaped_tensors_are_named(network: Network, tmp_path: Path) -> None:
    state = dict(network.state_dict())
    del state["decoder.pred.bias"]
    state["decoder.extra"] = torch.zeros(1)
    state["key_proj.d_proj.bias"] = torch.zeros(2)
    path = tmp_path / "other.pth"
    torch.save(state, path)
    with pytest.raises(WeightsMismatchError) as caught:
        convert_checkpoint(path, tmp_path / "out.safetensors", network.config)
    message = str(caught.value)
    assert "1 missing (decoder.pred.bias)" in message
    assert "1 unexpected (decoder.extra)" in message
    assert "1 of another shape (key_proj.d_proj.bias (2,) instead of (1,))" in message
    assert not (tmp_path / "out.safetensors").exists()


def test_another_networks_checkpoint_does_not_print_every_name(published: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsMismatchError, match="…") as caught:
        convert_checkpoint(published, tmp_path / "out.safetensors")
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("position", [100, -1])
def test_a_changed_byte_is_refused(network: Network, tmp_path: Path, position: int) -> None:
    path = tmp_path / "xmem.safetensors"
    save_weights(network.state_dict(), path, network.config)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsCorruptError, match="has changed since it was installed"):
        load_network(path)


def test_a_file_without_its_sha256_is_refused(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "xmem.safetensors"
    save_weights(network.state_dict(), path, network.config)
    path.with_name("xmem.safetensors.sha256").unlink()
    with pytest.raises(WeightsCorruptError, match=r"no readable xmem\.safetensors\.sha256"):
        load_network(path)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, (40).to_bytes(8, "little") + b"x" * 40])
def test_bytes_that_are_no_safetensors_are_refused_even_with_a_right_sha256(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "xmem.safetensors"
    path.write_bytes(content)
    path.with_name("xmem.safetensors.sha256").write_text(hashlib.sha256(content).hexdigest())
    with pytest.raises(WeightsCorruptError, match=r"xmem\.safetensors"):
        load_network(path)


def test_an_unwritable_destination_leaves_nothing_behind(published: Path, network: Network, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputUnwritableError, match="weights cannot be written"):
        convert_checkpoint(published, tmp_path / "file" / "xmem.safetensors", network.config)
