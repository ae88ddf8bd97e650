from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rotomem.propagation.xmem_engine import XMemSettings
from rotomem.vos import FeatureCache, FrameFeatures, InferenceCore, MemoryConfig, Network
from rotomem.vos.decoder import DecoderImagePart
from rotomem.vos.fusion import FusionImagePart


def size_of(image: Tensor, features: FrameFeatures) -> int:
    return image.nbytes + sum(tensor.nbytes for tensor in features.tensors())


def test_finer_features_go_first_then_the_least_recently_used_frames(network: Network, images: Tensor) -> None:
    image = images[:1, :, :32, :48]
    features = network.encode_key(image)
    full, coarse = size_of(image, features), size_of(image, dataclasses.replace(features, finer=None))
    cache = FeatureCache(max_bytes=full + coarse)
    cache.keep(1, image, features)
    cache.keep(2, image, features)
    assert cache.find(2, image) is features
    first = cache.find(1, image)
    assert first is not None
    assert first.finer is None
    assert first.key is features.key
    assert cache.byte_count == full + coarse
    for frame in (3, 4, 5):
        cache.keep(frame, image, features)
    assert cache.byte_count <= cache.max_bytes
    assert cache.find(2, image) is None
    assert cache.find(5, image) is not None
    assert features.finer is not None  # whoever holds them goes on


def test_features_that_grow_are_counted_anew(network: Network, images: Tensor) -> None:
    image = images[:1, :, :32, :48]
    features = network.encode_key(image)
    cache = FeatureCache(max_bytes=1 << 30)
    cache.keep(1, image, features)
    with torch.inference_mode():
        network.decode(features, torch.zeros(1, 1, 12, 2, 3), torch.zeros(1, 1, 4, 2, 3), update_hidden=False)
    cache.keep(1, image, features)
    assert cache.byte_count == size_of(image, features)


def test_the_default_budget_holds_the_keys_of_100_frames() -> None:
    def map_of(channels: int, stride: int) -> Tensor:
        return torch.zeros(1).expand(1, channels, 480 // stride, 864 // stride)  # 854 padded; takes no memory

    image, key, f16 = map_of(3, 1), map_of(64, 16), map_of(1024, 16)
    finer = DecoderImagePart(FusionImagePart(map_of(512, 16), map_of(512, 16)), map_of(512, 8), map_of(256, 4))
    features = FrameFeatures(key=key, shrinkage=map_of(1, 16), selection=key, f16=f16, finer=finer)
    assert size_of(image, features) == pytest.approx(59e6, rel=0.01)
    assert size_of(image, dataclasses.replace(features, finer=None)) == pytest.approx(12.5e6, rel=0.01)
    cache = FeatureCache(XMemSettings().feature_cache_bytes)
    for frame in range(100):
        cache.keep(frame, image, features)
    assert len(cache) == 100
    held = [cache.find(frame, image) for frame in range(100)]
    assert sum(features is not None and features.finer is not None for features in held) == 19
    assert cache.byte_count <= cache.max_bytes


def test_dropped_finer_features_are_computed_again_without_the_key(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    keys: list[int] = []
    network.key_proj.register_forward_hook(lambda *_: keys.append(1))
    padded = torch.zeros(1, 3, 48, 64)
    features = network.encode_key(padded)
    tight = 7 * size_of(padded, dataclasses.replace(features, finer=None)) + features.finer.f4.nbytes
    keys.clear()
    results = []
    for max_bytes in (tight, 1 << 30):
        cache = FeatureCache(max_bytes)
        core = InferenceCore(network, MemoryConfig(mem_every=2), 2, features=cache)
        core.memorize(0, images[0], masks[0])
        for _ in range(2):
            core.clear_temporary()
            results.append(torch.stack([core.step(frame, images[frame]) for frame in range(1, 7)]))
        held = [
            (image, cache.find(frame, image, core._source))
            for frame in range(7)
            for image in [core._prepare(frame, images[frame])]
        ]
        assert cache.byte_count == sum(size_of(image, features) for image, features in held if features) <= max_bytes
    assert len(keys) == 2 * 7
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=0, atol=1e-6)


def test_a_changed_plate_is_encoded_anew(network: Network, images: Tensor) -> None:
    image = images[:1, :, :32, :48]
    cache = FeatureCache(max_bytes=1 << 30)
    cache.keep(1, image, network.encode_key(image))
    assert cache.find(1, image + 1) is None
    assert cache.find(1, image[..., :32]) is None


def test_a_second_pass_encodes_no_key_again_and_gives_the_same(network: Network, images: Tensor, masks: Tensor) -> None:
    calls: list[int] = []
    network.key_encoder.register_forward_hook(lambda *_: calls.append(1))
    core = InferenceCore(network, MemoryConfig(mem_every=2), 2, features=FeatureCache(1 << 30))
    core.memorize(0, images[0], masks[0])

    first = [core.step(frame, images[frame]) for frame in range(1, 5)]
    assert len(calls) == 5
    core.clear_temporary()
    second = [core.step(frame, images[frame]) for frame in range(1, 5)]
    assert len(calls) == 5
    for before, after in zip(first, second, strict=True):
        assert torch.equal(before, after)
