"""``rotomem sessions``: what the daemon's store holds, and what may go."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotomem_client.client import Client

NAME = "sessions"
SUMMARY = "list the sessions in the daemon's store, remove one, or delete superseded mattes"
EXAMPLES = """examples:
  rotomem sessions list                    each session with its revision, size and last change
  rotomem sessions remove sh010            its annotations, mattes and frames, for good
  rotomem sessions prune --keep-gb 20      superseded mattes, the oldest first, until 20 GB are left
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--endpoint", help="where the daemon listens (default: tcp://127.0.0.1:7447)")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    actions.add_parser("list", help="one line per session")
    remove = actions.add_parser("remove", help="delete a session with everything that is stored of it")
    remove.add_argument("session_id", metavar="SESSION")
    prune = actions.add_parser("prune", help="delete mattes that newer ones have superseded")
    prune.add_argument(
        "--keep-gb", type=float, default=0.0, metavar="GB", help="stop when all mattes have so much (default: 0)"
    )


def run(options: argparse.Namespace) -> int:
    from rotomem_client.client import Client

    with Client(options.settings.endpoint, name="rotomem sessions") as client:
        if options.action == "list":
            _list(client)
        elif options.action == "remove":
            removed = client.remove_session(options.session_id)
            print(f"{options.session_id} is removed: {removed.files} files, {removed.size / 1e9:.2f} GB")
        else:
            pruned = client.prune_store(max(0, int(options.keep_gb * 1e9)))
            print(f"{pruned.files} superseded mattes are deleted, {pruned.size / 1e9:.2f} GB are free again")
    return 0


def _list(client: Client) -> None:
    for session in client.list_sessions():
        changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(session.used_at))
        print(f"{session.session_id}  revision {session.revision}  {session.size / 1e9:.2f} GB  {changed}")
