"""One module per command: ``NAME``, ``SUMMARY``, ``EXAMPLES``, ``add_arguments`` and ``run``.

Commands import the heavy packages when they run, so that ``rotomem --help`` answers at once.
"""

from __future__ import annotations

from rotomem.commands import (
    benchmark,
    demo,
    evaluate,
    evaluate_suggestions,
    job,
    motion,
    prompt,
    propagate,
    report,
    serve,
    sessions,
    suggest,
    train,
    weights,
)

COMMANDS = (
    demo,
    propagate,
    suggest,
    motion,
    prompt,
    report,
    job,
    serve,
    sessions,
    evaluate,
    evaluate_suggestions,
    benchmark,
    train,
    weights,
)
