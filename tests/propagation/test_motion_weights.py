"""The motion networks' weights: ours and published ones, and what is said of files that do not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from rotomem.errors import WeightsCorruptError, WeightsMismatchError, WeightsMissingError
from rotomem.motion import Corrector, CorrectorConfig, DinoConfig, DinoFeatures, FlowConfig, FlowSegmenter, Selector
from rotomem.propagation.motion_networks import (
    has_motion_networks,
    load_motion_network,
    load_motion_networks,
)
from rotomem.vos import Network, save_weights
from tiny_motion import TINY_CORRECTOR, TINY_FLOW, TINY_SELECTOR
from tiny_networks import TINY


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All three networks, trained on the features of ``TINY``'s key encoder, whose weights lie beside them."""
    coarse, fine = TINY.feature_dims[2], TINY.feature_dims[1]
    selector = dataclasses.replace(TINY_SELECTOR, feature_dim=coarse)
    corrector = dataclasses.replace(TINY_CORRECTOR, feature_dim=fine)
    for name, network in (
        ("flow", FlowSegmenter(TINY_FLOW)),
        ("selector", Selector(selector)),
        ("corrector", Corrector(corrector)),
    ):
        save_weights(network.state_dict(), tmp_path / "motion" / f"{name}.safetensors", network.config)
    save_weights(Network(TINY).state_dict(), tmp_path / "key.safetensors", TINY)
    return tmp_path / "motion"


def test_our_own_networks_see_our_own_features(folder: Path) -> None:
    assert has_motion_networks(folder)
    networks = load_motion_networks(folder, key_weights=folder.parent / "key.safetensors")
    images = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        assert networks.coarse_features(images).shape == (2, 2, 3, TINY.feature_dims[2])
        assert networks.fine_features(images).shape == (2, 4, 6, TINY.feature_dims[1])
    assert not any(parameter.requires_grad for parameter in networks.corrector.parameters())


def test_a_missing_network_is_named_with_what_to_do(folder: Path) -> None:
    (folder / "selector.safetensors").unlink()
    assert not has_motion_networks(folder)
    with pytest.raises(WeightsMissingError, match="rotomem train selector"):
        load_motion_networks(folder, key_weights=folder.parent / "key.safetensors")


def test_published_networks_without_dino_say_which_file_is_missing(folder: Path) -> None:
    published = dataclasses.replace(TINY_SELECTOR, feature_dim=DinoConfig.vits16().width)
    save_weights(Selector(published).state_dict(), folder / "selector.safetensors", published)
    with pytest.raises(WeightsMissingError, match=r"need dino_vits16\.pth"):
        load_motion_networks(folder, key_weights=folder.parent / "key.safetensors")


def test_features_of_another_width_are_refused(folder: Path) -> None:
    other = dataclasses.replace(TINY, key_width=8)
    save_weights(Network(other).state_dict(), folder.parent / "other.safetensors", other)
    with pytest.raises(WeightsMismatchError, match=r"features of 64 channels.*gives 128"):
        load_motion_networks(folder, key_weights=folder.parent / "other.safetensors")


def test_published_checkpoints_load_with_their_own_names(tmp_path: Path) -> None:
    network = FlowSegmenter(TINY_FLOW)
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in network.state_dict().items()}}
    torch.save(wrapped, tmp_path / "flow.pth")
    loaded = load_motion_network(tmp_path / "flow.pth", FlowSegmenter, FlowConfig, config=TINY_FLOW)
    flow = torch.randn(1, 2, 4, 16, 32)
    with torch.no_grad():
        torch.testing.assert_close(loaded(flow).amodal_logits, network.eval()(flow).amodal_logits)


def test_tensors_that_are_missing_or_unexpected_are_named(tmp_path: Path) -> None:
    tensors = Corrector(TINY_CORRECTOR).state_dict()
    tensors["decoder.other"] = tensors.pop("rgbmaskdec.mlp_mix.bias")
    torch.save(tensors, tmp_path / "corrector.pth")
    with pytest.raises(WeightsMismatchError) as raised:
        load_motion_network(tmp_path / "corrector.pth", Corrector, CorrectorConfig, config=TINY_CORRECTOR)
    assert "1 missing (rgbmaskdec.mlp_mix.bias)" in str(raised.value)
    assert "1 unexpected (decoder.other)" in str(raised.value)


def test_dino_of_another_patch_is_refused(tmp_path: Path) -> None:
    torch.save(DinoFeatures(DinoConfig.small(8)).state_dict(), tmp_path / "dino_vits16.pth")
    with pytest.raises(WeightsMismatchError, match=r"patch_embed\.proj\.weight \(48, 3, 8, 8\)"):
        load_motion_network(tmp_path / "dino_vits16.pth", DinoFeatures, DinoConfig, config=DinoConfig.small())


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    torch.save({"state_dict": Evil()}, tmp_path / "flow.pth")
    with pytest.raises(WeightsCorruptError, match="run code"):
        load_motion_network(tmp_path / "flow.pth", FlowSegmenter, FlowConfig)
    assert not (tmp_path / "ran").exists()


def test_a_changed_file_is_refused(folder: Path) -> None:
    path = folder / "flow.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsCorruptError, match="has changed"):
        load_motion_networks(folder, key_weights=folder.parent / "key.safetensors")
