"""What the flags of ``rotomem propagate`` ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotomem.cli import build_parser
from rotomem.commands.propagate import build_task
from rotomem.config import Settings
from rotomem.engine_names import SHIPPED_WEIGHTS
from rotomem.errors import SettingError
from rotomem.session import PropagationTask
from rotomem.session import propagate as session_propagate
from rotomem.session.task_checks import check_task


def task_of(tmp_path: Path, *flags: str) -> PropagationTask:
    (tmp_path / "p.0001.png").touch()
    arguments = ["propagate", "--plate", str(tmp_path / "p.%04d.png"), "--output", str(tmp_path / "m.%04d.exr")]
    options = build_parser().parse_args([*arguments, "--alpha", "1=a.png", *flags])
    options.settings = Settings.load()
    return build_task(options)


def test_focus_confidence_size_and_tuning_are_handed_on(tmp_path: Path) -> None:
    plain = task_of(tmp_path)
    assert (plain.focus, plain.confidence, plain.processing_size, plain.tune) == (None, False, 0, True)
    asked = task_of(tmp_path, "--focus", "7", "--confidence", "--size", "720", "--no-tune")
    assert (asked.focus, asked.confidence, asked.processing_size, asked.tune) == (7, True, 720, False)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "xmem"),
        (("--no-tune",), "warp"),
        (("--no-tune", "--engine", "xmem"), "xmem"),
        (("--no-tune", "--weights", str(SHIPPED_WEIGHTS)), "xmem"),
    ],
)
def test_auto_without_tuning_is_warp_unless_weights_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], name: str
) -> None:
    monkeypatch.setenv("ROTOMEM_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    task = task_of(tmp_path, *arguments)
    assert session_propagate.engine_of(task).name == name


def test_a_negative_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="the processing size is -1"):
        check_task(task_of(tmp_path, "--size=-1"))


def test_the_engines_maker_is_told_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def make(name: str, **settings: object) -> str:
        asked.update(settings, name=name)
        return "engine"

    monkeypatch.setattr(session_propagate, "make_engine", make)
    arguments = ("--engine", "xmem", "--size=720", "--weights", "ours", "--no-refine-edges")
    session_propagate.engine_of(task_of(tmp_path, *arguments))
    wanted = {"name": "xmem", "processing_size": 720, "weights": "ours", "refine_edges": False}
    assert wanted.items() <= asked.items()
