"""A downloaded file is compared with what its source states before anything is done with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rotomem.errors import SettingError, WeightsCorruptError, WeightsMissingError
from rotomem.vos.published_weights import PUBLISHED, RELEASE_PAGE, verify_download

CONTENT = b"a checkpoint"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def download(tmp_path: Path) -> Path:
    path = tmp_path / "XMem.pth"
    path.write_bytes(CONTENT)
    return path


def test_a_file_with_the_size_and_sha256_that_were_stated_passes(download: Path) -> None:
    verified = verify_download(download, sha256=SHA256.upper(), size=len(CONTENT))
    assert (verified.sha256, verified.size, verified.against) == (SHA256, 12, "the one given")


def test_without_anything_stated_nothing_is_claimed(download: Path) -> None:
    assert verify_download(download).against == ""


def test_another_sha256_or_size_is_refused_and_told(download: Path) -> None:
    with pytest.raises(WeightsCorruptError, match=f"{SHA256}, not {'0' * 64}"):
        verify_download(download, sha256="0" * 64)
    with pytest.raises(WeightsCorruptError, match="12 bytes, not 13"):
        verify_download(download, size=13)


def test_a_file_of_a_known_name_is_compared_with_the_known_copy(tmp_path: Path) -> None:
    path = tmp_path / "XMem-s012.pth"
    path.write_bytes(CONTENT)
    with pytest.raises(WeightsCorruptError, match=r"16205ad04bfc.*--sha256"):
        verify_download(path)
    assert verify_download(path, sha256=SHA256).sha256 == SHA256


def test_what_is_no_sha256_and_what_is_not_there_are_refused(download: Path) -> None:
    with pytest.raises(SettingError, match="64 hexadecimal digits"):
        verify_download(download, sha256="abc")
    with pytest.raises(WeightsMissingError, match=r"absent\.pth"):
        verify_download(download.with_name("absent.pth"))


def test_addresses_are_of_the_release_page() -> None:
    for weights in PUBLISHED:
        assert weights.url.startswith(RELEASE_PAGE.replace("/tag/", "/download/") + "/")
        assert weights.sha256 == "" or len(weights.sha256) == 64
