"""``python -m rotomem.training vos --out runs/vos --minutes 9``: ``rotomem train`` without the client's dependencies.

A GPU machine that is lent for minutes has torch and numpy, and rarely pyzmq or OpenImageIO.
"""

from __future__ import annotations

import argparse
import logging
import sys

from rotomem.commands import train
from rotomem.config import Settings
from rotomem.errors import RotomemError
from rotomem.openmp import wait_briefly


def main() -> int:
    wait_briefly()
    parser = argparse.ArgumentParser(
        prog="python -m rotomem.training",
        epilog=train.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    train.add_arguments(parser)
    options = parser.parse_args()
    options.threads = None
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        options.settings = Settings.load(overrides={"device": options.device})
        return train.run(options)
    except RotomemError as error:
        sys.stderr.write(f"rotomem.training: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
