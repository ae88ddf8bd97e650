"""Other weights make other mattes: what was made with the weights of before is not kept, nor said to be of the new."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from daemon_process import DaemonProcess

from rotomem.engine_names import SHIPPED_WEIGHTS
from rotomem.plates import read_matte_metadata
from rotomem.vos import save_weights
from rotomem.weights_files import chosen_sha256
from rotomem_client.client import Client
from rotomem_client.messages import JobFinished, MatteReady, Plate
from rotomem_client.shapes import ControlPoint, Shape
from tiny_networks import TINY, random_network

LAST = 4
FRAMES = tuple(range(1, LAST + 1))
BOX = [Shape("box", tuple(ControlPoint(corner) for corner in ((8.0, 8.0), (30.0, 8.0), (30.0, 30.0), (8.0, 30.0))))]


def install(folder: Path, name: str, seed: int) -> str:
    """Install weights like no others; return their SHA-256."""
    tensors = random_network().state_dict()
    torch.manual_seed(seed)
    changed = {
        key: value + 0.01 * torch.rand_like(value) if value.is_floating_point() else value
        for key, value in tensors.items()
    }
    return save_weights(changed, folder / f"{name}.safetensors", TINY)


@pytest.fixture
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("ROTOMEM_WEIGHTS_DIR", str(folder))
    return folder


@pytest.fixture
def plate(tmp_path: Path) -> Plate:
    picture = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    for frame in FRAMES:
        cv2.imwrite(str(tmp_path / f"p.{frame:04d}.png"), picture)
    return Plate(1, LAST, str(tmp_path / "p.%04d.png"))


@pytest.fixture
def client(weights_dir: Path, plate: Plate, tmp_path: Path) -> Iterator[Client]:
    """A client of a daemon with the real engines, and one session with one drawn frame."""
    daemon = DaemonProcess(tmp_path, real_engines=True)
    try:
        with Client(daemon.endpoint, timeout_s=60.0) as opened:
            opened.open_session("sh010", plate, ["hero"])
            opened.put_annotation("sh010", 1, "hero", shapes=BOX)
            yield opened
    finally:
        daemon.kill()


def propagated(client: Client, engine: str) -> tuple[set[tuple[int, int]], str]:
    """Return the mattes' files, by frame and inode, and the weights' SHA-256, on which the job and all files agree."""
    events = list(client.propagate("sh010", 1, LAST, engine=engine, device="cpu").events())
    ready = {event.frame: event for event in events if isinstance(event, MatteReady)}
    (finished,) = [event for event in events if isinstance(event, JobFinished)]
    assert tuple(sorted(ready)) == FRAMES
    assert not any(matte.stale for matte in ready.values())
    assert {_weights_of(matte) for matte in ready.values()} == {finished.weights_sha256}
    return {(matte.frame, Path(matte.path).stat().st_ino) for matte in ready.values()}, finished.weights_sha256


def _weights_of(matte: MatteReady) -> str:
    return read_matte_metadata(Path(matte.path)).weights_sha256


def stale(client: Client, plate: Plate) -> tuple[tuple[int, ...], str]:
    """Return the frames whose mattes are stale, and why."""
    state = client.open_session("sh010", plate, ["hero"])
    return state.stale, state.stale_reason


@pytest.mark.parametrize("engine", ["auto", "xmem"])
def test_mattes_are_made_again_after_other_weights_were_installed_and_only_then(
    client: Client, plate: Plate, weights_dir: Path, engine: str
) -> None:
    before = install(weights_dir, "m", 1)
    first, used = propagated(client, engine)
    assert used == before
    install(weights_dir, "z", 2)
    assert stale(client, plate) == ((), "")
    assert propagated(client, engine) == (first, before), "the first by name are the same: the very files are kept"

    after = install(weights_dir, "a", 3)
    frames, reason = stale(client, plate)
    assert frames == FRAMES
    assert "the weights have changed" in reason
    old = client.list_mattes("sh010", 1, older=True)
    assert {(matte.stale, _weights_of(matte)) for matte in old} == {(True, before)}, "served as what they are"
    second, used = propagated(client, engine)
    assert used == after != before
    assert not second & first
    assert stale(client, plate) == ((), "")

    # The same name, other weights.
    again = install(weights_dir, "a", 4)
    third, used = propagated(client, engine)
    assert (used, third & second) == (again, set())


def test_mattes_of_an_engine_without_weights_are_kept(client: Client, plate: Plate, weights_dir: Path) -> None:
    first = propagated(client, "warp")
    install(weights_dir, "a", 1)
    assert stale(client, plate) == ((), "")
    assert propagated(client, "warp") == first
    assert first[1] == ""


def test_mattes_whose_weights_are_gone_are_stale_and_still_served(
    client: Client, plate: Plate, weights_dir: Path
) -> None:
    made_with = install(weights_dir, "a", 1)
    propagated(client, "xmem")
    (weights_dir / "a.safetensors.sha256").unlink()
    assert stale(client, plate)[0] == FRAMES
    assert {_weights_of(matte) for matte in client.list_mattes("sh010", 1)} == {made_with}


def test_the_weights_that_a_request_means_now(tmp_path: Path) -> None:
    shipped = SHIPPED_WEIGHTS.with_name(SHIPPED_WEIGHTS.name + ".sha256").read_text().split()[0]
    assert chosen_sha256(tmp_path / "nowhere") == shipped
    assert chosen_sha256(tmp_path, "none of this name") == ""
    second, first = install(tmp_path, "b", 1), install(tmp_path, "a", 2)
    assert [chosen_sha256(tmp_path, name) for name in ("", "a", "b")] == [first, first, second]
    assert chosen_sha256(tmp_path / "nowhere", str(tmp_path / "b.safetensors")) == second
