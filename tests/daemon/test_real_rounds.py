"""Rounds of one artist with the real engines: what is kept is what would have been made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from daemon_process import DaemonProcess
from numpy.typing import NDArray

from rotomem.plates import read_alpha
from rotomem_client.client import Client
from rotomem_client.messages import MatteReady, Plate
from rotomem_client.shapes import ControlPoint, Shape

LAST = 16


def box(frame: int, shift: float = 0.0) -> list[Shape]:
    """A rectangle where the plate's bright one is on this frame, or ``shift`` pixels beside it."""
    left, right = frame + shift, frame + 20.0 + shift
    corners = ((left, 10.0), (right, 10.0), (right, 30.0), (left, 30.0))
    return [Shape("box", tuple(ControlPoint(corner) for corner in corners))]


@pytest.fixture
def plate(tmp_path: Path) -> Plate:
    background = np.random.default_rng(1).random((48, 64, 3), np.float32) * 0.3
    for frame in range(1, LAST + 1):
        pixels = background.copy()
        pixels[10:30, frame : frame + 20] = 0.8
        path = str(tmp_path / f"p.{frame:04d}.png")
        output = oiio.ImageOutput.create(path)
        output.open(path, oiio.ImageSpec(64, 48, 3, "uint8"))
        output.write_image(pixels)
        output.close()
    return Plate(1, LAST, str(tmp_path / "p.%04d.png"))


def round_of(client: Client, *, remake: bool = False) -> dict[int, MatteReady]:
    job = client.propagate("sh010", 1, LAST, engine="warp", focus=8, remake=remake)
    ready = {event.frame: event for event in job.events() if isinstance(event, MatteReady)}
    job.wait()
    return ready


def alpha(ready: MatteReady) -> NDArray[np.float32]:
    return read_alpha(Path(ready.path), ready.frame)


def test_a_second_round_makes_only_what_changed_and_equals_making_everything(plate: Plate, tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, real_engines=True)
    try:
        with Client(daemon.endpoint, timeout_s=60.0) as client:
            client.open_session("sh010", plate, ["hero"])
            for frame in (1, 6, 11, LAST):
                client.put_annotation("sh010", frame, "hero", shapes=box(frame))
            first = round_of(client)
            assert sorted(first) == list(range(1, LAST + 1))

            client.put_annotation("sh010", 11, "hero", shapes=box(11, shift=2.0))
            assert client.open_session("sh010", plate, ["hero"]).stale == tuple(range(7, LAST))
            second = round_of(client)
            assert [frame for frame in sorted(second) if second[frame].made_revision == 5] == list(range(7, LAST))
            everything = round_of(client, remake=True)
            for frame in range(1, LAST + 1):
                np.testing.assert_allclose(alpha(second[frame]), alpha(everything[frame]), atol=1e-6)
            moved = [frame for frame in first if np.abs(alpha(first[frame]) - alpha(second[frame])).max() > 0.1]
            assert {10, 11, 12} <= set(moved) <= set(range(7, LAST)), "what was made again is another matte indeed"

            found = client.suggest_frames("sh010", 3).wait_for_suggestions()
            assert len({each.frame for each in found} - {1, 6, 11, LAST}) == 3
            assert all(each.reason for each in found)
    finally:
        daemon.kill()
