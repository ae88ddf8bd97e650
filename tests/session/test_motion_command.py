"""``rotomem motion``: mattes from motion alone, and what looks at them again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from moving_scene import MovingScene, Square
from rotomem.cli import main
from rotomem.engine_names import SHIPPED_SEGMENTER
from rotomem.plates import read_alpha, read_matte_metadata
from rotomem.session import motion_edges
from rotomem.session.motion_task import MotionTask
from rotomem.session.shot import PlateReference
from rotomem.weights_files import expected_sha256
from small_sam import save_small_sam

LAST = 6


@pytest.fixture(scope="module")
def scene() -> MovingScene:
    return MovingScene([Square((30, 40), (5, 1), side=64)], pan=(1, 0))


@pytest.fixture(scope="module")
def plate(scene: MovingScene, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("shot")
    for frame in range(1, LAST + 1):
        pixels = np.rint(scene.image(frame)[..., ::-1] * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"p.{frame:04d}.png"), pixels)
    return str(folder / "p.%04d.png")


@pytest.fixture
def weights_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("ROTOMEM_WEIGHTS_DIR", str(folder))
    return folder


def run(plate: str, folder: Path, *further: str) -> int:
    output = ["--output", str(folder / "m.%04d.exr"), "--objects", "1", "--progress", "none", "--device", "cpu"]
    return main(["motion", "--plate", plate, *output, *further])


def test_a_confidence_in_each_matte_and_in_the_diagnosis(
    plate: str, scene: MovingScene, weights_dir: Path, tmp_path: Path
) -> None:
    assert run(plate, tmp_path, "--json", str(tmp_path / "d.json")) == 0
    diagnosis = json.loads((tmp_path / "d.json").read_text())
    frames = diagnosis["shots"][0]["frames"]
    assert [frame["frame"] for frame in frames] == list(range(1, LAST + 1))
    for frame in frames:
        path = tmp_path / f"m.{frame['frame']:04d}.exr"
        assert read_matte_metadata(path).confidence == pytest.approx(frame["confidence"], abs=1e-3)
        assert 0.4 < frame["confidence"] <= 1
        matte, truth = read_alpha(path, 1, object_name="object1") > 0.5, scene.truth(frame["frame"], 0)
        assert (matte & truth).sum() > 0.8 * (matte | truth).sum()


def test_where_its_weights_are_segment_anything_looks_again(
    plate: str, weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_small_sam(weights_dir)
    monkeypatch.setattr(
        motion_edges, "SAME_IOU", 0.0
    )  # this network has learnt nothing: take what it says all the same
    assert run(plate, tmp_path / "sam") == 0
    assert run(plate, tmp_path / "plain", "--no-sam") == 0
    prompted, plain = (tmp_path / name / "m.0003.exr" for name in ("sam", "plain"))
    assert not np.array_equal(read_alpha(prompted, 3), read_alpha(plain, 3))
    sam = read_matte_metadata(prompted).weights_sha256
    assert len(sam) == 64
    assert sam != expected_sha256(SHIPPED_SEGMENTER)  # who has the last say
    assert read_matte_metadata(plain).weights_sha256 == expected_sha256(SHIPPED_SEGMENTER)


def test_the_shipped_segmenter_finds_what_moves_unless_left_out(
    plate: str, scene: MovingScene, weights_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(plate, tmp_path / "segmenter") == 0
    assert "objects by the flow segmenter" in capsys.readouterr().out
    assert run(plate, tmp_path / "classical", "--classical") == 0
    assert "objects by" not in capsys.readouterr().out
    for name, weights in (("segmenter", expected_sha256(SHIPPED_SEGMENTER)), ("classical", "")):
        path = tmp_path / name / "m.0003.exr"
        assert read_matte_metadata(path).weights_sha256 == weights
        matte, truth = read_alpha(path, 3) > 0.5, scene.truth(3, 0)
        assert (matte & truth).sum() > 0.7 * (matte | truth).sum(), name


def test_where_nothing_moves_no_network_is_named(
    weights_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for frame in range(1, LAST + 1):
        cv2.imwrite(str(tmp_path / f"s.{frame:04d}.png"), np.rint(MovingScene().image(1) * 255).astype(np.uint8))
    assert run(str(tmp_path / "s.%04d.png"), tmp_path / "still", "--json", str(tmp_path / "d.json")) == 0
    assert "objects by" not in capsys.readouterr().out
    assert json.loads((tmp_path / "d.json").read_text())["found_by"] == "classical"
    assert read_matte_metadata(tmp_path / "still" / "m.0003.exr").weights_sha256 == ""


def test_a_damaged_segmenter_and_a_missing_device_are_one_sentence_before_anything_is_looked_at(
    plate: str, weights_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights_dir / "motion").mkdir()
    for suffix in ("", ".sha256"):
        source = SHIPPED_SEGMENTER.with_name(SHIPPED_SEGMENTER.name + suffix)
        (weights_dir / "motion" / source.name).write_bytes(source.read_bytes())
    with (weights_dir / "motion" / SHIPPED_SEGMENTER.name).open("r+b") as file:
        file.seek(100_000)
        file.write(b"changed")
    assert run(plate, tmp_path / "bad") == 5
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "flow.safetensors is damaged" in line
    assert "or use --classical" in line
    assert run(plate, tmp_path / "good", "--classical") == 0
    capsys.readouterr()
    (weights_dir / "motion" / SHIPPED_SEGMENTER.name).unlink()
    assert run(plate, tmp_path / "none", "--device", "cuda:63") == 2
    assert "device cuda:63 is not there" in capsys.readouterr().err


def test_what_is_another_object_is_not_taken(plate: str, weights_dir: Path, tmp_path: Path) -> None:
    save_small_sam(weights_dir)
    assert run(plate, tmp_path / "sam") == 0
    assert run(plate, tmp_path / "plain", "--no-sam") == 0
    for frame in range(1, LAST + 1):
        prompted, plain = (read_alpha(tmp_path / name / f"m.{frame:04d}.exr", frame) > 0.5 for name in ("sam", "plain"))
        assert (prompted & plain).sum() >= 0.5 * (prompted | plain).sum()


def test_a_crf_that_is_not_installed_is_told_before_anything_is_looked_at(
    plate: str, weights_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    assert run(plate, tmp_path, "--crf") == 2
    assert "pip install 'rotomem[crf]'" in capsys.readouterr().err
    with pytest.raises(Exception, match="pydensecrf2"):
        motion_edges.MatteFinisher(MotionTask(PlateReference(1, LAST, plate), 1, LAST, "m.%04d.exr", crf=True))
