"""The trainer's own checkpoint: a manifest, and parts of at most 16 MiB, since that is what a GPU piece may carry.

Weights are kept in float32; their running average as its difference from them in float16, and the optimizer's moments
in bfloat16. Saving rounds the trainer's own tensors likewise, so that going on and resuming are the same thing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from rotomem.errors import WeightsCorruptError

MANIFEST = "state.json"
PART_BYTES = 15 << 20
FORMAT = 1


@dataclass
class TrainingState:
    """All that training goes on from.

    Args:
        weights, average: by parameter name, float32.
        first_moment, second_moment: of AdamW; empty before the first step.
        network_config: as JSON.
    """

    network_config: str
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    first_moment: dict[str, Tensor] = field(default_factory=dict)
    second_moment: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    minutes: float = 0.0


@dataclass(frozen=True)
class _Part:
    name: str
    sha256: str


def round_state(state: TrainingState) -> None:
    """Round every tensor, in place, to what a checkpoint keeps of it."""
    with torch.no_grad():
        for name, tensor in state.average.items():
            difference = (tensor - state.weights[name]).half()
            tensor.copy_(state.weights[name] + difference.float())
        for moments in (state.first_moment, state.second_moment):
            for tensor in moments.values():
                tensor.copy_(tensor.bfloat16().float())


def save_state(state: TrainingState, folder: Path) -> None:
    """Write a checkpoint beside the one before, then make it the current one in a single rename.

    ``state`` must have been rounded by :func:`round_state`.
    """
    import safetensors.torch

    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for index, tensors in enumerate(_in_parts(_stored(state))):
        content = safetensors.torch.save(tensors)
        part = _Part(f"state-{state.step:07d}-{index}.safetensors", hashlib.sha256(content).hexdigest())
        _write_whole(folder / part.name, content)
        parts.append(part)
    manifest = {
        "format": FORMAT,
        "network_config": state.network_config,
        "step": state.step,
        "minutes": state.minutes,
        "parts": [asdict(part) for part in parts],
    }
    _write_whole(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
    current = {part.name for part in parts}
    for path in folder.glob("state-*.safetensors"):
        if path.name not in current:
            path.unlink()


def load_state(folder: Path) -> TrainingState | None:
    """Read the current checkpoint; None if the folder has none. Raises ``WeightsCorruptError``."""
    import safetensors.torch

    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text())
        tensors: dict[str, Tensor] = {}
        for part in manifest["parts"]:
            content = (folder / part["name"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != part["sha256"]:
                raise WeightsCorruptError(f"{folder / part['name']} was changed or cut short; copy it again")
            tensors.update(safetensors.torch.load(content))
        groups: dict[str, dict[str, Tensor]] = {"w": {}, "a": {}, "m": {}, "v": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(":")
            groups[group][rest] = tensor.float()
        for name, weight in groups["w"].items():
            groups["a"][name] += weight
        return TrainingState(
            network_config=manifest["network_config"],
            weights=groups["w"],
            average=groups["a"],
            first_moment=groups["m"],
            second_moment=groups["v"],
            step=manifest["step"],
            minutes=manifest["minutes"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsCorruptError(f"training checkpoint {path} cannot be read: {error}; copy it again") from error


def _stored(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    for name, weight in state.weights.items():
        yield f"w:{name}", weight.detach().cpu().contiguous()
        yield f"a:{name}", (state.average[name] - weight.detach()).half().cpu().contiguous()
    for prefix, moments in (("m", state.first_moment), ("v", state.second_moment)):
        for name, tensor in moments.items():
            yield f"{prefix}:{name}", tensor.bfloat16().cpu().contiguous()


def _in_parts(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    part: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if part and size + tensor.nbytes > PART_BYTES:
            yield part
            part, size = {}, 0
        part[name] = tensor
        size += tensor.nbytes
    yield part


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
