"""The optimised path against the published order of operations, and the pieces in which they differ."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.commands.benchmark_shot import moving_shot, random_network
from rotomem.vos import FeatureCache, InferenceCore, MemoryConfig, Network, NetworkConfig, memory_bank
from rotomem.vos.convolution import Convolution, plain_arithmetic
from rotomem.vos.plain_core import PlainCore
from rotomem.vos.similarity import top_k_softmax
from rotomem.vos.winograd import transform_weight, winograd_conv3x3

COMPRESSING = MemoryConfig(
    mem_every=1, min_mid_term_frames=1, max_mid_term_frames=3, num_prototypes=6, max_long_term_elements=16, top_k=5
)
WIDE = NetworkConfig(
    key_width=32,
    key_blocks=(1, 1, 1),
    value_width=32,
    value_blocks=(1, 1, 1),
    key_dim=16,
    value_dim=128,
    hidden_dim=16,
    decoder_widths=(128, 128, 128),
    sensory_width=32,
)
"""Wide enough for every shortcut to be taken."""


@pytest.fixture(scope="module")
def wide_network() -> Network:
    torch.manual_seed(0)
    network = Network(WIDE).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.1)
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=(1 / parameter[0].numel()) ** 0.5)
    return network


@pytest.mark.parametrize("counts_usage", [True, False])
@pytest.mark.parametrize("width", ["tiny", "wide"])
def test_a_session_with_edits_and_long_term_memory_equals_the_plain_path(
    request: pytest.FixtureRequest, images: Tensor, masks: Tensor, width: str, counts_usage: bool
) -> None:
    network = request.getfixturevalue("network" if width == "tiny" else "wide_network")
    config = dataclasses.replace(COMPRESSING, count_long_term_usage=counts_usage)
    cores = [InferenceCore(network, config, 2, features=FeatureCache(1 << 20)), PlainCore(network, config, 2)]
    moving = []
    for core in cores:
        results = []
        given: dict[int, Tensor] = {}

        def play(core: InferenceCore | PlainCore = core, given: dict[int, Tensor] = given) -> Tensor:
            core.clear_temporary()
            return torch.stack([core.step(f, images[f], given.get(f), last=f == 11) for f in range(12)])

        for frame in (0, 6):
            core.memorize(frame, images[frame], masks[frame])
            given[frame] = masks[frame]
        results.append(play())
        core.memorize(9, images[9], masks[9])
        given[9] = masks[9]
        results.append(play())
        core.memorize(6, images[6], masks[7])
        given[6] = masks[7]
        results.append(play())
        core.forget(0)
        del given[0]
        results.append(play())
        moving.append(torch.stack(results))
    torch.testing.assert_close(moving[0], moving[1], rtol=0, atol=1e-4)
    assert (moving[1][1] - moving[1][0]).abs().max() > 0.01  # the annotations matter, so that equality says something
    assert cores[0].memory.long_term.elements.size > 0


class FollowingCore(PlainCore):
    """The plain path with similarities in float64, reading the elements that another path has chosen.

    Rounding decides which of two nearly tied elements is read, and so does what two paths round in keys. Every choice
    must be the best, but for elements that no float32 arithmetic on these keys can tell from the last one kept.
    """

    NEAR_TIE = 1e-5
    """Similarities of the two paths differ by up to 6e-6 at the last element kept, on the shots below."""

    def __init__(self, network: Network, choices: list[Tensor]) -> None:
        super().__init__(network, exact_similarity=True)
        self.changed = 0
        self._choices = iter(choices)

    def _choose(self, similarity: Tensor) -> tuple[Tensor, Tensor]:
        best, kept = super()._choose(similarity)
        rows = next(self._choices).T
        assert rows.shape == kept.shape
        chosen, own = (torch.zeros_like(similarity, dtype=torch.bool).scatter_(0, r, True) for r in (rows, kept))
        assert torch.equal(chosen.sum(dim=0), own.sum(dim=0))  # none twice
        exchanged = chosen ^ own
        assert ((similarity - best[-1]).abs()[exchanged] < self.NEAR_TIE).all()
        self.changed += int(exchanged.any(dim=0).sum())
        return similarity.gather(0, rows), rows


@pytest.mark.parametrize(
    ("size", "frames"), [((208, 112), 8), pytest.param((432, 240), 20, marks=pytest.mark.slow, id="as-benchmarked")]
)
def test_the_published_configuration_equals_the_plain_path_up_to_proven_near_ties(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], frames: int
) -> None:
    choices: list[Tensor] = []

    def recorded(similarity: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
        rows, weights = top_k_softmax(similarity, top_k)
        choices.append(rows)
        return rows, weights

    monkeypatch.setattr(memory_bank, "top_k_softmax", recorded)
    network = random_network(NetworkConfig())
    images, masks = moving_shot(100, *size, 1)
    moving = []
    for core in (InferenceCore(network, features=FeatureCache(1 << 30)), following := FollowingCore(network, choices)):
        for frame in (0, frames - 1):
            core.memorize(frame, images[frame], masks[frame])
        given = {frame: masks[frame] for frame in (0, frames - 1)}
        moving.append(torch.stack([core.step(f, images[f], given.get(f), last=f == frames - 1) for f in range(frames)]))
    assert len(choices) == frames - 2  # one read for each frame that is not annotated, in one chunk
    torch.testing.assert_close(moving[0], moving[1], rtol=0, atol=1e-5)
    assert following.changed < 0.01 * sum(len(rows) for rows in choices)


@pytest.mark.parametrize(("tile", "bound"), [(2, 1e-5), (4, 5e-5)])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 12), (61, 90), (69, 4)])
def test_winograd_equals_the_direct_sum(tile: int, bound: float, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 20, *size, generator=generator)
    weight, bias = torch.randn(9, 20, 3, 3, generator=generator) / 13, torch.randn(9, generator=generator)
    actual = winograd_conv3x3(x, transform_weight(weight, tile), bias, tile)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1).float()
    torch.testing.assert_close(actual, expected, rtol=0, atol=bound)


def test_changed_weights_are_noticed() -> None:
    torch.manual_seed(0)
    convolution, norm = Convolution(128, 128, 3, padding=1), torch.nn.BatchNorm2d(128).eval()
    x = torch.randn(1, 128, 6, 6)

    def check() -> None:
        with torch.no_grad():
            fast = [convolution(x), convolution.normalised(x, norm), convolution.partial(x[:, 0:128], slice(128))]
            with plain_arithmetic():
                plain = [convolution(x), convolution.normalised(x, norm), convolution(x)]
        for a, b in zip(fast, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(b.abs().max()))

    check()
    with torch.no_grad():
        convolution.weight.mul_(2)  # as an optimiser does
    check()
    with torch.no_grad():
        norm.running_var.add_(1)
    check()
    convolution.load_state_dict({name: tensor * 3 for name, tensor in convolution.state_dict().items()})
    check()
    other = copy.deepcopy(convolution)
    assert not other._derived
    convolution = other
    check()


def test_gradients_take_the_plain_way() -> None:
    convolution = Convolution(128, 128, 3, padding=1)
    convolution(torch.randn(1, 128, 4, 4)).sum().backward()
    assert convolution.weight.grad is not None
    assert not convolution._derived
