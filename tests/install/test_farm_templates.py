"""The farm templates: each format holds the two commands, and the shell one runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SUBMIT = ROOT / "install" / "farm" / "submit_commands.py"


def submit(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SUBMIT), "--job", "/show/hero.rotomem.json", "--comp", "/show/my comp.nk"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["shell", "deadline", "opencue", "tractor", "openjd"])
def test_every_format_runs_the_two_commands(kind: str, tmp_path: Path) -> None:
    done = submit("--frames", "1001-1024", "--format", kind, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    text = "".join(path.read_text() for path in sorted(tmp_path.iterdir()))
    for word in ("job", "run", "/show/hero.rotomem.json", "/show/my comp.nk"):
        assert word in text, word
    assert ("-F" in text) is (kind != "deadline")  # Deadline's own Nuke plugin gives the frames
    if kind == "opencue":
        compile(text, kind, "exec")
    if kind == "openjd":
        template = json.loads(text)
        assert template["steps"][1]["dependencies"] == [{"dependsOn": "Mattes"}]
        frames = template["steps"][1]["parameterSpace"]["taskParameterDefinitions"][0]["range"]
        assert frames == ["1001-1010", "1011-1020", "1021-1024"]


def test_the_shell_script_makes_the_mattes_and_then_renders(tmp_path: Path) -> None:
    for name in ("rotomem", "Nuke17.1"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name}|$1|$2|$3|$4"\n')
        (tmp_path / name).chmod(0o755)
    assert submit("--frames", "1-9", "--out", tmp_path).returncode == 0
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", str(tmp_path / "hero.sh")], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "rotomem|job|run|/show/hero.rotomem.json|",
        "Nuke17.1|-F|1-9|-x|/show/my comp.nk",
    ]


def test_a_wrong_range_gets_one_sentence() -> None:
    done = submit("--frames", "all")
    assert done.returncode == 2
    assert done.stderr == "submit_commands: --frames all must be FIRST-LAST, such as 1001-1120\n"
