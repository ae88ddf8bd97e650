"""The command behind ``rotomem_export.py``: a comp opened without a window, its nodes' jobs written."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rotomem_client.errors import ClientError
from rotomem_nuke import api, host
from rotomem_nuke.errors import GraphError, PluginError
from rotomem_nuke.node import is_rotomem


def main(arguments: Sequence[str], description: str) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", required=True, type=Path)
    parser.add_argument("--node", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--map", dest="path_map", action="append", default=[])
    parser.add_argument("--save", type=Path)
    options = parser.parse_args(list(arguments))
    try:
        for path in export(options):
            _print(f"wrote {path}")
    except (PluginError, ClientError) as error:
        sys.stderr.write(f"rotomem export: {error}\n")
        return 1
    return 0


def export(options: argparse.Namespace) -> list[Path]:
    """Open the comp and write the jobs.

    Raises:
        PluginError: the comp cannot be opened, has no such node, or a node cannot be propagated.
    """
    script = options.script.resolve()
    if not script.is_file():
        raise GraphError(f"there is no script {script}; give its path with --script")
    host.open_script(script.as_posix())
    names = [options.node] if options.node else _rotomem_nodes()
    if not names:
        raise GraphError(f"{script} has no Rotomem node")
    if options.out is not None and len(names) > 1 and not options.out.is_dir():
        raise GraphError(f"{script} has {len(names)} Rotomem nodes; name one with --node, or a folder with --out")
    written = []
    for name in names:
        out = _destination(options.out, script, name)
        written.append(
            api.export_job(name, out, path_map=options.path_map, expect=options.save is not None, say=_print)
        )
    if options.save is not None:
        host.save_script(options.save.resolve().as_posix())
        written.append(options.save)
    return written


def _rotomem_nodes() -> list[str]:
    if host.limits_handles():
        raise GraphError("this edition of Nuke lets Python touch ten nodes; name the one to export with --node")
    return [node.fullName() for node in host.groups() if is_rotomem(node) and not node["disable"].value()]


def _destination(out: Path | None, script: Path, name: str) -> Path:
    file = re.sub(r"[^\w.-]", "_", name) + ".rotomem.json"
    if out is None:
        return script.with_name(file)
    return out / file if out.is_dir() else out


def _print(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()
