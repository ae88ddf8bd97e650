"""Which file of weights a name means, and the SHA-256 beside it: for the daemon too, which must not load torch."""

from __future__ import annotations

from pathlib import Path

from rotomem.engine_names import SHIPPED_WEIGHTS
from rotomem.errors import WeightsCorruptError, WeightsError, WeightsMissingError

SUFFIX = ".safetensors"


def installed_files(weights_dir: Path) -> list[Path]:
    """List a folder's files of weights by name, damaged ones too; empty if there is no folder."""
    return sorted(weights_dir.glob(f"*{SUFFIX}"))


def find_weights(weights_dir: Path, name: str) -> Path:
    """Return the file of installed weights by name, or of weights by path.

    Raises:
        WeightsMissingError: neither is there.
    """
    for path in (weights_dir / f"{name}{SUFFIX}", Path(name)):
        if path.is_file():
            return path
    present = ", ".join(path.stem for path in installed_files(weights_dir)) or "none"
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
    installed = installed_files(weights_dir)
    if installed:
        return installed[0]
    if SHIPPED_WEIGHTS.is_file():
        return SHIPPED_WEIGHTS
    raise WeightsMissingError(
        f"{user} needs weights and none are installed in {weights_dir}; "
        f"add them with: rotomem weights add FILE, or {otherwise}"
    )


def sha256_path(path: Path) -> Path:
    """Return where the SHA-256 of a weights file lies: beside it."""
    return path.with_name(path.name + ".sha256")


def expected_sha256(path: Path) -> str:
    """Read the SHA-256 that a weights file must have; raises ``WeightsCorruptError`` if there is none."""
    try:
        words = sha256_path(path).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsCorruptError(
            f"{path} has no readable {sha256_path(path).name} beside it, so it cannot be trusted; "
            f"add it again with: rotomem weights add"
        ) from error
    if not words or len(words[0]) != 64:
        raise WeightsCorruptError(f"{sha256_path(path)} holds no SHA-256; add the weights again")
    return words[0].lower()


def chosen_sha256(weights_dir: Path, name: str = "") -> str:
    """Return the SHA-256 of the weights that :func:`choose_weights` would choose now; empty if that cannot be told."""
    try:
        return expected_sha256(choose_weights(weights_dir, name, user="engine xmem", otherwise="choose engine warp"))
    except WeightsError:
        return ""
