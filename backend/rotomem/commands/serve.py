"""``rotomem serve``: the daemon."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from rotomem.errors import OutputUnwritableError, SettingError

NAME = "serve"
SUMMARY = "run the daemon that Nuke and the batch commands talk to"
EXAMPLES = """examples:
  rotomem serve                                        tcp://127.0.0.1:7447, this machine only
  rotomem serve --endpoint 'tcp://127.0.0.1:*' --ready-file /tmp/rotomem.json
  rotomem serve --endpoint tcp://0.0.0.0:7447 --allow-remote --plate-root /jobs
                                                       a GPU machine in a trusted network
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--endpoint", help="where to listen (default: tcp://127.0.0.1:7447)")
    parser.add_argument("--store", dest="store_dir", type=Path, help="folder of sessions, frames and mattes")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="permit an endpoint other than loopback; anybody who reaches it can use it",
    )
    parser.add_argument(
        "--plate-root",
        dest="plate_roots",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="read plates by their path only below this folder, others must be sent (may be repeated; default: read "
        "whatever this user can); advisable with --allow-remote",
    )
    parser.add_argument(
        "--store-gb",
        type=float,
        default=100.0,
        metavar="GB",
        help="delete mattes that newer ones have superseded, the oldest first, when all have more than this; each "
        "frame's newest matte stays",
    )
    parser.add_argument("--ready-file", type=Path, help="written as JSON with the bound endpoint once it answers")


def run(options: argparse.Namespace) -> int:
    from rotomem.daemon import serve

    settings = options.settings
    if not 0 <= options.store_gb < 1e9:
        raise SettingError(f"--store-gb is {options.store_gb}; it must be a number of gigabytes, 0 or more")
    if options.ready_file is not None:
        # Before anything starts: a daemon that cannot say where it is would be found by nobody.
        _write_whole(options.ready_file.with_suffix(".starting"), "")
        options.ready_file.with_suffix(".starting").unlink()

    def announce(endpoint: str) -> None:
        print(f"rotomem daemon at {endpoint}, store {settings.store_dir}", flush=True)
        if options.ready_file is not None:
            _write_whole(options.ready_file, json.dumps({"endpoint": endpoint, "pid": os.getpid()}))

    serve(
        endpoint=settings.endpoint,
        store_dir=settings.store_dir,
        weights_dir=settings.weights_dir,
        device=settings.device,
        threads=settings.threads,
        allow_remote=options.allow_remote,
        plate_roots=options.plate_roots,
        store_gb=options.store_gb,
        features_mb=settings.features_mb,
        on_ready=announce,
    )
    return 0


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_suffix(".part")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise OutputUnwritableError(
            f"the ready file {path} cannot be written: {error.strerror}; choose another place"
        ) from error
