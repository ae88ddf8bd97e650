"""``rotomem weights``: the installed network weights."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "weights"
SUMMARY = "list, add and verify network weights"
EXAMPLES = """examples:
  rotomem weights list
  rotomem weights add XMem.pth             a published checkpoint: checked, converted to safetensors, installed
  rotomem weights verify                   compare every file with its SHA-256

Nothing is downloaded. The published XMem checkpoints come from the releases of the XMem authors' repository
(hkchengrex/XMem on GitHub); their licence is theirs, so read it before you use them in production.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "add", "verify"])
    parser.add_argument("file", nargs="?", type=Path, help="for add: a .pth or .safetensors file")
    parser.add_argument("--name", help="for add: install under this name (default: the file's)")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")


def run(options: argparse.Namespace) -> int:
    from rotomem.errors import SettingError, WeightsCorruptError
    from rotomem.vos import add_weights, installed_weights, verify_weights

    folder = options.settings.weights_dir
    if options.action == "add":
        if options.file is None:
            raise SettingError("weights add needs a file: rotomem weights add XMem.pth")
        added = add_weights(options.file, folder, name=options.name)
        print(f"installed {added.name}: {added.path} ({added.size / 1e6:.1f} MB, sha256 {added.sha256})")
        return 0
    if options.action == "verify":
        checked = verify_weights(folder)
        for file, problem in checked:
            print(f"{file.name}: {problem or 'ok'}")
        if not checked:
            print(f"no weights are installed in {folder}")
        bad = [file.name for file, problem in checked if problem]
        if bad:
            raise WeightsCorruptError(f"weights {', '.join(bad)} in {folder} are damaged; add them again")
        return 0
    files = installed_weights(folder)
    for file in files:
        print(f"{file.name:24} {file.size / 1e6:8.1f} MB  {file.sha256}  {file.path}")
    if not files:
        print(f"no weights are installed in {folder}; engine warp is the default")
    return 0
