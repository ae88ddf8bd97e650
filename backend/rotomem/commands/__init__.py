"""One module per command: ``NAME``, ``SUMMARY``, ``EXAMPLES``, ``add_arguments`` and ``run``.

Commands import the heavy packages when they run, so that ``rotomem --help`` answers at once.
"""

from __future__ import annotations

from rotomem.commands import benchmark, demo, evaluate, job, propagate, report, serve, sessions, train, weights

COMMANDS = (demo, propagate, report, job, serve, sessions, evaluate, benchmark, train, weights)
