"""``python -m rotomem``."""

from __future__ import annotations

import sys

from rotomem.cli import main

if __name__ == "__main__":
    sys.exit(main())
