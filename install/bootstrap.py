#!/usr/bin/env python3
"""Set Rotomem up in .venv beside this repository, then run the demo or the tests.

    python3 install/bootstrap.py demo            set up, then run the demo shot from daemon to contact sheet
    python3 install/bootstrap.py test            set up, then lint, type-check and run the tests
    python3 install/bootstrap.py setup           set up only
    python3 install/bootstrap.py test -- -m slow hand further arguments to pytest (or to the demo)

A second run finds everything in place, takes seconds and needs no network. A set-up that was interrupted is
repaired by running the same command again.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
COMPLETE = ENVIRONMENT / "rotomem-complete.json"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
OLDEST_PYTHON = (3, 10)
TORCH = "torch>=2.8,<2.14"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
MODULES = (
    "torch cv2 numpy OpenImageIO PyOpenColorIO zmq msgpack safetensors tqdm pytest hypothesis importlinter "
    "rotomem rotomem_client"
)


class SetUpError(Exception):
    """One sentence about what stopped the set-up and what to do."""


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["demo", "test", "setup"])
    parser.add_argument("--fresh", action="store_true", help="delete .venv and set up from nothing")
    parser.add_argument("further", nargs="*", help="after --: arguments for pytest or the demo")
    options = parser.parse_args(arguments)
    try:
        set_up(fresh=options.fresh)
        if options.action == "demo":
            return run([PYTHON, "-m", "rotomem", "demo", *options.further])
        if options.action == "test":
            return test(options.further)
    except SetUpError as error:
        print("rotomem set-up: " + str(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    print(f"set up in {ENVIRONMENT}; try {PYTHON} -m rotomem --help")
    return 0


def set_up(fresh=False):
    """Leave .venv complete for this pyproject.toml and this Python, doing only what is missing."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetUpError(
            "this is Python {}; run it with Python {}.{} or newer".format(platform.python_version(), *OLDEST_PYTHON)
        )
    if fresh and ENVIRONMENT.exists():
        shutil.rmtree(ENVIRONMENT)
    if is_complete():
        return
    print(f"setting up {ENVIRONMENT} (once; some minutes, mostly torch)", flush=True)
    COMPLETE.unlink(missing_ok=True)
    if not has_pip():
        create_environment()
    install()
    if not imports():
        # Killed in the middle of pip, a package can be half there and count as installed. Everything that was needed
        # has just been fetched, so a new environment can be filled again.
        print("the environment is damaged; making it anew", flush=True)
        create_environment()
        install()
        if not imports(show=True):
            raise SetUpError("the installed packages do not import (above); run again with --fresh")
    COMPLETE.write_text(json.dumps({"fingerprint": fingerprint()}), encoding="utf-8")


def is_complete():
    try:
        written = json.loads(COMPLETE.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(written.get("fingerprint") == fingerprint() and PYTHON.exists())


def fingerprint():
    content = (ROOT / "pyproject.toml").read_bytes()
    return hashlib.sha256(content + sys.version.encode() + str(ROOT).encode()).hexdigest()


def install():
    pip("install", *torch_options(), TORCH)
    pip("install", "--editable", f"{ROOT}[dev]")


def imports(show=False):
    return run([PYTHON, "-c", "import " + ", ".join(MODULES.split())], quiet=not show) == 0


def has_pip():
    return PYTHON.exists() and run([PYTHON, "-m", "pip", "--version"], quiet=True) == 0


def create_environment():
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    try:
        venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(ENVIRONMENT)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetUpError(
            f"cannot make a virtual environment in {ENVIRONMENT} ({error}); on Debian and Ubuntu install python3-venv, "
            "and check that the folder is writable"
        ) from error


def torch_options():
    """Ask for the CPU build where no NVIDIA driver is there: the CUDA build is some gigabytes larger."""
    if sys.platform == "darwin" or shutil.which("nvidia-smi"):
        return []
    report = subprocess.run(
        [
            str(PYTHON),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--no-deps",
            "--ignore-installed",
            "--report",
            "-",
            TORCH,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    try:
        version = json.loads(report.stdout)["install"][0]["metadata"]["version"]
    except (ValueError, LookupError):
        version = ""
    # A site whose own index offers the CPU build needs no other index.
    return [] if version.endswith("+cpu") else ["--extra-index-url", TORCH_CPU_INDEX]


def pip(*arguments):
    # Twice quiet: errors stay, warnings about a site's own mirrors do not.
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments, "-qq"]
    print("  pip " + " ".join(map(str, arguments)), flush=True)
    if run(command):
        raise SetUpError(
            f"pip could not install {arguments[-1]} (its message is above); check the network or PIP_INDEX_URL and run "
            "the same command again"
        )


def test(further):
    """Lint, type-check, check the layers, then run the tests; the tests' own exit code wins."""
    checks = [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["importlinter.cli", "lint-imports"],
    ]
    failed = []
    for module, *arguments in checks:
        print("== {}".format(" ".join([module, *arguments])), flush=True)
        if module == "importlinter.cli":
            command = [PYTHON, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
        else:
            command = [PYTHON, "-m", module, *arguments]
        if run(command):
            failed.append(module)
    selection = [] if "-m" in further else ["-m", "not slow"]
    code = run([PYTHON, "-m", "pytest", *selection, *further])
    if failed:
        print("failed before the tests: " + ", ".join(failed), flush=True)
    return code or (1 if failed else 0)


def run(command, quiet=False):
    output = subprocess.DEVNULL if quiet else None
    environment = dict(os.environ, PYTHONNOUSERSITE="1")
    # As in rotomem/openmp.py: threads that spin for long on shared cores, or sleep at once on idle ones, are slow.
    if "OMP_WAIT_POLICY" not in environment:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        environment.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        return subprocess.run(
            [str(part) for part in command], cwd=str(ROOT), stdout=output, stderr=output, env=environment, check=False
        ).returncode
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
