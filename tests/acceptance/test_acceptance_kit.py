"""The acceptance kit in the fake Nuke, in its non-commercial edition: a person must not find the kit's own faults."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

FAKE_NUKE = """#!{python}
import os, runpy, sys
from pathlib import Path
sys.path[:0] = [{fakes!r}, os.environ["NUKE_PATH"]]
import nuke
from nuke._session import session
assert sys.argv[1:3] == ["--nc", "-t"], sys.argv
session.reset(gui=False, nc=True)
session.start(Path(os.environ["NUKE_PATH"]))
sys.argv = sys.argv[3:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("handles", session.handles)
"""


@pytest.fixture
def fake_nuke(tmp_path: Path) -> Path:
    path = tmp_path / "Nuke17.1"
    path.write_text(FAKE_NUKE.format(python=sys.executable, fakes=str(ROOT / "tests" / "fakes")))
    path.chmod(0o755)
    return path


def run_kit(tmp_path: Path, nuke: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    command = [sys.executable, str(HERE / "kit.py"), "--nuke", str(nuke), "--out", str(tmp_path / "out")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUKE_TEMP_DIR": str(tmp_path)}
    command += ["--plugin", str(ROOT / "nuke_plugin")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    result = tmp_path / "out" / "rotomem_acceptance.json"
    return done, json.loads(result.read_text()) if result.is_file() else {}


def test_every_step_passes_within_ten_handles(tmp_path: Path, fake_nuke: Path) -> None:
    done, result = run_kit(tmp_path, fake_nuke)
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["passed"] is True
    assert result["host"]["non_commercial"] is True
    assert len(result["steps"]) == 8
    handles = next(line for line in done.stdout.splitlines() if line.startswith("handles"))
    assert int(handles.split()[1]) <= 10
    found = {step["step"]: step["found"] for step in result["steps"]}
    keys = found["shapes go into a roto and come back"]
    assert keys == {"gold_koi": [1001, 1012], "hero_koi": [1001, 1012]}
    assert "lacks 1 mattes" in found["a missing matte is named"]


def test_a_nuke_that_dies_is_a_result_too(tmp_path: Path) -> None:
    crashing = tmp_path / "Nuke17.1"
    crashing.write_text("#!/bin/sh\nexit 100\n")
    crashing.chmod(0o755)
    done, result = run_kit(tmp_path, crashing)
    assert done.returncode == 1
    assert result["passed"] is False
    assert "exit code 100, no result" in done.stdout


def test_without_arguments_it_tells_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(HERE / "kit.py")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    for word in ("--nuke", "--window", "CHECKLIST.md", "rotomem_acceptance.json", "~/.nuke", "19 lines"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []


WINDOW = """#!{python}
import os, socket, sys, time
assert sys.argv[1:] == ["--nc"], sys.argv
host, port = os.environ["ROTOMEM_ENDPOINT"][6:].split(":")
def answers():
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
assert answers()
pid = int(open({daemon!r}).read())
os.kill(pid, 9)
end = time.monotonic() + 60
while answers():
    assert time.monotonic() < end
while not answers():
    assert time.monotonic() < end
    time.sleep(0.1)
"""


def test_the_window_has_a_daemon_and_one_that_was_ended_comes_back(tmp_path: Path) -> None:
    nuke = tmp_path / "Nuke17.1"
    pid = tmp_path / "pid"
    nuke.write_text(WINDOW.format(python=sys.executable, daemon=str(pid)))
    nuke.chmod(0o755)
    command = [sys.executable, "-u", "-c", WITHOUT_PAUSE.format(folder=str(HERE)), "--nuke", str(nuke), "--window"]
    command += ["--out", str(tmp_path / "out"), "--plugin", str(ROOT / "nuke_plugin")]
    kit = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert kit.stdout is not None
    told = []
    for line in kit.stdout:
        told.append(line)
        if "a dead daemon: " in line:
            pid.write_text(line.split("kill ")[1].split()[0])
    assert kit.wait() == 0
    assert "the daemon is back" in "".join(told)
    assert "Nuke is closed (exit code 0); send back" in told[-1]


WITHOUT_PAUSE = """
import sys
sys.path.insert(0, {folder!r})
import kit
kit.AWAY_S = 0.5
sys.exit(kit.main())
"""


def test_the_committed_plate_is_what_the_generator_makes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_plate", HERE / "make_plate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted(path.name for path in (HERE / "plate").iterdir())
    assert (tmp_path / "roto.json").read_text() == (HERE / "plate" / "roto.json").read_text()


def test_the_checklist_asks_what_a_program_cannot_see() -> None:
    lines = (HERE / "CHECKLIST.md").read_text(encoding="utf-8").splitlines()
    questions = [line for line in lines if line[:1].isdigit()]
    assert len(questions) >= 12
    assert all(line.endswith(":") for line in questions)
