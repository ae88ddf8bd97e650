"""``rotomem train`` for the motion networks: a folder that can be used and gone on from, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rotomem.training.motion_trainer as motion_trainer
from rotomem.cli import main
from rotomem.motion import FlowConfig, FlowSegmenter
from rotomem.propagation.motion_networks import load_motion_network
from rotomem.training.motion_trainer import ClipShape, FlowTrainer, MotionTrainingSettings


def train(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rotomem", "train", *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["flow"], "train flow needs --minutes, or --steps"),
        (["selector", "--adapt", "."], "the selector is not adapted to shots"),
        (["vos", "--adapt", "."], "--adapt is for flow and corrector"),
        (["corrector", "--adapt", ".", "--networks", "nowhere"], "rotomem train flow"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    result = train(*arguments, "--out", str(tmp_path / "run"))
    assert result.returncode != 0
    assert result.stderr.startswith("rotomem: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_piece_leaves_weights_a_card_and_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = FlowConfig(width=1, layers=1, heads=2, feedforward=8)

    def tiny(settings: MotionTrainingSettings, folder: Path) -> FlowTrainer:
        return FlowTrainer(settings, folder, config)

    monkeypatch.setitem(motion_trainer.TRAINERS, "flow", tiny)  # type: ignore[arg-type]
    monkeypatch.setitem(motion_trainer.CPU_SHAPES, "flow", ClipShape(1, 2, 32, 48))
    arguments = [
        "rotomem",
        "train",
        "flow",
        "--out",
        str(tmp_path),
        "--steps",
        "2",
        "--workers",
        "0",
        "--device",
        "cpu",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    assert main() == 0
    assert "100% of the training is done" in capsys.readouterr().out
    assert load_motion_network(tmp_path / "weights.safetensors", FlowSegmenter, FlowConfig).config == config
    card = json.loads((tmp_path / "model_card.json").read_text())
    assert card["network"] == "motion flow"
    assert card["steps"] == 2
    assert set(card["scores"]) == {"objects", "union", "threshold"}
    assert "motion flow" in (tmp_path / "model_card.md").read_text()
    assert (tmp_path / "curves.png").stat().st_size > 0
