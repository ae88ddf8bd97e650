"""``rotomem job``: what it makes, keeps and tells, and one sentence for every file that it cannot use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent
SQUARE = [[20, 15], [50, 15], [50, 45], [20, 45]]


def write_plate(folder: Path, frames: range) -> str:
    noise = np.random.default_rng(3).random((64, 96, 3)).astype(np.float32)
    spec = oiio.ImageSpec(96, 64, 3, "half")
    for frame in frames:
        output = oiio.ImageOutput.create(str(folder / f"plate.{frame:04d}.exr"))
        output.open(str(folder / f"plate.{frame:04d}.exr"), spec)
        output.write_image(np.ascontiguousarray(np.roll(noise, frame, axis=1)))
        output.close()
    return str(folder / "plate.%04d.exr")


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, Any]:
    """A job of six frames, drawn on the first and the last."""
    shot = {
        "view": "",
        "plate": {"pattern": write_plate(tmp_path, range(1, 7)), "first": 1, "last": 6, "colourspace": "auto"},
        "objects": ["hero"],
        "annotations": [
            {"frame": frame, "object": "hero", "shapes": [{"name": "body", "points": SQUARE}]} for frame in (1, 6)
        ],
        **{"first": 1, "last": 6, "handles": 0, "shown_first": 1, "shown_last": 6},
        **{"engine": "copy", "weights": "", "refine_edges": False, "tune": False, "processing_size": 0},
        "mattes": str(tmp_path / "cache" / "ab12" / "v001" / "matte.%04d.exr"),
        "fingerprint": "f" * 64,
    }
    return {
        **{"rotomem_job": 1, "made_by": "0.1.0", "script": "/show/comp.nk", "node": "hero", "node_uuid": "ab12"},
        "shots": [shot],
    }


@pytest.fixture
def job(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    def write(content: dict[str, Any]) -> str:
        path = tmp_path / "hero.rotomem.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return str(path)

    return write


def mattes(tmp_path: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache/ab12/v001").glob("matte.*.exr")}


def note(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "cache/ab12/v001/rotomem.json").read_text())


def test_it_makes_the_mattes_where_the_node_looks(
    plain: dict[str, Any], job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job", "run", job(plain)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "Progress: 0%"
    assert printed[-2] == "Progress: 100%"
    assert "hero: 6 mattes made by engine copy, 0 kept" in printed[-1]
    assert sorted(mattes(tmp_path)) == [f"matte.{frame:04d}.exr" for frame in range(1, 7)]
    found = note(tmp_path)
    assert (found["complete"], found["older"], found["fingerprint"]) == (True, 0, "f" * 64)
    assert (found["first"], found["last"], found["annotated"], found["engine"]) == (1, 6, 2, "copy")


def test_a_second_run_keeps_what_is_current_and_makes_what_is_missing(
    plain: dict[str, Any], job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job(plain)
    assert main(["job", "run", path, "--frames", "1-4"]) == 0
    assert "frames outside of --frames are still to be made" in capsys.readouterr().out
    assert note(tmp_path)["complete"] is False
    before = mattes(tmp_path)
    assert sorted(before) == [f"matte.{frame:04d}.exr" for frame in range(1, 5)]
    assert main(["job", "run", path]) == 0
    assert "2 mattes made by engine copy, 4 kept" in capsys.readouterr().out
    after = mattes(tmp_path)
    assert {name: after[name] for name in before} == before
    assert note(tmp_path)["complete"] is True
    assert main(["job", "run", path, "--remake"]) == 0
    assert "6 mattes made by engine copy, 0 kept" in capsys.readouterr().out


def test_mattes_of_another_drawing_or_plate_are_made_again(
    plain: dict[str, Any], job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job", "run", job(plain), "--frames", "1-3"]) == 0
    plain["shots"][0]["annotations"][0]["shapes"][0]["points"][0] = [10, 10]
    plain["shots"][0]["fingerprint"] = "e" * 64
    assert main(["job", "run", job(plain), "--frames", "1-2"]) == 0
    assert "2 mattes made by engine copy, 0 kept" in capsys.readouterr().out
    assert note(tmp_path)["older"] == 1
    write_plate(tmp_path, range(1, 7))
    assert main(["job", "run", job(plain)]) == 0
    assert "6 mattes made by engine copy, 0 kept" in capsys.readouterr().out


def test_mattes_that_the_daemon_finished_for_the_same_drawing_are_kept(
    plain: dict[str, Any], job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job", "run", job(plain)]) == 0
    plain["shots"][0]["annotations"][0]["shapes"][0]["name"] = "another recipe"
    assert main(["job", "run", job(plain)]) == 0
    assert "0 mattes made by engine copy, 6 kept" in capsys.readouterr().out


def test_a_job_asks_motion_for_a_second_opinion_as_the_live_one_does(
    plain: dict[str, Any], job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain["shots"][0].update(engine="warp", motion="errors")
    assert main(["job", "run", job(plain)]) == 0
    drawn = tmp_path / "drawn.json"
    drawn.write_text(json.dumps({"rotomem_shapes": 1, "annotations": plain["shots"][0]["annotations"]}))
    live = tmp_path / "live.%04d.exr"
    command = ["propagate", "--plate", plain["shots"][0]["plate"]["pattern"], "--shapes", str(drawn), "--no-tune"]
    command += ["--engine", "warp", "--no-refine-edges", "--motion", "errors", "--output", str(live)]
    assert main(command) == 0
    for frame in range(2, 6):
        theirs, ours = (
            oiio.ImageBuf(str(pattern) % frame) for pattern in (live, tmp_path / "cache/ab12/v001/matte.%04d.exr")
        )
        assert "motion_error.A" in ours.spec().channelnames
        for channel in ("A", "motion_error.A"):
            same = [image.get_pixels()[..., image.spec().channelindex(channel)] for image in (ours, theirs)]
            assert np.array_equal(*same), (frame, channel)


def test_a_job_from_before_there_was_a_second_opinion_has_none_and_keeps_its_mattes(
    plain: dict[str, Any], job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shot = plain["shots"][0]
    shot.update(engine="warp", fingerprint="")
    assert "motion" not in shot
    assert main(["job", "run", job(plain)]) == 0
    shot["motion"] = "off"
    assert main(["job", "run", job(plain)]) == 0
    assert "0 mattes made by engine warp, 6 kept" in capsys.readouterr().out
    shot["motion"] = "errors"
    assert main(["job", "run", job(plain)]) == 0
    assert "6 mattes made by engine warp, 0 kept" in capsys.readouterr().out


def test_paths_are_mapped_and_relative_ones_start_at_the_job(
    plain: dict[str, Any], job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shot = plain["shots"][0]
    shot["mattes"] = "Z:\\shows\\cache\\ab12\\v001\\matte.%04d.exr"
    shot["plate"]["pattern"] = "plate.%04d.exr"
    assert main(["job", "run", job(plain), "--map", f"z:/shows={tmp_path}"]) == 0
    assert len(mattes(tmp_path)) == 6
    assert main(["job", "run", job(plain), "--map", "Z:/shows"]) == 2
    assert "the path mapping 'Z:/shows' must be FROM=TO" in capsys.readouterr().err


def test_a_frozen_version_is_left_alone(
    plain: dict[str, Any], job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cache/ab12/v001"
    folder.mkdir(parents=True)
    (folder / "rotomem.json").write_text(json.dumps({"frozen": True}))
    assert main(["job", "run", job(plain)]) == 6
    assert "are frozen; press 'version up' in Nuke and export the job again" in capsys.readouterr().err
    assert mattes(tmp_path) == {}


def test_check_tells_what_it_would_do_and_writes_nothing(
    plain: dict[str, Any], job: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job", "check", job(plain)]) == 0
    printed = capsys.readouterr().out
    assert "hero: frames 1-6 of" in printed
    assert "drawn on 1, 6 (hero), engine copy; 0 of 6 mattes are in" in printed
    assert not (tmp_path / "cache").exists()
    (tmp_path / "plate.0003.exr").unlink()
    assert main(["job", "check", job(plain)]) == 3
    assert "frame 3 of" in capsys.readouterr().err


def _without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["shots"][0].pop(name)


def _with(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["shots"][0].update(fields)


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (lambda content: content.update(rotomem_job=9), 2, 'must hold "rotomem_job": 1, and holds 9; export it again'),
        (lambda content: content.update(shots=[]), 2, "has no shot; export it again"),
        (lambda content: content.update(shots=[3]), 2, "shot 1 must be an object"),
        (lambda content: content.pop("node"), 2, "'node' is missing and must be text"),
        (_without("mattes"), 2, "shot 1: 'mattes' is missing and must be text"),
        (_with(first="one"), 2, "shot 1: 'first' is 'one' and must be a whole number"),
        (_with(first=True), 2, "shot 1: 'first' is True and must be a whole number"),
        (_with(tune=1), 2, "shot 1: 'tune' is 1 and must be true or false"),
        (_with(motion="guess"), 2, "there is no use of motion 'guess'; choose one of off, errors"),
        (_with(motion=True), 2, "shot 1: 'motion' is True and must be text"),
        (_with(plate=None), 2, "shot 1, 'plate' must be an object"),
        (_with(annotations=[{"frame": 1, "object": "hero", "alpha": "gone.exr"}]), 2, "gone.exr is not there; move it"),
        (_with(annotations=[{"frame": 1, "object": "hero", "shapes": [{"points": [[1, 2, 3]]}]}]), 2, "2, 6 or 12"),
        (_with(annotations=[]), 4, "nothing is annotated"),
        (_with(last=9), 2, "reaches outside the plate"),
        (_with(mattes="/nowhere.exr"), 2, "has no frame number"),
        (_with(mattes="/dev/null/matte.%04d.exr"), 6, "and /dev/null cannot be written"),
        (_with(objects=["1st"]), 4, "cannot be a layer in Nuke"),
    ],
)
def test_a_bad_job_gets_one_sentence(
    change: Any, code: int, sentence: str, plain: dict[str, Any], job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    change(plain)
    path = job(plain)
    assert main(["job", "check", path]) == code
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len(printed.splitlines()) == 1


def test_a_file_that_is_no_job_gets_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job", "run", str(tmp_path / "none.json")]) == 2
    assert "cannot be read: No such file" in capsys.readouterr().err
    (tmp_path / "half.json").write_text('{"rotomem_job": 1, "sho')
    assert main(["job", "run", str(tmp_path / "half.json")]) == 2
    assert "is not valid JSON" in capsys.readouterr().err


@pytest.mark.parametrize(("frames", "sentence"), [("1-9", "reaches outside of the job"), ("1,3", "has gaps")])
def test_frames_outside_of_the_job_are_refused(
    frames: str, sentence: str, plain: dict[str, Any], job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job", "run", job(plain), "--frames", frames]) == 2
    assert sentence in capsys.readouterr().err


def test_a_farms_sigterm_keeps_what_is_made_and_a_requeue_goes_on(
    plain: dict[str, Any], job: Any, tmp_path: Path
) -> None:
    shot = plain["shots"][0]
    shot["plate"] = {**shot["plate"], "pattern": write_plate(tmp_path, range(1, 201)), "last": 200}
    shot.update(last=200, shown_last=200, engine="warp")
    path = job(plain)
    process = subprocess.Popen(
        [sys.executable, "-m", "rotomem", "job", "run", path],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Progress: ") and not line.startswith("Progress: 0%"):
            process.send_signal(signal.SIGTERM)
            break
    process.stdout.read()
    assert process.wait(timeout=60) == 130
    made = mattes(tmp_path)
    assert 0 < len(made) < 200
    assert not list((tmp_path / "cache").rglob("*.part"))
    last = min(200, max(int(name[6:10]) for name in made) + 2)
    done = subprocess.run(
        [sys.executable, "-m", "rotomem", "job", "run", path, "--frames", f"1-{last}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    kept = {name: time for name, time in mattes(tmp_path).items() if made.get(name) == time}
    assert len(kept) == len(made)
