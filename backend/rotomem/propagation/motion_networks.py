"""The motion networks from a folder of weights: published ones with DINO, or our own with our own key encoder.

They stand in a folder of their own, ``motion`` in that of installed weights, since every weights file directly in
there is an XMem network's. In it, each as ``.safetensors`` of ours or as the published ``.pth``: ``flow``,
``selector``, ``corrector``, and for published selectors and correctors ``dino_vits16`` and ``dino_vits8``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rotomem.engine_names import SHIPPED_WEIGHTS
from rotomem.errors import SettingError, WeightsCorruptError, WeightsMismatchError, WeightsMissingError
from rotomem.motion import (
    Corrector,
    CorrectorConfig,
    DinoConfig,
    DinoFeatures,
    FlowConfig,
    FlowSegmenter,
    MotionNetworks,
    Selector,
    SelectorConfig,
)
from rotomem.motion.adaptation import PUBLISHED_RATE
from rotomem.motion.frames import WORKING_AREA
from rotomem.motion.pipeline import Features
from rotomem.vos import Network, load_network
from rotomem.vos.checkpoint import check_tensors, config_json, header_size, read_published_checkpoint, read_verified

FOLDER = "motion"
FLOW, SELECTOR, CORRECTOR = "flow", "selector", "corrector"
DINO_COARSE, DINO_FINE = "dino_vits16", "dino_vits8"
SUFFIXES = (".safetensors", ".pth")
OWN_AREA = 96 * 160
"""Pixels of the frames that our own small networks take."""
OWN_RATE = 2e-4
"""Of adapting our own small corrector; published ones take the paper's."""

Module = TypeVar("Module", bound=nn.Module)
Config = TypeVar("Config", FlowConfig, SelectorConfig, CorrectorConfig, DinoConfig)


class KeyFeatures:
    """Our own key encoder as appearance features; its weights are the shipped ones unless others are given."""

    def __init__(self, network: Network) -> None:
        self._encoder = network.key_encoder
        _, self.fine_dim, self.coarse_dim = network.config.feature_dims

    def coarse(self, images: Tensor) -> Tensor:
        """Return (N, H/16, W/16, coarse_dim) of normalised frames (N, 3, H, W)."""
        return self.both(images)[0]

    def fine(self, images: Tensor) -> Tensor:
        """Return (N, H/8, W/8, fine_dim) likewise."""
        encoder = self._encoder
        f8, _ = encoder.finer(images.to(next(encoder.parameters()).device))
        return _unit(f8)

    def both(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coarse and the fine features."""
        f16, f8, _ = self._encoder(images.to(next(self._encoder.parameters()).device))
        return _unit(f16), _unit(f8)


def _unit(features: Tensor) -> Tensor:
    """Return (N, C, h, w) as (N, h, w, C) of unit variance: as transformers' features are, after their last norm."""
    last = features.permute(0, 2, 3, 1)
    return nn.functional.layer_norm(last, last.shape[-1:])


def load_key_features(path: Path = SHIPPED_WEIGHTS, *, device: torch.device | str = "cpu") -> KeyFeatures:
    """Load the key encoder out of an XMem network's weights. Raises ``WeightsError``."""
    if not path.is_file():
        raise WeightsMissingError(f"our key encoder's weights are not at {path}; reinstall rotomem, or add DINO's")
    return KeyFeatures(load_network(path, device=device).network)


def find_motion_weights(folder: Path, name: str) -> Path | None:
    """Return the file of one network's weights, ours before a published one; None if there is neither."""
    files = (folder / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((path for path in files if path.is_file()), None)


def has_motion_networks(folder: Path) -> bool:
    """Return whether the folder holds weights of all three networks."""
    return all(find_motion_weights(folder, name) for name in (FLOW, SELECTOR, CORRECTOR))


def load_motion_networks(
    folder: Path, *, key_weights: Path = SHIPPED_WEIGHTS, device: torch.device | str = "cpu"
) -> MotionNetworks:
    """Load the three networks, and the features that they were trained on.

    Raises:
        WeightsMissingError: a network's weights, or the features' that it needs, are not there.
        WeightsCorruptError: changed, unreadable, or asking to run code.
        WeightsMismatchError: naming tensors that are missing, unexpected or of another shape.
    """
    segmenter = load_motion_network(_needed(folder, FLOW), FlowSegmenter, FlowConfig, device=device)
    selector = load_motion_network(_needed(folder, SELECTOR), Selector, SelectorConfig, device=device)
    corrector = load_motion_network(_needed(folder, CORRECTOR), Corrector, CorrectorConfig, device=device)
    coarse = _features(folder, DINO_COARSE, DinoConfig.vits16(), selector.config.feature_dim, key_weights, device)
    fine = _features(folder, DINO_FINE, DinoConfig.vits8(), corrector.config.feature_dim, key_weights, device)
    rate = PUBLISHED_RATE if corrector.config.is_published else OWN_RATE
    return MotionNetworks(
        segmenter,
        selector,
        corrector,
        coarse,
        fine,
        area=area_for(segmenter),
        adaptation_rate=rate,
    )


def area_for(segmenter: FlowSegmenter) -> int:
    """Return the pixels of the frames that a segmenter takes: ours, or one of the published size."""
    return WORKING_AREA if segmenter.config.is_published else OWN_AREA


def load_segmenter(path: Path, *, device: torch.device | str = "cpu") -> FlowSegmenter:
    """Load a flow segmenter by itself. Raises ``WeightsError``."""
    return load_motion_network(path, FlowSegmenter, FlowConfig, device=device)


def load_motion_network(
    path: Path,
    make: Callable[[Config], Module],
    config_type: type[Config],
    *,
    device: torch.device | str = "cpu",
    config: Config | None = None,
) -> Module:
    """Load one network in evaluation mode, from ``.safetensors`` of ours or from a published checkpoint.

    Args:
        config: of a file that names none; the published one if None.

    Raises:
        WeightsError: see :func:`load_motion_networks`.
    """
    config = config or config_type()
    if path.suffix == ".safetensors":
        _, content = read_verified(path)
        text = config_json(content[: header_size(content, path)], path)
        try:
            config = config_type.from_json(text) if text else config
            tensors = safetensors.torch.load(content)
        except (SettingError, SafetensorError) as error:
            raise WeightsCorruptError(f"{path} holds no weights of a {make.__name__}: {error}") from error
    else:
        tensors = read_published_checkpoint(path)
    with torch.device("meta"):
        expected = make(config).state_dict()
    check_tensors(tensors, expected, path, f"give weights of a {make.__name__}")
    network = make(config)
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network.to(device).eval().requires_grad_(False)


def _needed(folder: Path, name: str) -> Path:
    path = find_motion_weights(folder, name)
    if path is None:
        raise WeightsMissingError(
            f"there are no weights of the motion network {name} in {folder}; train them with: rotomem train {name}, or "
            f"put the published {name}.pth there"
        )
    return path


def _features(
    folder: Path, name: str, config: DinoConfig, wanted: int, key_weights: Path, device: torch.device | str
) -> Features:
    """Return what gives features of ``wanted`` channels: DINO where its weights fit and are there, else our own."""
    path = find_motion_weights(folder, name)
    if wanted == config.width and path is not None:
        network: Features = load_motion_network(path, DinoFeatures, DinoConfig, device=device, config=config)
        return network
    key_features = load_key_features(key_weights, device=device)
    ours, channels = (
        (key_features.coarse, key_features.coarse_dim)
        if name == DINO_COARSE
        else (key_features.fine, key_features.fine_dim)
    )
    if channels == wanted:
        return ours
    if wanted == config.width:
        raise WeightsMissingError(f"the published networks need {name}.pth in {folder}; put DINO's weights there")
    raise WeightsMismatchError(
        f"a motion network in {folder} was trained on features of {wanted} channels, and {key_weights} gives "
        f"{channels}; train it again, or give the weights that it was trained with"
    )
