"""Our suggestions against the published implementation's, with the same weights in both."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rotomem.suggestion import suggest_frames
from rotomem.vos import Network
from rotomem.vos.padding import Padding

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


@pytest.fixture(scope="module")
def network(shared: Path) -> Network:
    spec = importlib.util.spec_from_file_location("conformance_weights", shared / "conformance" / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)
    network = Network().eval()
    network.load_state_dict(weights.fill_state_dict(network.state_dict()))
    return network


def encode(network: Network, frames: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[type-arg]
    images = (torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    images = Padding.to_stride(*images.shape[-2:]).add(images)
    with torch.inference_mode():
        features = [network.encode_key(image[None]) for image in images]
    keys, shrinkages, selections = zip(*((f.key, f.shrinkage, f.selection) for f in features), strict=True)
    return torch.cat(keys), torch.cat(shrinkages), torch.cat(selections)


@pytest.mark.parametrize("name", ["suggestion", "suggestion_two_objects"])
def test_the_published_frames_are_chosen_for_every_alpha(network: Network, shared: Path, name: str) -> None:
    arrays = np.load(shared / "conformance" / "xmem" / f"{name}.npz")
    encoded = encode(network, arrays["frames"])
    masks = torch.from_numpy(arrays["masks"])
    annotated = arrays["annotated"].tolist()
    for alpha, expected in zip(arrays["alphas"].tolist(), arrays["chosen"].tolist(), strict=True):
        chosen = suggest_frames(*encoded, masks, annotated=annotated, count=len(expected), alpha=alpha)
        assert chosen == expected, f"alpha {alpha}"
