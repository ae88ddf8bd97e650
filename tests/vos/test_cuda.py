"""What can be checked without a GPU of the paths that are for one: half precision, and that a compiler can follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rotomem.propagation import xmem_engine
from rotomem.vos import InferenceCore, MemoryConfig, Network
from rotomem.vos.cuda import accelerate_for_cuda

CONFIG = MemoryConfig(mem_every=2, top_k=5)


def play(core: InferenceCore, images: Tensor, masks: Tensor) -> Tensor:
    core.memorize(0, images[0], masks[0])
    return torch.stack([core.step(frame, images[frame]) for frame in range(1, 6)])


@pytest.mark.slow  # loads torch's compiler
def test_the_decoder_compiles_to_one_graph_that_gives_the_same(network: Network, images: Tensor, masks: Tensor) -> None:
    names = list(network.state_dict())
    expected = play(InferenceCore(network, CONFIG, 2), images, masks)
    accelerate_for_cuda(network, compiler_backend="aot_eager")
    actual = play(InferenceCore(network, CONFIG, 2), images, masks)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    assert list(network.state_dict()) == names


def test_nothing_is_compiled_without_a_gpu(network: Network, images: Tensor, masks: Tensor) -> None:
    expected = play(InferenceCore(network, CONFIG, 2), images, masks)
    accelerate_for_cuda(network)
    assert torch.equal(play(InferenceCore(network, CONFIG, 2), images, masks), expected)


def test_the_engine_runs_the_accelerated_network(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerated = []

    def accelerate(network: Network) -> Network:
        accelerated.append((network, network.training))
        return network

    monkeypatch.setattr(xmem_engine, "accelerate_for_cuda", accelerate)
    core = xmem_engine.XMemEngine(network, weights_sha256="", device="cpu").new_core(1, 10)
    assert accelerated == [(network, False)]
    assert core.network is network


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float32_and_keeps_keys_in_it(
    network: Network, images: Tensor, masks: Tensor, half: torch.dtype
) -> None:
    core = InferenceCore(network, CONFIG, 2, autocast=half)
    actual = play(core, images, masks)
    assert actual.dtype == torch.float32
    assert core.memory.permanent.elements["augmented_key"].dtype == torch.float32
    difference = (actual - play(InferenceCore(network, CONFIG, 2), images, masks)).abs()
    assert 1e-6 < float(difference.mean()) < 0.02
