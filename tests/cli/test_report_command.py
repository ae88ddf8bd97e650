"""``rotomem report`` after ``rotomem propagate``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np


def rotomem(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rotomem", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ}, timeout=240, check=False)


def test_a_propagated_shot_becomes_one_picture(tmp_path: Path) -> None:
    background = (np.random.default_rng(1).random((48, 64, 3)) * 80).astype(np.uint8)
    for frame in range(1, 9):
        picture, mask = background.copy(), np.zeros((48, 64), np.uint8)
        picture[16:32, 4 + 4 * frame : 20 + 4 * frame] = 255
        mask[16:32, 4 + 4 * frame : 20 + 4 * frame] = 255
        cv2.imwrite(str(tmp_path / f"plate.{frame:04d}.png"), picture)
        cv2.imwrite(str(tmp_path / f"mask.{frame:04d}.png"), mask)
    plate, mattes = tmp_path / "plate.%04d.png", tmp_path / "out" / "m.%04d.exr"
    made = rotomem(
        *("propagate", "--plate", plate, "--output", mattes, "--engine", "warp", "--progress", "none"),
        *("--alphas", tmp_path / "mask.%04d.png", "--annotated", "1,8", "--focus", "6", "--confidence", "--no-tune"),
    )
    assert made.returncode == 0, made.stderr
    assert "largest seam, between " in made.stdout

    reported = rotomem("report", "--plate", plate, "--mattes", mattes, "--output", tmp_path / "r.png", "--count", "2")
    assert reported.returncode == 0, reported.stderr
    assert "8 mattes, 2 drawn; worst seam" in reported.stdout
    picture = cv2.imread(str(tmp_path / "r.png"))
    assert picture.shape[1] == 1800

    refused = rotomem("report", "--plate", plate, "--mattes", mattes, "--output", tmp_path / "r.jpg")
    assert (refused.returncode, refused.stderr) == (2, f"rotomem: --output {tmp_path / 'r.jpg'} must end in .png\n")
    refused = rotomem(
        *("report", "--plate", plate, "--mattes", mattes, "--output", tmp_path / "r.png", "--suggested", "x")
    )
    assert refused.returncode == 2
    assert "--suggested 'x' must be frames" in refused.stderr
