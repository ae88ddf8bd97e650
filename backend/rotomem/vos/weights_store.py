"""The folder of installed weights: what is there, whether it is intact, and how more gets in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rotomem.errors import SettingError, WeightsCorruptError, WeightsError, WeightsMissingError
from rotomem.vos.checkpoint import (
    convert_checkpoint,
    header_size,
    load_network,
    read_config,
    read_verified,
    write_weights,
)
from rotomem.vos.config import NetworkConfig
from rotomem.weights_files import SUFFIX, expected_sha256, installed_files


@dataclass(frozen=True)
class WeightsFile:
    """Weights that are installed.

    Args:
        name: what ``--weights`` takes.
        sha256: as recorded beside the file; empty if that is missing.
        size: bytes.
        config: of the network that they fill; None if the file's header cannot be read.
    """

    name: str
    path: Path
    sha256: str
    size: int
    config: NetworkConfig | None


def installed_weights(weights_dir: Path) -> list[WeightsFile]:
    """List a folder's weights by name, damaged ones too; empty if there is no folder. Reads headers alone."""
    return [_describe(path) for path in installed_files(weights_dir)]


def add_weights(source: Path, weights_dir: Path, name: str | None = None) -> WeightsFile:
    """Convert a published checkpoint, or copy a safetensors file made by rotomem, into the folder.

    A safetensors file needs its SHA-256 beside it, and is copied as it is, in whatever precision it holds.

    Raises:
        WeightsError: missing, damaged or of another network.
        SettingError: a name that is not a plain file name.
    """
    name = name or source.stem
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise SettingError(f"{name!r} cannot name weights; use letters, digits, '.', '_' and '-'")
    if not source.is_file():
        raise WeightsMissingError(f"{source} is not there; give a .pth checkpoint or a .safetensors file")
    destination = weights_dir / f"{name}{SUFFIX}"
    if source.suffix == SUFFIX:
        load_network(source)
        _, content = read_verified(source)
        write_weights(content, destination)
    else:
        convert_checkpoint(source, destination)
    return _describe(destination)


def verify_weights(weights_dir: Path) -> list[tuple[WeightsFile, str | None]]:
    """Hash every installed file; returns each with a sentence on what is wrong, or None."""
    results: list[tuple[WeightsFile, str | None]] = []
    for file in installed_weights(weights_dir):
        try:
            read_verified(file.path)
            problem = None
        except WeightsError as error:
            problem = str(error)
        results.append((file, problem))
    return results


def _describe(path: Path) -> WeightsFile:
    try:
        sha256 = expected_sha256(path)
    except WeightsCorruptError:
        sha256 = ""
    config: NetworkConfig | None = None
    try:
        with path.open("rb") as file:
            start = file.read(8)
            config = read_config(start + file.read(header_size(start, path) - 8), path)
    except (WeightsCorruptError, OSError):
        config = None
    return WeightsFile(name=path.stem, path=path, sha256=sha256, size=path.stat().st_size, config=config)
