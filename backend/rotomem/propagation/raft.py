"""Optical flow by RAFT, from torchvision, where the package and its weights are there.

Source: Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020; the network is
torchvision's ``raft_large`` or ``raft_small``, and so are the published weights.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rotomem.errors import WeightsCorruptError, WeightsMismatchError, WeightsMissingError
from rotomem.propagation.flow import Colours, Displacement
from rotomem.propagation.torchvision_import import first_line, import_beside_torch

VARIANTS = ("raft_large", "raft_small")
"""Best first: a folder that holds weights of both gets the larger network."""
STRIDE = 8
LEAST_SIDE_PX = 128
"""Of what the network takes: its correlation pyramid halves an eighth of it three times."""
ITERATIONS = 12


def find_raft_weights(weights_dir: Path) -> Path | None:
    """Return the first of ``raft_large*.pth`` and ``raft_small*.pth``, torchvision's own names; None without any."""
    for variant in VARIANTS:
        for path in sorted(weights_dir.glob(f"{variant}*.pth")):
            return path
    return None


class RaftEstimator:
    """Takes two frames and returns the flow between them, as ``PlateFlow`` asks an estimator to.

    Args:
        weights: a state dict of torchvision's RAFT; the file's name starts with the name of the network.
        device: for the network.

    Raises:
        WeightsMissingError: the file or the package torchvision is not there.
        WeightsMismatchError: the file's name or its tensors are another network's.
        WeightsCorruptError: the file is no checkpoint.
    """

    def __init__(self, weights: Path, *, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._network = _load(weights).to(self._device).eval()

    @torch.inference_mode()
    def __call__(self, target: Colours, source: Colours) -> Displacement:
        """Return (h, w, 2) at ``target``'s pixels, towards ``source``; both (h, w, 3) RGB, 8 bits."""
        height, width = target.shape[:2]
        flows = self._network(self._prepare(target), self._prepare(source), num_flow_updates=ITERATIONS)
        return np.ascontiguousarray(flows[-1][0, :, :height, :width].permute(1, 2, 0).float().cpu().numpy())

    def _prepare(self, colours: Colours) -> Tensor:
        height, width = colours.shape[:2]
        image = torch.from_numpy(colours.copy()).to(self._device).permute(2, 0, 1)[None].float() / 127.5 - 1.0
        below, right = (_missing(side) for side in (height, width))
        return pad(image, (0, right, 0, below), mode="replicate")


def _missing(side: int) -> int:
    """How many pixels to add to a side."""
    return max(LEAST_SIDE_PX, -(-side // STRIDE) * STRIDE) - side


def _load(weights: Path) -> nn.Module:
    variant = next((name for name in VARIANTS if weights.name.startswith(name)), None)
    if variant is None:
        raise WeightsMismatchError(
            f"{weights} does not say which RAFT it holds; call the file raft_large….pth or raft_small….pth"
        )
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsMissingError(
            f"there are no weights {weights}; put torchvision's {variant} weights there"
        ) from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsCorruptError(f"{weights} is no checkpoint ({first_line(error)}); download it again") from error
    network: nn.Module = getattr(_optical_flow_models(), variant)(weights=None)
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise WeightsMismatchError(
            f"{weights} does not fit torchvision's {variant}; give that network's own"
        ) from error
    return network


def _optical_flow_models() -> Any:
    try:
        return import_beside_torch("torchvision.models.optical_flow")
    except (ImportError, RuntimeError) as error:
        raise WeightsMissingError(
            f"RAFT needs the package torchvision, which cannot be imported ({first_line(error)}); "
            "install it, or use the flow that needs none (--flow dis)"
        ) from error
