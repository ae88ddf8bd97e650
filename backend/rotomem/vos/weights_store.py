"""The folder of installed weights: what is there, whether it is intact, and how more gets in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rotomem.engine_names import SHIPPED_WEIGHTS
from rotomem.errors import SettingError, WeightsCorruptError, WeightsError, WeightsMissingError
from rotomem.vos.checkpoint import (
    convert_checkpoint,
    expected_sha256,
    header_size,
    load_network,
    read_config,
    read_verified,
    write_weights,
)
from rotomem.vos.config import NetworkConfig

SUFFIX = ".safetensors"


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
    return [_describe(path) for path in sorted(weights_dir.glob(f"*{SUFFIX}"))]


def find_weights(weights_dir: Path, name: str) -> Path:
    """Return the file of installed weights by name, or of weights by path.

    Raises:
        WeightsMissingError: neither is there.
    """
    for path in (weights_dir / f"{name}{SUFFIX}", Path(name)):
        if path.is_file():
            return path
    present = ", ".join(file.name for file in installed_weights(weights_dir)) or "none"
    raise WeightsMissingError(
        f"weights {name!r} are not installed in {weights_dir} (there: {present}); "
        f"add them with: rotomem weights add FILE"
    )


def choose_weights(weights_dir: Path, name: str = "", *, user: str, otherwise: str) -> Path:
    """Return the file of weights to use: those named; without a name the first installed ones, else those shipped.

    Args:
        name: of installed weights, or a path; empty for none.
        user: what needs them, for the sentence; ``engine xmem``.
        otherwise: what can be done without any; ``choose engine warp``.

    Raises:
        WeightsMissingError: they are not there.
    """
    if name:
        return find_weights(weights_dir, name)
    installed = installed_weights(weights_dir)
    if installed:
        return installed[0].path
    if SHIPPED_WEIGHTS.is_file():
        return SHIPPED_WEIGHTS
    raise WeightsMissingError(
        f"{user} needs weights and none are installed in {weights_dir}; "
        f"add them with: rotomem weights add FILE, or {otherwise}"
    )


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
