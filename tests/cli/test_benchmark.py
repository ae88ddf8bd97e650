"""``rotomem benchmark rounds`` and ``long``: that they do the work that they time, and compare what they claim to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rotomem.cli import main
from rotomem.commands import benchmark_long, benchmark_rounds, benchmark_shipped
from rotomem.commands.benchmark import PUBLISHED
from rotomem.commands.benchmark_shot import moving_shot
from tiny_networks import random_network


def test_rounds_are_timed_on_both_paths_and_give_the_same() -> None:
    report = benchmark_rounds.measure(random_network(), (64, 48), length=6, candidates=8, objects=2)
    assert [row["what"] for row in report["rows"]] == ["first round", "second round", "suggestion"]
    for row in report["rows"]:
        assert row["plain_s"] > 0
        assert row["optimised_s"] > 0
        assert row["factor"] == pytest.approx(row["plain_s"] / row["optimised_s"])
    assert report["largest_difference"] <= 1e-4
    assert report["first_matte_ms"]["optimised"] > 0


def test_a_published_suggestion_is_ours(capsys: pytest.CaptureFixture[str]) -> None:
    benchmark_rounds.measure(random_network(), (64, 48), length=4, candidates=10, objects=1)
    assert "suggestions differ" not in capsys.readouterr().out


@pytest.mark.parametrize("engine", ["copy", PUBLISHED])
def test_long_shots_are_propagated_to_the_end(engine: str) -> None:
    figures = benchmark_long.measure(engine, 8, 64, 48, 2)
    assert figures["frames"] == 8
    assert figures["peak_memory_mb"] >= figures["memory_before_mb"] > 0


def test_the_shipped_weights_are_timed_over_both_rounds() -> None:
    report = benchmark_shipped.measure_shipped((64, 48), 5, steps=2)
    assert [row["what"] for row in report["rows"]] == ["first round", "second round"]
    for row in report["rows"]:
        for unit in ("s", "processor_s"):
            parts = [row[f"{part}_{unit}"] for part in benchmark_shipped.PARTS]
            assert parts[0] > 0
            assert parts == sorted(parts), "previews come before what is finished"
    assert "second round" in benchmark_shipped.format_shipped(report)


def test_the_made_up_shot_moves_and_shows_every_object() -> None:
    images, masks = moving_shot(5, 64, 48, 3)
    assert images.shape == (5, 3, 48, 64)
    assert masks.shape == (5, 3, 48, 64)
    assert (images[1] - images[0]).abs().mean() > 0.1
    assert (masks.flatten(2).mean(dim=2) > 0.01).all()
    assert torch.equal(images, moving_shot(5, 64, 48, 3)[0])


@pytest.mark.slow  # the published network
def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "rounds", "--quick", "--json", str(tmp_path / "r.json"), "--device", "cpu"]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert f"{report['width']}x{report['height']}" in capsys.readouterr().out
    assert report["cuda"] is None
    assert report["largest_difference"] <= 1e-4
