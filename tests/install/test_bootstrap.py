"""Set-up from nothing, when already there, when interrupted, and without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PARTS = ["pyproject.toml", "README.md", "LICENSE", "install", "backend", "nuke_plugin"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project without any environment."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "vendor"))
        else:
            shutil.copy(ROOT / part, tmp_path / part)
    return tmp_path


def bootstrap(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        [sys.executable, str(checkout / "install" / "bootstrap.py"), *arguments],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


NO_NETWORK = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "PIP_CONFIG_FILE": os.devnull}


def test_without_a_network_a_set_up_says_what_to_do_and_keeps_what_was_there(checkout: Path) -> None:
    venv.EnvBuilder(with_pip=True).create(checkout / ".venv")
    (checkout / ".venv" / "installed_earlier").touch()
    result = bootstrap(checkout, "setup", **NO_NETWORK)
    assert result.returncode == 1
    assert (checkout / ".venv" / "installed_earlier").exists()
    assert "check the network or PIP_INDEX_URL and run the same command again" in result.stderr
    assert not (checkout / ".venv" / "rotomem-complete.json").exists()


def test_a_changed_pyproject_means_set_up_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(checkout / "install"))
    monkeypatch.delitem(sys.modules, "bootstrap", raising=False)
    import bootstrap as module

    module.PYTHON.parent.mkdir(parents=True)
    module.PYTHON.touch()
    assert not module.is_complete()
    module.COMPLETE.write_text(json.dumps({"fingerprint": module.fingerprint()}))
    assert module.is_complete()
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# another dependency\n")
    assert not module.is_complete()


def test_help_names_both_commands() -> None:
    result = bootstrap(ROOT, "--help")
    assert result.returncode == 0
    assert "bootstrap.py demo" in result.stdout
    assert "bootstrap.py test" in result.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_interrupted_set_up_is_repaired_and_a_second_run_needs_no_network(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").write_text("half a file")
    first = bootstrap(checkout, "setup")
    assert first.returncode == 0, first.stderr
    second = bootstrap(checkout, "setup", **NO_NETWORK)
    assert second.returncode == 0, second.stderr
    assert "setting up" not in second.stdout
    # Killed in the middle of pip: the mark is gone and a package is half there.
    (checkout / ".venv" / "rotomem-complete.json").unlink()
    (package,) = (checkout / ".venv").glob("lib/python*/site-packages/msgpack")
    shutil.rmtree(package)
    third = bootstrap(checkout, "setup")
    assert third.returncode == 0, third.stderr
