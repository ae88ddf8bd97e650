from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rotomem.errors import SettingError
from rotomem.vos import MemoryConfig, Network, NetworkConfig
from rotomem.vos.decoder import UpBlock
from rotomem.vos.fusion import FeatureFusion


def test_the_default_has_xmems_size() -> None:
    with torch.device("meta"):
        network = Network()
    assert sum(parameter.numel() for parameter in network.parameters()) == 62_185_224
    assert len(network.state_dict()) == 412


def test_the_small_network_is_the_same_code_below_8_million_parameters() -> None:
    with torch.device("meta"):
        network = Network(NetworkConfig.small())
        published = Network(NetworkConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) < 8_000_000
    kinds = {type(module) for module in published.modules()} - {nn.BatchNorm2d}
    assert {type(module) for module in network.modules()} == kinds | {nn.GroupNorm}


def test_configuration_survives_json() -> None:
    assert NetworkConfig.from_json(NetworkConfig.small().to_json()) == NetworkConfig.small()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"depth": 3}', '{"key_dim": -1}', '{"norm": "layer"}', '{"key_dim": "64"}']
)
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(SettingError):
        NetworkConfig.from_json(text)


def test_a_fusion_needs_a_width_of_its_own() -> None:
    with pytest.raises(SettingError, match="change key_width"):
        FeatureFusion(8, 4, 12, 2)


def test_fusion_in_two_parts_equals_the_concatenated_convolution() -> None:
    torch.manual_seed(0)
    fusion = FeatureFusion(6, 4, 8, 2).double()
    image = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    objects = torch.randn(2, 3, 4, 5, 7, dtype=torch.float64)

    joined = torch.cat([image[:, None].expand(-1, 3, -1, -1, -1), objects], dim=2).flatten(0, 1)
    first = fusion.block1(joined)
    expected = fusion.block2(first + fusion.attention(first))

    torch.testing.assert_close(fusion(fusion.image_part(image), objects.flatten(0, 1)), expected)


def test_one_object_keeps_channels_last_through_the_decoder() -> None:
    """What follows would take several times as long otherwise."""
    torch.manual_seed(0)
    block = UpBlock(4, 128, 128).eval()
    skip, g = (torch.randn(1, 128, *size).to(memory_format=torch.channels_last) for size in ((12, 16), (6, 8)))
    with torch.no_grad():
        assert block(skip, g).is_contiguous(memory_format=torch.channels_last)
    features = FeatureFusion(128, 64, 128, 2).eval()
    with torch.no_grad():
        part = features.image_part(torch.randn(1, 128, 6, 8).to(memory_format=torch.channels_last))
        fused = features(part, torch.randn(1, 64, 6, 8).to(memory_format=torch.channels_last))
    assert fused.is_contiguous(memory_format=torch.channels_last)


def test_attention_gates_multiply_by_the_sigmoid_of_pooled_maps() -> None:
    torch.manual_seed(0)
    gate = FeatureFusion(6, 4, 8, 2).attention
    x = torch.randn(1, 8, 3, 3)
    average = F.adaptive_avg_pool2d(x, 1)
    maximum = F.adaptive_max_pool2d(x, 1)
    mlp = gate.ChannelGate.mlp
    gated = x * torch.sigmoid(mlp(average) + mlp(maximum))[:, :, None, None]
    pooled = torch.stack([gated.max(dim=1).values, gated.mean(dim=1)], dim=1)
    expected = gated * torch.sigmoid(gate.SpatialGate.spatial.conv(pooled))
    torch.testing.assert_close(gate(x), expected)


def test_stages_have_the_documented_shapes(network: Network, images: Tensor, masks: Tensor) -> None:
    image = F.pad(images[:1], (4, 4, 4, 4))
    given = F.pad(masks[:1], (4, 4, 4, 4))
    with torch.no_grad():
        features = network.encode_key(image)
        value = network.encode_value(image, features, given, given.flip(1))
        readout = network.read(
            features.key.flatten(2), features.shrinkage.flatten(2), value.flatten(3), features, top_k=30
        )
        hidden = torch.zeros(1, 2, 4, 3, 4)
        logits, updated = network.decode(features, readout, hidden, update_hidden=True)
        _, kept = network.decode(features, readout, hidden, update_hidden=False)
    assert features.key.shape == features.selection.shape == (1, 8, 3, 4)
    assert features.shrinkage.min() >= 1
    assert value.shape == readout.shape == (1, 2, 12, 3, 4)
    assert logits.shape == (1, 2, 48, 64)
    assert updated.shape == hidden.shape
    assert not torch.equal(updated, hidden)
    assert torch.equal(kept, hidden)
    assert not torch.equal(network.reinforce_hidden(value, hidden), updated)


def test_every_parameter_can_be_trained(network: Network, images: Tensor, masks: Tensor) -> None:
    image, given = F.pad(images[:1], (4, 4, 4, 4)), F.pad(masks[:1], (4, 4, 4, 4))
    first = network.encode_key(image)
    value = network.encode_value(image, first, given, given.flip(1))
    hidden = network.reinforce_hidden(value, torch.zeros(1, 2, 4, 3, 4))
    for frame in (1, 2):
        query = network.encode_key(F.pad(images[frame : frame + 1], (4, 4, 4, 4)))
        readout = network.read(first.key.flatten(2), first.shrinkage.flatten(2), value.flatten(3), query, top_k=5)
        logits, hidden = network.decode(query, readout, hidden, update_hidden=True)
    logits.square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mem_every", 0),
        ("top_k", 0),
        ("max_mid_term_frames", 5),
        ("max_long_term_elements", 100),
        ("num_prototypes", 0),
    ],
)
def test_impossible_memory_settings_are_refused(field: str, value: int) -> None:
    with pytest.raises(SettingError, match=field):
        dataclasses.replace(MemoryConfig(), **{field: value})


def test_long_term_usage_is_counted_from_391_frames_on() -> None:
    assert not MemoryConfig().for_shot(390).count_long_term_usage
    assert MemoryConfig().for_shot(391).count_long_term_usage


def test_a_shot_that_just_fills_long_term_memory_counts_its_usage() -> None:
    # 50 / (10 - 5) * 128 = 1280
    config = MemoryConfig(max_long_term_elements=1280)
    assert config.for_shot(50).count_long_term_usage
    assert not config.for_shot(49).count_long_term_usage
