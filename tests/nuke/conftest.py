"""A fake Nuke with the real plugin in it, and small plates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
for folder in (ROOT / "nuke_plugin", ROOT / "tests" / "fakes"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

if TYPE_CHECKING:
    from nuke._session import Session


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    """A fresh Nuke with a window and the plugin started."""
    import nuke_scene
    from nuke._session import session

    from nuke import _script

    try:
        _script.tcl_commands("set a 1")
    except _script.NoTclError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("NUKE_TEMP_DIR", str(tmp_path))
    monkeypatch.delenv("ROTOMEM_ENDPOINT", raising=False)
    nuke_scene.start()
    yield session
    # What a thread of this test still wants done must not reach the next one.
    session.settle("rotomem-work")
    assert session.served_errors == []


@pytest.fixture
def plate_files(tmp_path: Path) -> Callable[..., str]:
    """Write a textured plate that moves two pixels a frame to the right; return its pattern."""

    from nuke_scene import write_exr

    def write(first: int = 1, last: int = 9, *, name: str = "plate") -> str:
        noise = np.random.default_rng(7).random((64, 160, 3)).astype(np.float32)
        for _ in range(3):
            noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, 2, 1)) / 4
        for frame in range(first, last + 1):
            moved = np.roll(noise, 2 * frame, axis=1)
            write_exr(tmp_path / f"{name}.{frame:04d}.exr", moved[:, :96], "RGB")
        return str(tmp_path / f"{name}.%04d.exr")

    return write


@pytest.fixture(scope="session")
def serve() -> Callable[[Path, str], tuple[subprocess.Popen[bytes], str]]:
    """Start a real daemon of the CPU's engines; the caller ends it."""

    def start(folder: Path, address: str) -> tuple[subprocess.Popen[bytes], str]:
        ready = folder / "ready.json"
        ready.unlink(missing_ok=True)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "rotomem", "serve", "--endpoint", address),
                *("--store", str(folder / "store"), "--weights-dir", str(folder / "weights")),
                *("--device", "cpu", "--ready-file", str(ready)),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        deadline = time.monotonic() + 60
        while not ready.is_file():
            assert process.poll() is None, "the daemon ended at its start"
            assert time.monotonic() < deadline, "the daemon is not ready after 60 s"
            time.sleep(0.05)
        return process, json.loads(ready.read_text(encoding="utf-8"))["endpoint"]

    return start


@pytest.fixture(scope="session")
def endpoint(
    tmp_path_factory: pytest.TempPathFactory, serve: Callable[[Path, str], tuple[subprocess.Popen[bytes], str]]
) -> Iterator[str]:
    """The address of one daemon for all tests that do not harm it."""
    process, address = serve(tmp_path_factory.mktemp("daemon"), "tcp://127.0.0.1:*")
    try:
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def connected(fake: Session, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Session:
    """The same, with a real daemon to talk to."""
    monkeypatch.setenv("ROTOMEM_ENDPOINT", endpoint)
    return fake
