"""The command line as a shell, a farm and a TD see it: output, files and exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem import __version__
from rotomem.plates import read_alpha, read_matte_metadata
from rotomem.vos import Network, NetworkConfig, save_weights


def rotomem(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rotomem", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=240,
        check=False,
    )


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """Eight PNG frames of a bright square that moves right, and its masks on frames 1 and 8."""
    background = np.random.default_rng(1).random((48, 64, 3), np.float32) * 0.3
    for frame in range(1, 9):
        pixels, mask = background.copy(), np.zeros((48, 64, 3), np.float32)
        for image in (pixels, mask):
            image[16:32, 4 + 4 * frame : 20 + 4 * frame] = 1.0
        for name, image in (("plate", pixels), ("mask", mask)):
            if name == "plate" or frame in (1, 8):
                buffer = oiio.ImageBuf(image)
                assert buffer.write(str(tmp_path / f"{name}.{frame:04d}.png"), "uint8")
    return tmp_path


def propagate(shot: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return rotomem(
        *("propagate", "--plate", shot / "plate.%04d.png", "--output", shot / "out" / "m.%04d.exr"),
        *("--alphas", shot / "mask.%04d.png", "--annotated", "1,8", "--engine", "warp"),
        *arguments,
    )


def test_version_and_help_answer_without_loading_torch() -> None:
    assert rotomem("--version").stdout.strip() == f"rotomem {__version__}"
    code = "import sys; sys.argv = ['rotomem', 'propagate', '--help']\n"
    code += "from rotomem.cli import main\ntry: main()\nexcept SystemExit: print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("False\n")


@pytest.mark.parametrize(
    "command", ["demo", "propagate", "report", "serve", "evaluate", "benchmark", "weights", "train"]
)
def test_each_command_explains_itself_with_examples(command: str) -> None:
    result = rotomem(command, "--help")
    assert result.returncode == 0
    assert f"examples:\n  rotomem {command}" in result.stdout


def test_propagate_writes_a_matte_per_frame(shot: Path) -> None:
    result = propagate(shot, "--progress", "lines")
    assert result.returncode == 0, result.stderr
    assert "Progress: 100%" in result.stdout
    assert "8 mattes by engine warp" in result.stdout
    matte = read_alpha(shot / "out" / "m.0004.exr", 4) > 0.5
    truth = np.zeros((48, 64), bool)
    truth[16:32, 20:36] = True
    assert (matte & truth).sum() / (matte | truth).sum() > 0.85
    assert read_matte_metadata(shot / "out" / "m.0004.exr").engine == "warp"


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--range", "1-20"], 3, "9-20"),
        (["--range", "1,3"], 2, "--range 1,3 has gaps"),
        (["--alpha", "99=mask.png"], 4, "frame 99"),
        (["--alpha", "1"], 2, "FRAME=FILE"),
        (["--absent", "x"], 2, "'x' is not a frame number"),
        (["--engine", "sam2"], 2, "sam2"),
        (["--engine", "xmem", "--weights-dir", "/nonexistent", "--weights", "nobodys"], 5, "rotomem weights add"),
        (["--colourspace", "nonsense"], 3, "nonsense"),
        (["--output", "m.exr"], 2, "no frame number"),
        (["--threads", "-2"], 2, "threads is -2"),
    ],
)
def test_bad_input_is_one_sentence_and_an_exit_code(shot: Path, arguments: list[str], code: int, sentence: str) -> None:
    result = propagate(shot, *arguments, "--progress", "none")
    assert result.returncode == code, result.stderr
    assert result.stderr.startswith("rotomem: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_finished_mattes_and_exits_130(shot: Path, number: signal.Signals) -> None:
    for frame in range(9, 400):
        (shot / f"plate.{frame:04d}.png").symlink_to(shot / "plate.0008.png")
    command = [
        *(sys.executable, "-m", "rotomem", "propagate", "--engine", "copy", "--progress", "lines"),
        *("--plate", str(shot / "plate.%04d.png"), "--output", str(shot / "out" / "m.%04d.exr")),
        *("--alpha", f"1={shot / 'mask.0001.png'}"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(shot.glob("out/*.exr")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cancelled" in errors
    finished = list(shot.glob("out/*"))
    assert 0 < len(finished) < 399
    assert all(path.suffix == ".exr" and read_alpha(path, 1).shape == (48, 64) for path in finished)


def test_a_daemon_for_other_machines_must_be_asked_for(tmp_path: Path) -> None:
    result = rotomem("serve", "--endpoint", "tcp://192.0.2.1:7447", "--store", tmp_path / "store")
    assert result.returncode == 2
    assert "--allow-remote" in result.stderr


def test_a_ready_file_that_cannot_be_written_is_said_before_the_daemon_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = rotomem(
        *("serve", "--endpoint", "tcp://127.0.0.1:*", "--store", tmp_path / "store"),
        *("--ready-file", tmp_path / "file" / "ready.json"),
    )
    assert result.returncode == 6
    assert "ready file" in result.stderr
    assert result.stderr.count("\n") == 1


def test_weights_list_says_what_the_default_is(tmp_path: Path) -> None:
    result = rotomem("weights", "list", "--weights-dir", tmp_path)
    assert result.returncode == 0
    assert "rotomem-light" in result.stdout
    assert "the default engine here: xmem" in result.stdout


def test_weights_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    (tmp_path / "fake.pth").write_bytes(b"not a checkpoint")
    result = rotomem("weights", "add", tmp_path / "fake.pth", "--weights-dir", tmp_path / "installed")
    assert result.returncode == 5
    assert "fake.pth" in result.stderr


def test_the_demo_runs_from_plate_to_contact_sheet(tmp_path: Path) -> None:
    result = rotomem(
        *("demo", "--out", tmp_path, "--frames", "6", "--size", "320x180"),
        *("--engine", "warp", "--weights-dir", tmp_path / "none"),
    )
    assert result.returncode == 0, result.stderr
    assert "engine warp: J 0." in result.stdout
    assert "frames/s, fetched over ZeroMQ" in result.stdout
    sheet = oiio.ImageBuf(str(tmp_path / "contact_sheet.png"))
    assert sheet.spec().width > 600
    assert len(list((tmp_path / "mattes").glob("matte.*.exr"))) == 6
    score = float(result.stdout.split("J&F ")[1].split()[0])
    assert score > 0.6


def test_the_benchmark_accounts_for_the_time_it_measured(tmp_path: Path) -> None:
    result = rotomem(
        *("benchmark", "--engines", "warp", "--sizes", "160x96", "--frames", "4", "--json", tmp_path / "b.json"),
    )
    assert result.returncode == 0, result.stderr
    (row,) = json.loads((tmp_path / "b.json").read_text())["rows"]
    phases = row["milliseconds_per_frame"]
    assert {"read", "write", "flow"} <= set(phases)
    assert all(milliseconds >= 0 for milliseconds in phases.values())
    assert row["peak_memory_mb"] > 50
    assert "frames/s" in result.stdout


def test_weights_go_from_a_checkpoint_to_mattes_and_a_changed_byte_is_refused(shot: Path) -> None:
    small = NetworkConfig.small()
    checkpoint, folder = shot / "tiny.safetensors", shot / "weights"
    save_weights(Network(small).state_dict(), checkpoint, small)
    assert rotomem("weights", "add", checkpoint, "--weights-dir", folder).returncode == 0
    assert "tiny" in rotomem("weights", "list", "--weights-dir", folder).stdout
    assert rotomem("weights", "verify", "--weights-dir", folder).stdout == "tiny: ok\n"

    made = propagate(shot, "--engine", "auto", "--weights-dir", folder, "--device", "cpu")
    assert made.returncode == 0, made.stderr
    assert "by engine xmem" in made.stdout
    metadata = read_matte_metadata(shot / "out" / "m.0004.exr")
    (installed,) = folder.glob("*.safetensors")
    assert (metadata.engine, metadata.weights_sha256) == ("xmem", hashlib.sha256(installed.read_bytes()).hexdigest())

    content = bytearray(installed.read_bytes())
    content[-5] ^= 1
    installed.write_bytes(bytes(content))
    assert rotomem("weights", "verify", "--weights-dir", folder).returncode == 5
    refused = propagate(shot, "--engine", "xmem", "--weights-dir", folder, "--progress", "none")
    assert refused.returncode == 5
    assert "SHA-256" in refused.stderr


def test_evaluate_prints_each_clip_engine_and_number_of_annotations(shot: Path) -> None:
    for kind, folder in (("plate", "frames"), ("mask", "masks")):
        (shot / "clips" / "square" / folder).mkdir(parents=True)
        for frame in range(1, 9):
            source = shot / f"{kind}.{frame:04d}.png"
            if not source.is_file():
                pixels = np.zeros((48, 64, 3), np.float32)
                pixels[16:32, 4 + 4 * frame : 20 + 4 * frame] = 1.0
                assert oiio.ImageBuf(pixels).write(str(source), "uint8")
            source.rename(shot / "clips" / "square" / folder / f"{frame:05d}.png")
    result = rotomem(
        *("evaluate", "--clips", shot / "clips", "--annotations", "2,3", "--engines", "copy,warp"),
        *("--synthetic", "0", "--json", shot / "scores.json"),
    )
    assert result.returncode == 0, result.stderr
    assert "square" in result.stdout
    scores = json.loads((shot / "scores.json").read_text())
    assert len(scores["clips"]["clips"]) == 4
    assert result.stdout.count("overall") >= 1
