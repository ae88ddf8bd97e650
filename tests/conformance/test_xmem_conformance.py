"""Our numbers against the published implementation's, with the same weights in both."""

from __future__ import annotations

import importlib.util
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
import torch
from torch import Tensor

from rotomem.vos import InferenceCore, MemoryConfig, Network
from rotomem.vos.aggregate import aggregate, aggregate_log_odds

TOLERANCE = 1e-4
NEAR_TIE_LIMIT = 2e-3
NEAR_TIE_MEAN = 5e-5
"""Largest and mean difference over a sequence with near ties left as they fall; research/propagation.md, Tolerance."""
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class NearTies(Protocol):
    swap_count: int

    def step(self, core: InferenceCore, step: Any, expected: Tensor) -> tuple[InferenceCore, float]: ...


@dataclass(frozen=True)
class Sequence:
    """A conformance file: normalised images (T, 3, H, W), masks (A, K, H, W) of annotated frames, probabilities."""

    images: Tensor
    masks: dict[int, Tensor]
    probabilities: Tensor
    config: MemoryConfig
    sizes: tuple[int, int] | None

    def loaded_core(self, network: Network) -> InferenceCore:
        core = InferenceCore(network, self.config, num_objects=len(next(iter(self.masks.values()))))
        for frame, masks in self.masks.items():
            core.memorize(frame=frame, image=self.images[frame], masks=masks)
        return core

    def step(self, core: InferenceCore, frame: int) -> Tensor:
        last = frame == len(self.images) - 1
        if frame in self.masks:
            return core.step(frame=frame, image=self.images[frame], masks=self.masks[frame], last=last)
        return core.step(frame=frame, image=self.images[frame], last=last)


def normalise(frames: np.ndarray[Any, Any]) -> Tensor:
    return (torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def load_sequence(folder: Path, name: str) -> Sequence:
    arrays = np.load(folder / "xmem" / f"{name}.npz")
    published = json.loads(str(arrays["config"]))
    fields = ("mem_every", "min_mid_term_frames", "max_mid_term_frames", "num_prototypes", "max_long_term_elements")
    config = MemoryConfig(
        **{field: published[field] for field in fields},
        top_k=published["top_k"],
        count_long_term_usage=published["enable_long_term_count_usage"],
    )
    return Sequence(
        images=normalise(arrays["frames"]),
        masks=dict(zip(arrays["permanent"].tolist(), torch.from_numpy(arrays["masks"]).float(), strict=True)),
        probabilities=torch.from_numpy(arrays["prob"]),
        config=config,
        sizes=(int(arrays["long_size"]), int(arrays["work_size"])) if "long_size" in arrays else None,
    )


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "conformance"


@pytest.fixture(scope="module")
def network(folder: Path) -> Network:
    spec = importlib.util.spec_from_file_location("conformance_weights", folder / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    network = Network().eval()
    network.load_state_dict(weights.fill_state_dict(network.state_dict()))
    return network


def test_checkpoint_names_and_shapes(network: Network, folder: Path) -> None:
    published = json.loads((folder / "xmem" / "state_dict.json").read_text())
    assert {name: list(tensor.shape) for name, tensor in network.state_dict().items()} == published
    assert sum(parameter.numel() for parameter in network.parameters()) == 62_185_224


def check_stages(network: Network, folder: Path) -> None:
    """Hold every stage of a single step to the published numbers."""
    arrays = {name: torch.from_numpy(array) for name, array in np.load(folder / "xmem" / "single_step.npz").items()}
    images = normalise(arrays["frames"].numpy())

    def check(name: str, actual: Tensor, *, atol: float = TOLERANCE) -> None:
        torch.testing.assert_close(actual, arrays[name].float(), rtol=0, atol=atol, msg=lambda text: f"{name}: {text}")

    with torch.inference_mode():
        memory = network.encode_key(images[:1])
        for name in ("key", "shrinkage", "selection"):
            check(name, getattr(memory, name))
        check("f16", memory.f16, atol=5e-4)
        masks = aggregate(arrays["mask"][None].float())[:, 1:]
        value = network.encode_value(images[:1], memory, masks, torch.zeros_like(masks))
        check("value", value)
        hidden = network.reinforce_hidden(value, torch.zeros(1, 1, 64, 6, 10))
        check("hidden_after_value", hidden)
        query = network.encode_key(images[1:])
        readout = network.read(memory.key.flatten(2), memory.shrinkage.flatten(2), value.flatten(3), query, top_k=60)
        check("readout", readout)
        logits, hidden = network.decode(query, readout, hidden, update_hidden=True)
        check("hidden_after_segment", hidden)
        check("logits", aggregate_log_odds(logits.sigmoid()))
        check("prob", aggregate(logits.sigmoid()))


def test_single_step_stage_by_stage(network: Network, folder: Path) -> None:
    check_stages(network, folder)


OUTPUTS = {
    "key": "encode_key",
    "shrinkage": "encode_key",
    "selection": "encode_key",
    "f16": "encode_key",
    "value": "encode_value",
    "hidden_after_value": "reinforce_hidden",
    "hidden_after_segment": "decode",
    "logits": "decode",
}
"""Every output of the network, and the method that returns it."""


def raise_by_a_thousandth(monkeypatch: pytest.MonkeyPatch, network: Network, output: str) -> None:
    method = getattr(network, OUTPUTS[output])

    def raised(*arguments: Any, **options: Any) -> Any:
        made = method(*arguments, **options)
        if OUTPUTS[output] == "encode_key":
            setattr(made, output, 1.001 * getattr(made, output))
            return made
        if OUTPUTS[output] == "decode":
            logits, hidden = made
            return (1.001 * logits, hidden) if output == "logits" else (logits, 1.001 * hidden)
        return 1.001 * made

    monkeypatch.setattr(network, OUTPUTS[output], raised)


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_thousandth_in_any_output_is_seen(
    network: Network, folder: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    raise_by_a_thousandth(monkeypatch, network, output)
    with pytest.raises(AssertionError, match=r"^(?!prob)"):
        check_stages(network, folder)


def test_single_step_through_the_core(network: Network, folder: Path) -> None:
    arrays = np.load(folder / "xmem" / "single_step.npz")
    images, mask = normalise(arrays["frames"]), torch.from_numpy(arrays["mask"])
    core = InferenceCore(network, MemoryConfig(mem_every=5, top_k=60), num_objects=1)
    core.memorize(frame=0, image=images[0], masks=mask)
    core.step(frame=0, image=images[0], masks=mask)
    probability = core.step(frame=1, image=images[1], last=False)
    torch.testing.assert_close(probability, torch.from_numpy(arrays["prob"][0]), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["two_objects", "odd_padding"])
def test_sequences_match(network: Network, folder: Path, name: str) -> None:
    sequence = load_sequence(folder, name)
    core = sequence.loaded_core(network)
    for frame, expected in enumerate(sequence.probabilities):
        actual = sequence.step(core, frame)
        torch.testing.assert_close(actual, expected, rtol=0, atol=TOLERANCE, msg=lambda t, f=frame: f"frame {f}: {t}")


@pytest.mark.parametrize("name", ["basic", "long_term"])
def test_sequences_with_near_ties_match(network: Network, folder: Path, near_ties: NearTies, name: str) -> None:
    # See backend/docs/decisions/0006-near-ties-in-top-k.md.
    sequence = load_sequence(folder, name)
    core = sequence.loaded_core(network)
    proven = []
    for frame, expected in enumerate(sequence.probabilities):
        swaps = near_ties.swap_count
        core, error = near_ties.step(core, lambda core, frame=frame: sequence.step(core, frame), expected)
        assert error <= TOLERANCE, f"frame {frame} is {error:.1e} from the published probabilities"
        if near_ties.swap_count > swaps:
            proven.append(frame)
    if sequence.sizes:
        assert (core.memory.long_term.elements.size, core.memory.working.elements.size) == sequence.sizes

    core = sequence.loaded_core(network)
    as_it_is = [(sequence.step(core, frame) - p).abs() for frame, p in enumerate(sequence.probabilities)]
    beyond = {frame: float(d.max()) for frame, d in enumerate(as_it_is) if d.max() > TOLERANCE}
    # Shown in pytest's summary, so that the frames are named on every run.
    warnings.warn(f"{name}: near ties on frames {proven}; beyond {TOLERANCE:.0e} unpatched: {beyond}", stacklevel=1)
    # Up to the first tie both runs are the same. From it on sensory and working memory differ, and later frames inherit
    # that; that nothing else is the cause was shown above, where exchanging the ties alone brought every frame back.
    first_tie = min(proven, default=len(as_it_is))
    assert not [frame for frame in beyond if frame < first_tie], f"{beyond} differ; near ties are on {proven} alone"
    assert max(beyond.values(), default=0.0) <= NEAR_TIE_LIMIT
    assert torch.stack(as_it_is).mean() <= NEAR_TIE_MEAN


def error_of_the_first_step(network: Network, folder: Path, near_ties: NearTies, *, top_k: int = 30) -> float:
    """Return the difference from the published frame 1 of ``basic``, near ties swapped."""
    sequence = load_sequence(folder, "basic")
    core = InferenceCore(network, MemoryConfig(mem_every=5, top_k=top_k), num_objects=1)
    for frame, masks in sequence.masks.items():
        core.memorize(frame, sequence.images[frame], masks)
    sequence.step(core, 0)
    return near_ties.step(core, lambda core: sequence.step(core, 1), sequence.probabilities[1])[1]


def test_swapping_near_ties_does_not_hide_a_wrong_setting(network: Network, folder: Path, near_ties: NearTies) -> None:
    assert error_of_the_first_step(network, folder, near_ties, top_k=29) > TOLERANCE


def test_swapping_near_ties_does_not_hide_a_thousandth(
    network: Network, folder: Path, near_ties: NearTies, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_by_a_thousandth(monkeypatch, network, "logits")
    assert error_of_the_first_step(network, folder, near_ties) > TOLERANCE
