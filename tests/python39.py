"""The Python of Nuke 14, where this machine has one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("pyzmq", "msgpack")
"""What the client needs besides the standard library."""


def find_python39() -> str | None:
    """Return a Python 3.9: what ROTOMEM_PYTHON39 names, else pyenv's newest, else the one on the path."""
    named = os.environ.get("ROTOMEM_PYTHON39")
    if named:
        return named
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    pyenv = sorted(root.glob("versions/3.9.*/bin/python"), key=lambda path: _numbers(path.parents[1].name))
    return str(pyenv[-1]) if pyenv else shutil.which("python3.9")


def add_client_packages(python: str, folder: Path) -> str:
    """Return a Python 3.9 that has the client's packages: ``python``, or a virtual environment of it in ``folder``.

    What an earlier run has made there is used again.

    Raises:
        RuntimeError: pip cannot get them.
    """
    if _has_packages(python):
        return python
    made = folder / "bin" / "python"
    if made.exists() and _has_packages(str(made)):
        return str(made)
    pip = [str(made), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--retries=0", "--timeout=10"]
    for command in ([python, "-m", "venv", "--clear", str(folder)], [*pip, "--only-binary=:all:", *PACKAGES]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr.strip().splitlines() or [f"{command} failed"])[-1])
    return str(made)


def _has_packages(python: str) -> bool:
    return subprocess.run([python, "-c", "import zmq, msgpack"], capture_output=True, check=False).returncode == 0


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]
