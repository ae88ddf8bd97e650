"""``rotomem propagate --motion``: each use of motion, from a plate on disk to matte files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from moving_scene import MovingScene, Square
from rotomem.cli import main
from rotomem.engine_names import SHIPPED_SEGMENTER
from rotomem.plates import read_alpha, read_matte_metadata
from rotomem.propagation.motion_networks import load_segmenter
from rotomem.vos import save_weights

LAST = 12


@pytest.fixture(scope="module")
def scene() -> MovingScene:
    return MovingScene([Square((30, 40), (4, 1), side=56)], pan=(1, 0))


@pytest.fixture(scope="module")
def folder(scene: MovingScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shot")
    for frame in range(1, LAST + 1):
        pixels = np.rint(scene.image(frame)[..., ::-1] * 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"p.{frame:04d}.png"), pixels)
    cv2.imwrite(str(folder / "a.png"), scene.truth(1, 0).astype(np.uint8) * 255)
    return folder


def propagate(folder: Path, out: Path, *further: str) -> int:
    plate, alpha = str(folder / "p.%04d.png"), f"1:hero={folder / 'a.png'}"
    output = ["--output", str(out / "m.%04d.exr"), "--progress", "none"]
    return main(["propagate", "--plate", plate, "--alpha", alpha, "--engine", "warp", *output, *further])


def test_errors_become_a_layer_and_a_figure_and_change_no_matte(folder: Path, tmp_path: Path) -> None:
    assert propagate(folder, tmp_path / "off") == 0
    assert propagate(folder, tmp_path / "errors", "--motion", "errors") == 0
    for frame in range(1, LAST + 1):
        plain, judged = (tmp_path / name / f"m.{frame:04d}.exr" for name in ("off", "errors"))
        assert np.array_equal(*(read_alpha(path, frame, object_name="hero") for path in (plain, judged)))
        assert read_matte_metadata(plain).motion_error is None
        if frame == 1:
            assert read_matte_metadata(judged).motion_error is None, "what is drawn is not judged"
        else:
            assert 0 <= read_matte_metadata(judged).motion_error < 0.5
            assert read_alpha(judged, frame, object_name="motion_error").shape == (160, 240)


def test_what_is_drawn_is_never_corrected(folder: Path, tmp_path: Path) -> None:
    assert propagate(folder, tmp_path, "--motion", "all") == 0
    drawn = read_alpha(folder / "a.png", 1)
    assert np.array_equal(read_alpha(tmp_path / "m.0001.exr", 1, object_name="hero"), drawn)


def test_mattes_are_judged_by_what_the_flow_segmenter_sees(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def errors(name: str) -> list[float | None]:
        assert propagate(folder, tmp_path / name, "--motion", "errors") == 0
        paths = [tmp_path / name / f"m.{frame:04d}.exr" for frame in range(2, LAST + 1)]
        return [read_matte_metadata(path).motion_error for path in paths]

    assert max(error or 0 for error in errors("shipped")) > 0
    everywhere = load_segmenter(SHIPPED_SEGMENTER)
    with torch.no_grad():
        everywhere.decoder_am.conv.bias.fill_(20)  # so that it has nothing to say of any one thing
    monkeypatch.setenv("ROTOMEM_WEIGHTS_DIR", str(tmp_path))
    save_weights(everywhere.state_dict(), tmp_path / "motion" / "flow.safetensors", everywhere.config)
    assert errors("everywhere") == [0.0] * (LAST - 1)


def test_a_damaged_segmenter_is_one_sentence_with_what_to_do(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROTOMEM_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "motion").mkdir()
    (tmp_path / "motion" / "flow.safetensors").write_bytes(b"not weights")
    assert propagate(folder, tmp_path / "bad", "--motion", "errors") == 5
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "flow.safetensors is damaged" in line
    assert "or use no second opinion (--motion off)" in line
    assert propagate(folder, tmp_path / "good", "--motion", "off") == 0


def test_another_use_is_refused_by_the_command_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        propagate(folder, tmp_path, "--motion", "magic")
