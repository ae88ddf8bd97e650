"""Weights files: published checkpoints in, safetensors with a SHA-256 beside them out, and back into a network."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from rotomem.errors import OutputUnwritableError, SettingError, WeightsCorruptError, WeightsMismatchError
from rotomem.vos.config import NetworkConfig
from rotomem.vos.network import Network
from rotomem.weights_files import expected_sha256, sha256_path

WRAPPERS = ("network", "state_dict", "model")
VALUE_STEM = "value_encoder.conv1.weight"
CONFIG_KEY = "network_config"
NAMES_SHOWN = 5


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in evaluation mode, the SHA-256 of the file that its weights came from, and the notes in that."""

    network: Network
    sha256: str
    notes: Mapping[str, str] = field(default_factory=dict)


def convert_checkpoint(source: Path, destination: Path, config: NetworkConfig | None = None) -> str:
    """Turn a published ``.pth`` into safetensors with ``<destination>.sha256`` beside it; returns the SHA-256.

    Raises:
        WeightsCorruptError: not a checkpoint, or one that would run code when loaded.
        WeightsMismatchError: tensors missing, unexpected or of another shape.
        OutputUnwritableError: the destination cannot be written.
    """
    config = config or NetworkConfig()
    tensors = read_published_checkpoint(source)
    _check_tensors(tensors, config, source)
    return save_weights(tensors, destination, config)


def read_published_checkpoint(source: Path) -> dict[str, Tensor]:
    """Read a ``.pth`` without running anything in it, strip wrappers, and give single-object stems a fifth channel.

    Raises:
        WeightsCorruptError: unreadable, or holding anything but tensors and plain containers.
    """
    try:
        content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsCorruptError(
            f"{source} is no plain checkpoint: it asks to run code when loaded, or is cut short; "
            f"download it again from its publisher"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsCorruptError(f"{source} cannot be read as a checkpoint: {error}") from error
    tensors = _strip_wrappers(content, source)
    stem = tensors.get(VALUE_STEM)
    if stem is not None and stem.ndim == 4 and stem.shape[1] == 4:
        # A single-object network never sees other objects' masks; zeros there leave its results as they are.
        tensors[VALUE_STEM] = torch.cat([stem, torch.zeros_like(stem[:, :1])], dim=1)
    return tensors


class Configuration(Protocol):
    """What tells a network's widths; it goes into the header of its weights."""

    def to_json(self) -> str:
        """Return it as one line of JSON."""


def save_weights(
    tensors: Mapping[str, Tensor], destination: Path, config: Configuration, notes: Mapping[str, str] | None = None
) -> str:
    """Write safetensors, with the configuration in its metadata, and the SHA-256 beside it; returns that.

    Args:
        notes: more for the metadata; :func:`load_network` returns them.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {**(notes or {}), CONFIG_KEY: config.to_json()}
    return write_weights(safetensors.torch.save(contiguous, metadata=metadata), destination)


def write_weights(content: bytes, destination: Path) -> str:
    """Write a weights file and the SHA-256 beside it, each whole or not at all; returns the SHA-256.

    Raises ``OutputUnwritableError``.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(destination, content)
        _write_whole(sha256_path(destination), f"{sha256}  {destination.name}\n".encode())
    except OSError as error:
        raise OutputUnwritableError(f"weights cannot be written to {destination}: {error.strerror}") from error
    return sha256


def load_network(path: Path, *, device: torch.device | str = "cpu") -> LoadedNetwork:
    """Load a weights file into a network of the configuration that it names, checking its SHA-256 first.

    Raises:
        WeightsCorruptError: changed since it was written, or not such a file.
        WeightsMismatchError: tensors that do not fit its configuration.
    """
    sha256, content = read_verified(path)
    header = content[: header_size(content, path)]
    config = read_config(header, path)
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise WeightsCorruptError(f"{path} is not a safetensors file: {error}") from error
    _check_tensors(tensors, config, path)
    network = Network(config)
    network.load_state_dict(tensors)
    notes = {name: text for name, text in _metadata(header, path).items() if name != CONFIG_KEY}
    return LoadedNetwork(network=network.to(device).eval(), sha256=sha256, notes=notes)


def read_verified(path: Path) -> tuple[str, bytes]:
    """Return SHA-256 and content; what was hashed is what is used. Raises ``WeightsCorruptError``."""
    expected = expected_sha256(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsCorruptError(f"weights {path} cannot be read: {error.strerror}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != expected:
        raise WeightsCorruptError(
            f"{path} has changed since it was installed (SHA-256 {sha256[:12]}…, not {expected[:12]}…); "
            f"add it again with: rotomem weights add"
        )
    return sha256, content


def header_size(start: bytes, path: Path) -> int:
    """Return how many bytes of a safetensors file are its header, from its first 8 or more bytes."""
    size = int.from_bytes(start[:8], "little") + 8
    if len(start) < 8 or size > 1 << 27:
        raise WeightsCorruptError(f"{path} is not a safetensors file")
    return size


def read_config(header: bytes, path: Path) -> NetworkConfig:
    """Return the configuration named in a safetensors header; the published one if it names none."""
    text = config_json(header, path)
    try:
        return NetworkConfig() if text is None else NetworkConfig.from_json(text)
    except SettingError as error:
        raise WeightsCorruptError(f"{path} has a damaged header: {error}") from error


def config_json(header: bytes, path: Path) -> str | None:
    """Return the configuration in a safetensors header as it stands there; None if it names none."""
    return _metadata(header, path).get(CONFIG_KEY)


def _metadata(header: bytes, path: Path) -> dict[str, str]:
    try:
        metadata: dict[str, Any] = json.loads(header[8:]).get("__metadata__", {})
        return {name: str(text) for name, text in metadata.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise WeightsCorruptError(f"{path} has a damaged header: {error}") from error


def _strip_wrappers(content: object, source: Path) -> dict[str, Tensor]:
    while isinstance(content, dict) and not any(isinstance(value, Tensor) for value in content.values()):
        inner = next((content[name] for name in WRAPPERS if isinstance(content.get(name), dict)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, dict):
        raise WeightsCorruptError(f"{source} holds {type(content).__name__}, not a network's tensors")
    tensors = {name: tensor for name, tensor in content.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    if not tensors:
        raise WeightsCorruptError(f"{source} holds no tensors by name; it is not a network's checkpoint")
    return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}


def _check_tensors(tensors: Mapping[str, Tensor], config: NetworkConfig, source: Path) -> None:
    """Raise ``WeightsMismatchError`` naming what is missing, unexpected or of another shape."""
    with torch.device("meta"):
        expected = Network(config).state_dict()
    check_tensors(tensors, expected, source, "give an XMem checkpoint or weights made by rotomem")


def check_tensors(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: Path, remedy: str) -> None:
    """Raise ``WeightsMismatchError`` naming what is missing, unexpected or of another shape than expected.

    Args:
        remedy: what to give instead, to end the sentence with.
    """
    problems = []
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    reshaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    for title, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped)):
        if names:
            shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
            problems.append(f"{len(names)} {title} ({shown})")
    if problems:
        raise WeightsMismatchError(
            f"{source} does not fit the network: of its {len(expected)} tensors {'; '.join(problems)}; {remedy}"
        )


def _write_whole(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
