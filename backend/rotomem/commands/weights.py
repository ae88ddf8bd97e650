"""``rotomem weights``: the installed network weights, and where the published ones come from."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotomem.vos import WeightsFile

NAME = "weights"
SUMMARY = "list, add and verify network weights; say where the published ones come from"
EXAMPLES = """examples:
  rotomem weights list
  rotomem weights official                 the published XMem checkpoints: addresses, SHA-256, licence
  rotomem weights add XMem.pth             verified, converted to safetensors, installed
  rotomem weights add XMem.pth --sha256 HEX --size BYTES
  rotomem weights verify                   compare every installed file with its SHA-256
  rotomem propagate --engine xmem --weights XMem --plate ...

Nothing is downloaded: fetch a file yourself, with whatever your studio allows. The published XMem checkpoints are on
the release page of their authors, https://github.com/hkchengrex/XMem/releases/tag/v1.0 (XMem.pth, XMem-s012.pth,
XMem-s2.pth, XMem-with-mose.pth). Their authors publish no SHA-256: give the one that your source states, and add
refuses any other file. Their licence is theirs: read it, and that of their training data, before production.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=["list", "official", "add", "verify"])
    parser.add_argument("file", nargs="?", type=Path, help="for add: a .pth or .safetensors file")
    parser.add_argument("--name", help="for add: install under this name (default: the file's)")
    parser.add_argument("--sha256", default="", metavar="HEX", help="for add: refuse a file with another SHA-256")
    parser.add_argument("--size", type=int, metavar="BYTES", help="for add: refuse a file of another size")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")


def run(options: argparse.Namespace) -> int:
    folder: Path = options.settings.weights_dir
    if options.action == "add":
        return _add(options, folder)
    if options.action == "verify":
        return _verify(folder)
    if options.action == "official":
        return _tell_official()
    return _list(folder)


def _add(options: argparse.Namespace, folder: Path) -> int:
    from rotomem.errors import SettingError
    from rotomem.vos import add_weights
    from rotomem.vos.published_weights import verify_download

    if options.file is None:
        raise SettingError("weights add needs a file: rotomem weights add XMem.pth")
    source = verify_download(options.file, sha256=options.sha256, size=options.size)
    added = add_weights(options.file, folder, name=options.name)
    compared = f"as {source.against}" if source.against else "compared with nothing, for want of --sha256"
    print(f"{options.file.name}: {source.size} bytes, SHA-256 {source.sha256}, {compared}")
    print(f"installed {added.name}: {added.path} ({added.size / 1e6:.1f} MB, sha256 {added.sha256})")
    print(f"network: {_network_kind(added)}; use it with --engine xmem --weights {added.name}")
    return 0


def _verify(folder: Path) -> int:
    from rotomem.errors import WeightsCorruptError
    from rotomem.vos import verify_weights

    checked = verify_weights(folder)
    for file, problem in checked:
        print(f"{file.name}: {problem or 'ok'}")
    if not checked:
        print(f"no weights are installed in {folder}")
    bad = [file.name for file, problem in checked if problem]
    if bad:
        raise WeightsCorruptError(f"weights {', '.join(bad)} in {folder} are damaged; add them again")
    return 0


def _list(folder: Path) -> int:
    from rotomem.engine_names import SHIPPED_WEIGHTS, default_engine
    from rotomem.vos import installed_weights

    files = installed_weights(folder)
    for file in [*files, *installed_weights(SHIPPED_WEIGHTS.parent)]:
        print(f"{file.name:24} {file.size / 1e6:8.1f} MB  {file.sha256}  {_network_kind(file)}  {file.path}")
    if not files:
        print(f"none but Rotomem's own: no weights are installed in {folder}")
    print(f"the default engine here: {default_engine(folder)}")
    print("where published weights come from: rotomem weights official")
    return 0


def _tell_official() -> int:
    from rotomem.vos.published_weights import LICENCE, PUBLISHED, RELEASE_PAGE

    print(
        f"Published XMem checkpoints, {RELEASE_PAGE}\nLicence: {LICENCE}; the training data have terms of their own.\n"
    )
    for weights in PUBLISHED:
        print(f"{weights.file}: {weights.training}\n  {weights.url}")
        if weights.sha256:
            print(f"  SHA-256 {weights.sha256} ({weights.size}), of copies that others publish")
        else:
            print("  SHA-256 and size: not published")
    print(
        "\nNothing is downloaded. Fetch one yourself, then: rotomem weights add FILE --sha256 HEX --size BYTES\n"
        "with what your source states. XMem-no-sensory.pth is another network, and refused."
    )
    return 0


def _network_kind(file: WeightsFile) -> str:
    from rotomem.vos import NetworkConfig

    if file.config is None:
        return "unreadable"
    return "XMem's full configuration" if file.config == NetworkConfig() else "configuration of its own"
