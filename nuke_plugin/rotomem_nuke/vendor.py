"""The wheels that the installer unpacked beside the plugin: which folder is this Python's. No ``nuke`` in here."""

from __future__ import annotations

import importlib
import platform
import sys
from pathlib import Path

PLUGIN_FOLDER = Path(__file__).resolve().parent.parent


def vendor_folder() -> Path:
    """Return this platform's and Python's folder of wheels, such as ``vendor/linux-cp311``.

    macOS has one per processor, ``macos-arm64-cp311``: Nuke runs natively or translated, and compiled wheels differ.
    """
    system = {"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux")
    if system == "macos":
        system += "-arm64" if platform.machine() == "arm64" else "-x86_64"
    return PLUGIN_FOLDER / "vendor" / "{}-cp{}{}".format(system, *sys.version_info[:2])


def append_vendor_folder() -> None:
    """Make the wheels importable; appended, not inserted: a studio's own pyzmq and msgpack win over ours."""
    folder = str(vendor_folder())
    if folder not in sys.path:
        sys.path.append(folder)


def missing_wheels() -> list[str]:
    """Return the packages that this Python cannot import."""
    missing = []
    for package in ("msgpack", "zmq"):
        try:
            importlib.import_module(package)
        except ImportError:
            missing.append(package)
    return missing
