"""The published XMem checkpoints: what there is, where it comes from, and whether a file is what it is said to be.

Nothing here downloads. Sources: the XMem repository's docs/RESULTS.md and docs/INFERENCE.md (files, release page), its
issue 141 (MOSE), and the web pages named in ``backend/docs/weights.md``, with what could not be found.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from rotomem.errors import SettingError, WeightsCorruptError, WeightsMissingError

RELEASE_PAGE = "https://github.com/hkchengrex/XMem/releases/tag/v1.0"
DOWNLOADS = "https://github.com/hkchengrex/XMem/releases/download/v1.0/"
LICENCE = "MIT, Ho Kei Cheng (the repository's licence)"


@dataclass(frozen=True)
class PublishedWeights:
    """One file of the release.

    Args:
        file: its name there.
        training: what it was trained on, as its authors say.
        sha256: of a copy that others publish; the authors publish none. Empty where none was found.
        size: likewise, as given there.
    """

    file: str
    training: str
    sha256: str = ""
    size: str = ""

    @property
    def url(self) -> str:
        return DOWNLOADS + self.file


PUBLISHED = (
    PublishedWeights("XMem.pth", "the authors' default"),
    PublishedWeights(
        "XMem-s012.pth",
        "with BL30K besides",
        sha256="16205ad04bfc55b442bd4d7af894382e09868b35e10721c5afc09a24ea8d72d9",
        size="249 MB",
    ),
    PublishedWeights("XMem-s2.pth", "without pretraining on still images; for reference"),
    PublishedWeights("XMem-with-mose.pth", "with MOSE besides"),
)


@dataclass(frozen=True)
class VerifiedFile:
    """What a file is.

    Args:
        size: bytes.
        against: whose SHA-256 it was compared with, in words; empty where there was nothing to compare with.
    """

    sha256: str
    size: int
    against: str


def verify_download(path: Path, *, sha256: str = "", size: int | None = None) -> VerifiedFile:
    """Compare a downloaded file with the size and SHA-256 that the user was told, or else with a known copy's.

    Args:
        sha256: 64 hexadecimal digits; empty compares a file of a published name with the SHA-256 known for it, if any.
        size: bytes.

    Raises:
        SettingError: ``sha256`` is none.
        WeightsMissingError: no such file.
        WeightsCorruptError: another size or SHA-256.
    """
    expected = sha256.strip().lower()
    if expected and not re.fullmatch(r"[0-9a-f]{64}", expected):
        raise SettingError(f"--sha256 {sha256!r} is no SHA-256; give its 64 hexadecimal digits")
    if not path.is_file():
        raise WeightsMissingError(f"{path} is not there; give a .pth checkpoint or a .safetensors file")
    found_size = path.stat().st_size
    if size is not None and found_size != size:
        raise WeightsCorruptError(
            f"{path} has {found_size} bytes, not {size}; download it again, the transfer may have been cut short"
        )
    found = _sha256(path)
    if expected:
        against = "the one given"
    else:
        expected = next((weights.sha256 for weights in PUBLISHED if weights.file == path.name), "")
        against = "a copy that others publish" if expected else ""
    if expected and found != expected:
        advice = (
            "download it again" if sha256 else "download it again, or, if your source states this one, give --sha256"
        )
        raise WeightsCorruptError(f"{path} has SHA-256 {found}, not {expected} as {against}; {advice}")
    return VerifiedFile(found, found_size, against)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
