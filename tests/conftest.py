"""Fixtures that more than one package's tests use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(Path(__file__).resolve().parent))

from python39 import add_client_packages, find_python39  # noqa: E402


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with specifications, conformance data and clips that lies beside a developer's checkout."""
    folder = Path(os.environ.get("ROTOMEM_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the conformance data in {folder}; set ROTOMEM_SHARED")
    return folder


@pytest.fixture(scope="session")
def python39() -> str:
    """An interpreter of Python 3.9, which Nuke 14 has."""
    python = find_python39()
    if python is None:
        pytest.skip("there is no Python 3.9 on this machine; set ROTOMEM_PYTHON39")
    return python


@pytest.fixture(scope="session")
def python39_with_client_packages(
    python39: str, pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """A Python 3.9 with pyzmq and msgpack, installed into pytest's cache if need be."""
    cache = pytestconfig.cache
    folder = tmp_path_factory.mktemp("python39") if cache is None else Path(cache.mkdir("python39"))
    try:
        return add_client_packages(python39, folder)
    except RuntimeError as error:
        pytest.skip(f"pip cannot install pyzmq and msgpack for {python39}: {error}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB, to be filled."""
    mount = tmp_path / "small_disk"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a full disk can be made only where tmpfs may be mounted (root)")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)
