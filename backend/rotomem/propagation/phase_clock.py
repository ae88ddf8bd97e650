"""Seconds by phase, each moment counted once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rotomem.propagation.engine import FrameSource, Image

READING = "read"


class PhaseClock:
    """Adds up the time spent in named phases; time in an inner phase does not count for the outer one.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what happens inside for ``name``."""
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def take(self) -> dict[str, float]:
        """Return the seconds by phase since the last call."""
        taken, self._seconds = dict(self._seconds), defaultdict(float)
        return taken

    def _charge(self) -> None:
        now = self._now()
        if self._open:
            self._seconds[self._open[-1]] += now - self._since
        self._since = now


class ClockedSource:
    """A ``FrameSource`` whose reading is a phase of its own, so that the phase that asks is not charged for it."""

    def __init__(self, source: FrameSource, clock: PhaseClock) -> None:
        self._source = source
        self._clock = clock

    @property
    def size(self) -> tuple[int, int]:
        return self._source.size

    def image(self, frame: int) -> Image:
        with self._clock.phase(READING):
            return self._source.image(frame)
