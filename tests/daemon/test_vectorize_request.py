"""Mattes sent to a daemon come back as outlines, beside whatever job it runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from daemon_process import DaemonProcess

from rotomem.matte.vectorize import vectorize_mattes
from rotomem.plates import MatteMetadata, Window, read_alpha, write_mattes
from rotomem_client.client import Client
from rotomem_client.errors import RefusedError
from rotomem_client.messages import Plate


def write(folder: Path, frame: int) -> Path:
    matte = np.zeros((48, 64), np.float32)
    matte[10:30, frame : frame + 20] = 1.0
    path = folder / f"m.{frame:04d}.exr"
    window = Window(0, 0, 64, 48)
    metadata = MatteMetadata(engine="warp", frame=frame, annotated=False, revision=1)
    write_mattes(path, {"hero": matte}, display_window=window, pixel_aspect=1.0, metadata=metadata)
    return path


@pytest.mark.parametrize("shared", [True, False])
def test_mattes_come_back_as_outlines(shared_daemon: DaemonProcess, tmp_path: Path, shared: bool) -> None:
    files = {frame: write(tmp_path, frame) for frame in (1, 2, 3)}
    session = f"bake-{shared}"
    with Client(shared_daemon.endpoint, timeout_s=30.0) as client:
        pattern = str(tmp_path / "m.%04d.exr") if shared else ""
        state = client.open_session(session, Plate(1, 3, pattern), ["hero"])
        assert state.plate_visible is shared
        if not shared:
            client.upload_frames(session, files)
        found = client.vectorize_mattes(session, [1, 2, 3], "hero", 0.5)
        expected = {frame: read_alpha(path, frame, object_name="hero") for frame, path in files.items()}
        assert found == vectorize_mattes(expected, tolerance=0.5, name="hero")
        with pytest.raises(RefusedError, match="no matte of 'arm'") as refused:
            client.vectorize_mattes(session, [1], "arm")
        assert refused.value.code == "PLATE_UNREADABLE"
        with pytest.raises(RefusedError, match="frame 4 of session") as refused:
            client.vectorize_mattes(session, [1, 4], "hero")
        assert refused.value.code == "PLATE_MISSING"
        client.remove_session(session)
