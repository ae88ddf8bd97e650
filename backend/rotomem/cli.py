"""The ``rotomem`` command: parses arguments, runs one command, turns errors into one sentence and an exit code."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from rotomem import __version__
from rotomem.commands import COMMANDS
from rotomem.config import Settings
from rotomem.errors import RotomemError
from rotomem.openmp import wait_briefly
from rotomem_client.errors import ClientError, DaemonUnreachableError, RefusedError

log = logging.getLogger(__name__)

EXIT_CLIENT = 7
EXIT_INTERRUPTED = 130

EPILOG = """examples:
  rotomem demo                                     a rendered shot, from roto shapes to mattes and a contact sheet
  rotomem propagate --plate 'sh010.%04d.exr' --shapes hero.json --output 'matte/hero.%04d.exr'
  rotomem serve                                    the daemon that Nuke talks to
  rotomem weights add XMem.pth                     check, convert and install published weights

exit codes: 0 done, 1 internal error, 2 wrong usage or setting, 3 plate, 4 annotation, 5 weights, 6 output,
7 daemon or connection, 130 cancelled
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=[logging.WARNING, logging.INFO, logging.DEBUG][min(options.verbose, 2)],
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        options.settings = Settings.load(overrides={name: getattr(options, name, None) for name in _SETTING_FLAGS})
        _limit_threads(options.settings.threads)
        return int(options.run(options))
    except RotomemError as error:
        print(f"rotomem: {error}", file=sys.stderr)
        return error.exit_code
    except (DaemonUnreachableError, RefusedError, ClientError) as error:
        print(f"rotomem: {error}", file=sys.stderr)
        return EXIT_CLIENT
    except KeyboardInterrupt:
        print("rotomem: cancelled; mattes that were finished are kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does; the interpreter must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


_SETTING_FLAGS = ("endpoint", "store_dir", "weights_dir", "device", "threads")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command adds its own."""
    parser = argparse.ArgumentParser(
        prog="rotomem",
        description="XMem++ roto propagation: annotate a few frames, get an alpha per frame.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rotomem {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = commands.add_parser(
            command.NAME,
            help=command.SUMMARY,
            description=command.SUMMARY[0].upper() + command.SUMMARY[1:] + ".",
            epilog=command.EXAMPLES,
            formatter_class=_HelpFormatter,
        )
        added.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice for everything")
        added.add_argument("--threads", type=int, default=None, metavar="N", help="CPU threads (default: one per core)")
        command.add_arguments(added)
        added.set_defaults(run=command.run)
    return parser


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Keeps the examples' line breaks and prints defaults."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, [], 0, ""):
            return action.help
        return super()._get_help_string(action)


def _limit_threads(threads: int) -> None:
    wait_briefly()
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
