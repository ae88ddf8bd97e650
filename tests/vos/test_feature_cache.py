from __future__ import annotations

import torch
from torch import Tensor

from rotomem.vos import FeatureCache, InferenceCore, MemoryConfig, Network


def test_least_recently_used_frames_go_first(network: Network, images: Tensor) -> None:
    image = images[:1, :, :32, :48]
    features = network.encode_key(image)
    size = image.nbytes + sum(tensor.nbytes for tensor in features.tensors())
    cache = FeatureCache(max_bytes=2 * size)
    cache.keep(1, image, features)
    cache.keep(2, image, features)
    assert cache.find(1, image) is features
    cache.keep(3, image, features)
    assert len(cache) == 2
    assert cache.find(2, image) is None
    assert cache.find(1, image) is features


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
