"""Nuke runs this at every start-up, with and without a window. It must never keep Nuke from starting."""

from __future__ import annotations

import sys

try:
    from rotomem_nuke import startup

    startup.start()
except Exception as error:  # start-up inside Nuke may catch everything: a broken plugin must not take the comp down
    sys.stderr.write(f"Rotomem is not available in this session: {error}\n")
