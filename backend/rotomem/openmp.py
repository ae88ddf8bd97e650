"""How torch's OpenMP threads wait for one another; to be settled before torch is loaded."""

from __future__ import annotations

import os

SPINS = "10000"
"""Turns, about a tenth of a millisecond, after which a thread that waits goes to sleep (GNU's OpenMP, on Linux).

A step of tuning on two idle cores of an AMD EPYC takes 0.57 s where threads sleep at once, 0.31 s so, and 0.29 s where
they spin for long; beside three other processes 2.1, 2.6 and 7.9 s.
"""


def wait_briefly() -> None:
    """Let threads spin for a moment and then sleep, unless the environment says how they are to wait."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
