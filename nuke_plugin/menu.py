"""Nuke runs this after ``init.py``, in sessions with a window only."""

from __future__ import annotations

import sys

try:
    from rotomem_nuke import startup

    startup.add_menu()
except Exception as error:  # start-up inside Nuke may catch everything: a broken plugin must not take the comp down
    sys.stderr.write(f"Rotomem has no menu in this session: {error}\n")
