"""Clicks and boxes to mattes: by the command line, and over the wire."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from daemon_process import DaemonProcess

from rotomem.cli import main
from rotomem.plates import read_alpha, read_matte_metadata
from rotomem.session.prompt import PromptTask, prompt_frame
from rotomem.session.shot import PlateReference
from rotomem_client.client import Client
from rotomem_client.errors import RefusedError
from rotomem_client.messages import Plate, PromptBox, PromptPoint
from small_sam import save_small_sam


@pytest.fixture
def plate(tmp_path: Path) -> str:
    for frame in (1, 2):
        path = str(tmp_path / f"p.{frame:04d}.png")
        output = oiio.ImageOutput.create(path)
        output.open(path, oiio.ImageSpec(64, 48, 3, "uint8"))
        output.write_image(np.random.default_rng(frame).random((48, 64, 3), np.float32))
        output.close()
    return str(tmp_path / "p.%04d.png")


@pytest.fixture
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("ROTOMEM_WEIGHTS_DIR", str(folder))
    return folder


def test_a_click_makes_a_matte_file(plate: str, weights_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_small_sam(weights_dir)
    out = weights_dir / "hero.exr"
    arguments = ["--frame", "2", "--point", "20,20", "--point", "60,40,-", "--object", "hero", "--device", "cpu"]
    assert main(["prompt", "--plate", plate, *arguments, "--out", str(out)]) == 0
    assert "frame 2: " in capsys.readouterr().out
    assert read_alpha(out, 2, object_name="hero").shape == (48, 64)
    metadata = read_matte_metadata(out)
    assert (metadata.engine, metadata.frame) == ("sam", 2)
    assert len(metadata.weights_sha256) == 64


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--point", "20,20", "--out", "a.exr"], 5, "put sam_vit_b_01ec64.pth there"),
        (["--point", "20,20"], 2, "say where the matte goes"),
        (["--point", "20", "--out", "a.exr"], 2, "--point '20' must be X,Y or X,Y,- in pixels"),
        (["--box", "1,2,3", "--out", "a.exr"], 2, "--box '1,2,3' must be LEFT,TOP,RIGHT,BOTTOM in pixels"),
        (["--point", "20,20", "--out", "a.png"], 2, "must end in .exr"),
        (["--point", "99,20", "--out", "a.exr"], 2, "the point 99,20 is outside the plate, which is 64x48"),
        (["--out", "a.exr"], 2, "needs a point on the object, or a box around it"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    plate: str, weights_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, sentence: str
) -> None:
    assert main(["prompt", "--plate", plate, "--frame", "1", *arguments]) == code
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


def test_a_node_prompts_and_puts_the_matte_as_an_annotation(
    plate: str, weights_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_small_sam(weights_dir)
    daemon = DaemonProcess(tmp_path)
    out = tmp_path / "prompted.exr"
    try:
        with Client(daemon.endpoint, timeout_s=60.0) as client:
            client.open_session("sh010", Plate(1, 2, plate), ["hero"])
            points = [PromptPoint(20.0, 20.0), PromptPoint(60.0, 40.0, inside=False)]
            score = client.prompt("sh010", 2, "hero", out, points=points, box=PromptBox(5.0, 5.0, 50.0, 40.0))
            again = client.prompt("sh010", 2, "hero", out, points=points, box=PromptBox(5.0, 5.0, 50.0, 40.0))
            assert score == again
            expected = tmp_path / "expected.exr"
            task = PromptTask(
                plate=PlateReference(1, 2, plate),
                frame=2,
                points=((20.0, 20.0, True), (60.0, 40.0, False)),
                box=(5.0, 5.0, 50.0, 40.0),
                object_name="hero",
                device="cpu",
                weights_dir=weights_dir,
            )
            assert prompt_frame(task, expected) == pytest.approx(score, abs=1e-3)
            np.testing.assert_allclose(
                read_alpha(out, 2, object_name="hero"), read_alpha(expected, 2, object_name="hero"), atol=2e-3
            )
            assert client.put_annotation("sh010", 2, "hero", alpha=out) == 1
            for points, code in (([PromptPoint(90.0, 1.0)], "SETTING"), ([], "SETTING")):
                with pytest.raises(RefusedError) as refused:
                    client.prompt("sh010", 2, "hero", out, points=points)
                assert refused.value.code == code
            with pytest.raises(RefusedError) as refused:
                client.prompt("sh010", 3, "hero", out, points=[PromptPoint(1.0, 1.0)])
            assert refused.value.code == "PLATE_MISSING"
            path.unlink()
            with pytest.raises(RefusedError, match=r"put sam_vit_b_01ec64\.pth there"):
                client.prompt("sh010", 2, "hero", out, points=[PromptPoint(20.0, 20.0)])

        save_small_sam(weights_dir)
        command = ["prompt", "--plate", plate, "--frame", "1", "--point", "20,20", "--object", "hero"]
        environment = ["--session", "sh010", "--endpoint", daemon.endpoint]
        # The session is free again: its client has said goodbye.
        assert main([*command, *environment, "--device", "cpu"]) == 0
        assert "frame 1 of sh010: hero annotated, revision 2" in capsys.readouterr().out
    finally:
        daemon.kill()


def test_the_daemon_loads_no_network_of_its_own() -> None:
    text = "import json, sys, rotomem.daemon.dispatch; print(json.dumps(sorted({'torch', 'cv2'} & sys.modules.keys())))"
    ran = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert json.loads(ran.stdout) == []
