"""Wheels of pyzmq and msgpack for the Pythons inside Nuke: which ones fit, fetching them, unpacking them.

Nuke's own Python is never touched and never run: wheels are picked by their names and unpacked as archives.
"""

import re
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

NUKE_PYTHONS = {"14": "3.9", "15": "3.10", "16": "3.11", "17": "3.13"}
"""Nuke's major version to the Python inside of it (VFX reference platform 2022 to 2026)."""

PACKAGES = {"pyzmq": ">=26.2,<28", "msgpack": ">=1.0.5,<2"}
REGISTRY_WAIT_S = "20"

# Linux: glibc 2.17, so that one folder serves every system that Nuke 14 to 17 runs on. pyzmq 27 needs a newer glibc on
# Python 3.10 and later; pip then takes 26.4.
PLATFORMS = {
    "linux": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_12_x86_64", "manylinux2010_x86_64"),
    "windows": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64", *(f"macosx_{v}_universal2" for v in ("11_0", "10_15", "10_13", "10_9"))),
    "macos-x86_64": tuple(
        f"macosx_{version}_{kind}"
        for kind in ("x86_64", "universal2")
        for version in ("11_0", "10_15", "10_13", "10_12", "10_9")
    ),
}

WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9_]+)-(?P<version>[^-]+)(-\d[^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<system>[^-]+)\.whl"
)


class WheelError(Exception):
    """One sentence: which wheel is missing for which Nuke, and what to do."""


class Target(namedtuple("Target", ["nuke", "system"])):
    """One Nuke on one platform, such as ``Target("16", "linux")``."""

    __slots__ = ()

    @property
    def python(self):
        return NUKE_PYTHONS[self.nuke]

    @property
    def tag(self):
        """``cp311``."""
        return "cp" + self.python.replace(".", "")

    @property
    def folder(self):
        """The folder's name below ``vendor``, as ``rotomem_nuke.startup`` looks for it: ``linux-cp311``."""
        return f"{self.system}-{self.tag}"

    def __str__(self):
        return f"Nuke {self.nuke} (Python {self.python}) on {self.system}"


def this_system():
    """Return this machine's key in ``PLATFORMS``, or None where Nuke does not run."""
    import platform

    if sys.platform == "darwin":
        return "macos-arm64" if platform.machine() == "arm64" else "macos-x86_64"
    return {"win32": "windows", "linux": "linux"}.get(sys.platform)


def fits(wheel, target):
    """Tell whether the wheel file ``wheel`` runs on ``target``, by its name (PEP 425, PEP 600)."""
    match = WHEEL.fullmatch(Path(wheel).name)
    if match is None:
        return False
    if not set(match["system"].split(".")) & set(PLATFORMS[target.system]):
        return False
    pythons = match["python"].split(".")
    if "abi3" in match["abi"].split("."):
        minors = [int(tag[3:]) for tag in pythons if re.fullmatch(r"cp3\d+", tag)]
        return any(minor <= int(target.tag[3:]) for minor in minors)
    return target.tag in pythons and target.tag in match["abi"].split(".")


def choose(folder, package, target):
    """Return the newest wheel of ``package`` in ``folder`` that runs on ``target``, or None."""
    found = [
        (_numbers(WHEEL.fullmatch(path.name)["version"]), path.name, path)
        for path in sorted(Path(folder).glob(f"{package}-*.whl"))
        if fits(path, target) and _in_bounds(WHEEL.fullmatch(path.name)["version"], PACKAGES[package])
    ]
    return max(found)[2] if found else None


def choose_all(folder, targets):
    """Return ``{(target, package): wheel}`` for every target and package.

    Raises:
        WheelError: naming every wheel that is not there.
    """
    chosen = {(target, package): choose(folder, package, target) for target in targets for package in PACKAGES}
    missing = [f"{package} for {target}" for (target, package), wheel in chosen.items() if wheel is None]
    if missing:
        raise WheelError(
            f"{folder} has no wheel of {'; '.join(missing)}; leave these out with --nuke or --platform, or fetch them: "
            "python3 install/plugin.py wheels --to FOLDER, on a machine with a network"
        )
    return chosen


def fetch(targets, folder, say=print):
    """Download the wheels of every target into ``folder`` with this Python's pip.

    Raises:
        WheelError: pip is missing, or the registry has no such wheel: which, and what pip said.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for target in targets:
        for package, bounds in PACKAGES.items():
            if choose(folder, package, target) is not None:
                continue
            say(f"  fetching {package} for {target}")
            problem = _download(package + bounds, target, folder)
            if problem:
                failed.append((f"{package} for {target}", problem))
    if failed:
        which = "; ".join(what for what, _ in failed)
        raise WheelError(
            f"pip found no wheel of {which} ({failed[0][1]}); check the network or PIP_INDEX_URL, leave these out with "
            "--nuke or --platform, or give a folder of wheels with --wheels"
        )


def unpack(wheel, folder):
    """Return ``{relative path: bytes}`` of what the wheel installs; ``folder`` names where, for messages."""
    content = {}
    try:
        with zipfile.ZipFile(str(wheel)) as archive:
            for name in archive.namelist():
                if name.endswith("/"):
                    continue
                parts = Path(name).parts
                if name.startswith("/") or ".." in parts or ":" in name:
                    raise WheelError(f"{wheel} would write {name} outside of {folder}; fetch it again")
                content[name] = archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise WheelError(f"the wheel {wheel} is damaged ({error}); delete it and fetch it again") from error
    return content


def _download(requirement, target, folder):
    """Return what went wrong, or an empty string."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={target.python}", "--retries=1"]
    command += [f"--timeout={REGISTRY_WAIT_S}", "--dest", str(folder)]
    command += [f"--platform={system}" for system in PLATFORMS[target.system]]
    done = subprocess.run([*command, requirement], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if not done.returncode:
        return ""
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    errors = [line for line in lines if "ERROR" in line or "No module named pip" in line]
    return (errors or lines or ["pip gave no reason"])[-1]


def _numbers(version):
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _in_bounds(version, bounds):
    at_least, below = (_numbers(bound) for bound in bounds.split(","))
    return at_least <= _numbers(version) < below
