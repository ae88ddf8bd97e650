"""What rez runs to build ``package.py``: the plugin's installer into the package's folder."""

import os
import subprocess
import sys
from pathlib import Path

INSTALLER = Path(__file__).resolve().parent.parent / "plugin.py"


def main():
    """Install for a ``rez build --install``; a plain ``rez build`` leaves the same in the build folder."""
    installing = os.environ.get("REZ_BUILD_INSTALL") == "1"
    folder = os.environ["REZ_BUILD_INSTALL_PATH" if installing else "REZ_BUILD_PATH"]
    command = [sys.executable, str(INSTALLER), "install", "--site", folder]
    wheels = os.environ.get("ROTOMEM_WHEELS")
    return subprocess.call([*command, "--wheels", wheels] if wheels else command)


if __name__ == "__main__":
    sys.exit(main())
