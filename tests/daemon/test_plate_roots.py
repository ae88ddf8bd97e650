"""``rotomem serve --plate-root``: which plates a client may name, and have the daemon read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotomem_client.client import Client
from rotomem_client.errors import RefusedError
from rotomem_client.messages import Plate

START_S = 60.0


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "rotomem", "serve", "--endpoint", "tcp://127.0.0.1:*"]
    command += ["--store", str(tmp_path / "store"), "--ready-file", str(ready)]
    command += ["--plate-root", str(tmp_path / "jobs"), "--plate-root", str(tmp_path / "library")]
    serving = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        deadline = time.monotonic() + START_S
        while not ready.is_file():
            assert serving.poll() is None, serving.stderr and serving.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield json.loads(ready.read_text())["endpoint"]
    finally:
        serving.terminate()
        serving.communicate()


def test_plates_outside_the_given_folders_are_not_read(endpoint: str, tmp_path: Path) -> None:
    plates = {}
    for folder in ("jobs", "library", "private"):
        plates[folder] = tmp_path / folder / "plate.exr"
        plates[folder].parent.mkdir()
        plates[folder].write_bytes(b"pixels")
    plates["around"] = tmp_path / "jobs" / ".." / "private" / "plate.exr"
    plates["link"] = tmp_path / "jobs" / "link.exr"
    plates["link"].symlink_to(plates["private"])
    with Client(endpoint, timeout_s=20.0) as client:
        visible = {
            name: client.open_session(name, Plate(1, 2, str(path)), ["hero"]).plate_visible
            for name, path in plates.items()
        }
        assert visible == {"jobs": True, "library": True, "private": False, "around": False, "link": False}
        client.put_annotation("private", 1, "hero", absent=True)
        with pytest.raises(RefusedError, match=r"cannot be read at .* by the daemon and was not uploaded"):
            client.propagate("private", 1, 2)
