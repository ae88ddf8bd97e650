"""The motion networks' numbers against the published implementations', with the same weights in both."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rotomem.motion import Corrector, DinoConfig, DinoFeatures, FlowSegmenter, Selector, normalise_frames
from rotomem.motion.correction import correct_masks, gather_exemplars
from rotomem.motion.frames import windows
from rotomem.motion.selector import choose_exemplars, exemplar_scores, relative_error

EXACT = 1e-4
HALF = 2e-3


def names_and_shapes(folder: Path, name: str) -> dict[str, list[int]]:
    content: dict[str, list[int]] = json.loads((folder / f"{name}.state_dict.json").read_text())
    return content


def fill(network: nn.Module, shared: Path) -> None:
    spec = importlib.util.spec_from_file_location("conformance_weights", shared / "conformance" / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network.load_state_dict(module.fill_state_dict(network.state_dict()))
    network.eval()


def check_tensors(make: Callable[[], nn.Module], folder: Path, name: str, parameters: int) -> None:
    with torch.device("meta"):
        network = make()
    shapes = {tensor: list(value.shape) for tensor, value in network.state_dict().items()}
    assert shapes == names_and_shapes(folder, name)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


def difference(ours: Tensor, published: Any) -> float:
    expected = torch.from_numpy(np.asarray(published)).float()
    assert ours.shape == expected.shape
    return float((ours.float() - expected).abs().max())


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "conformance" / "motion"


@pytest.fixture(scope="module")
def refinement(folder: Path) -> dict[str, Any]:
    with np.load(folder / "refinement.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def images(refinement: dict[str, Any]) -> Tensor:
    return normalise_frames(torch.from_numpy(refinement["frames"]).permute(0, 3, 1, 2).float() / 255)


@pytest.mark.parametrize(
    ("name", "config", "parameters"),
    [
        ("dino_vits16", DinoConfig.vits16(), 21_665_664),
        ("dino_vits8", DinoConfig.vits8(), 21_670_272),
    ],
)
def test_dino_has_the_published_tensors(folder: Path, name: str, config: DinoConfig, parameters: int) -> None:
    check_tensors(lambda: DinoFeatures(config), folder, name, parameters)


@pytest.mark.parametrize(
    ("array", "config"), [("dino16", DinoConfig.vits16()), ("dino8", DinoConfig.vits8())], ids=["vits16", "vits8"]
)
def test_dino_gives_the_published_features(
    shared: Path, refinement: dict[str, Any], images: Tensor, array: str, config: DinoConfig
) -> None:
    network = DinoFeatures(config)
    fill(network, shared)
    published = refinement[array]
    with torch.no_grad():
        features = network(images[: len(published)])
    assert difference(features.flatten(1, 2), published) < HALF


def test_flow_segmenter_has_the_published_tensors(folder: Path) -> None:
    check_tensors(FlowSegmenter, folder, "oclr", 20_660_932)


def test_flow_segmenter_gives_the_published_shapes_and_order(shared: Path, folder: Path) -> None:
    network = FlowSegmenter()
    fill(network, shared)
    with np.load(folder / "oclr.npz") as arrays, torch.no_grad():
        segmentation = network(torch.from_numpy(arrays["flow"]).float())
        assert difference(segmentation.amodal_logits, arrays["amodal_logits"]) < EXACT
        assert difference(segmentation.order, arrays["order"]) < EXACT


def test_selector_has_the_published_tensors(folder: Path) -> None:
    check_tensors(Selector, folder, "selector", 3_301_475)


def test_selector_gives_the_published_errors_and_exemplars(
    shared: Path, refinement: dict[str, Any], images: Tensor
) -> None:
    dino, network = DinoFeatures(DinoConfig.vits16()), Selector()
    fill(dino, shared)
    fill(network, shared)
    masks = torch.from_numpy(refinement["masks"])[None].float()
    with torch.no_grad():
        error_map = network(images[None], masks, dino(images)[None]).softmax(dim=3)
    scores = exemplar_scores(relative_error(error_map, masks))
    assert difference(error_map[:, :3], refinement["error_map"]) < HALF
    assert difference(scores, refinement["scores"]) < EXACT
    assert choose_exemplars(scores, 4).tolist() == refinement["exemplars"].tolist()


def test_corrector_has_the_published_tensors(folder: Path) -> None:
    check_tensors(Corrector, folder, "corrector", 16_243_844)


def test_corrector_gives_the_published_queries_and_masks(
    shared: Path, refinement: dict[str, Any], images: Tensor
) -> None:
    dino, network = DinoFeatures(DinoConfig.vits8()), Corrector()
    fill(dino, shared)
    fill(network, shared)
    masks = torch.from_numpy(refinement["masks"]).float()
    scores = torch.from_numpy(refinement["scores"])
    frames = torch.from_numpy(refinement["exemplars"])[0]
    with torch.no_grad():
        features = dino(images)
        exemplars = gather_exemplars(masks, features, scores[0], frames)
        window = slice(0, 7)
        correction = network(images[None, window], masks[None, window], features[None, window], exemplars)
        reconstruction = network.reconstruct(correction.queries, 16, 28)
    assert difference(reconstruction.alpha, refinement["window0_alpha"]) < EXACT
    assert difference(reconstruction.features[:, :1, :1], refinement["window0_features"]) < HALF
    assert difference(correction.logits[:, :2], refinement["window0_logits"]) < EXACT
    corrected = correct_masks(network, images, masks, features, scores[0], frames)
    assert difference(corrected[None], refinement["prob"]) < HALF
    assert [list(window) for window in windows(10, 7)] == refinement["windows"].tolist()
