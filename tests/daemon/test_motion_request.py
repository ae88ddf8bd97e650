"""Mattes from motion alone, asked for over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from daemon_process import DaemonProcess

from moving_scene import MovingScene, Square
from rotomem.plates import read_alpha, read_matte_metadata
from rotomem_client.client import Client
from rotomem_client.errors import RefusedError
from rotomem_client.messages import JobFinished, MatteReady, Plate
from rotomem_client.shapes import ControlPoint, Shape

LAST = 8


@pytest.fixture(scope="module")
def daemon_of_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    started = DaemonProcess(tmp_path_factory.mktemp("motion_daemon"), real_engines=True)
    yield started
    started.kill()


def render(folder: Path, scene: MovingScene) -> Plate:
    for frame in range(1, LAST + 1):
        path = str(folder / f"p.{frame:04d}.png")
        output = oiio.ImageOutput.create(path)
        output.open(path, oiio.ImageSpec(240, 160, 3, "uint8"))
        output.write_image(np.ascontiguousarray(scene.image(frame)))
        output.close()
    return Plate(1, LAST, str(folder / "p.%04d.png"))


def test_a_matte_for_each_frame_without_any_annotation(daemon_of_engines: DaemonProcess, tmp_path: Path) -> None:
    scene = MovingScene([Square((40, 50), (4, 1), side=48)], pan=(2, 0))
    plate = render(tmp_path, scene)
    with Client(daemon_of_engines.endpoint, timeout_s=60.0) as client:
        client.open_session("walk", plate, ["hero", "second"])
        events = list(client.propose_motion("walk", 1, LAST, flow="dis").events())
        ready = {event.frame: event for event in events if isinstance(event, MatteReady)}
        end = events[-1]
        assert isinstance(end, JobFinished)
        assert (end.engine, end.frames) == ("motion", tuple(range(1, LAST + 1)))
        assert end.warnings[0] == f"frames 1-{LAST}: the camera pans 2.0 px a frame; 1 object moves against it"
        assert sorted(ready) == list(range(1, LAST + 1))
        matte = read_alpha(Path(ready[4].path), 4, object_name="hero") > 0.5
        truth = scene.truth(4, 0)
        assert (matte & truth).sum() > 0.8 * (matte | truth).sum()
        assert not read_alpha(Path(ready[4].path), 4, object_name="second").any()
        assert 0.4 < ready[4].confidence <= 1.0
        assert read_matte_metadata(Path(ready[4].path)).confidence == pytest.approx(ready[4].confidence, abs=1e-3)
        state = client.open_session("walk", plate, ["hero", "second"])
        assert (state.mattes, state.stale) == (tuple(range(1, LAST + 1)), ())

        corners = ((10.0, 10.0), (20.0, 10.0), (20.0, 20.0), (10.0, 20.0))
        client.put_annotation("walk", 4, "hero", shapes=[Shape("box", tuple(ControlPoint(at) for at in corners))])
        assert 5 in client.open_session("walk", plate, ["hero", "second"]).stale
        again = client.propose_motion("walk", 4, 5, flow="dis")
        drawn, beside = sorted(
            (event for event in again.events() if isinstance(event, MatteReady)), key=lambda event: event.frame
        )
        assert (drawn.annotated, beside.annotated) == (True, False)
        alpha = read_alpha(Path(drawn.path), 4, object_name="hero")
        assert alpha[15, 15] == 1.0, "what the artist has drawn is returned as it is"
        assert alpha.sum() == pytest.approx(100, abs=1)


def test_the_best_of_them_are_propagated_by_an_engine(daemon_of_engines: DaemonProcess, tmp_path: Path) -> None:
    scene = MovingScene([Square((40, 50), (4, 1), side=48)], pan=(2, 0))
    with Client(daemon_of_engines.endpoint, timeout_s=60.0) as client:
        client.open_session("spread", render(tmp_path, scene), ["hero", "second"])
        events = list(client.propose_motion("spread", 1, LAST, flow="dis", engine="warp").events())
        ready = {event.frame: event for event in events if isinstance(event, MatteReady)}
        assert sorted(ready) == list(range(1, LAST + 1))
        for frame, event in ready.items():
            assert (event.engine, event.annotated) == ("warp", False)
            assert 0 < event.confidence < 1
            matte = read_alpha(Path(event.path), frame, object_name="hero") > 0.5
            truth = scene.truth(frame, 0)
            assert (matte & truth).sum() > 0.75 * (matte | truth).sum()
            assert not read_alpha(Path(event.path), frame, object_name="second").any()


def test_where_nothing_moves_that_is_said(daemon_of_engines: DaemonProcess, tmp_path: Path) -> None:
    with Client(daemon_of_engines.endpoint, timeout_s=60.0) as client:
        client.open_session("still", render(tmp_path, MovingScene()), ["hero"])
        end = client.propose_motion("still", 1, LAST, flow="dis").wait()
        assert "there is no motion to speak of" in end.warnings[0]
        with pytest.raises(RefusedError, match="reaches outside the plate"):
            client.propose_motion("still", 1, LAST + 1)
