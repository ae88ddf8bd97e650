"""Progress on the command line: bars, and lines for a render farm."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tqdm import tqdm


class Progress(Protocol):
    """What a session, here or on a daemon, tells: ``done`` of ``total`` frames, and what it is at."""

    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def phase(self) -> str: ...


def tell(bar: tqdm[Any]) -> Callable[[int, int], None]:
    """Return what a task calls with (done, total) to move ``bar``."""

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show


def tell_phase(bar: tqdm[Any]) -> Callable[[Progress], None]:
    """Return what takes each progress of a session to ``bar``; a new phase is drawn at once, with no frame done."""
    move = tell(bar)
    last = ""

    def show(progress: Progress) -> None:
        nonlocal last
        move(progress.done, progress.total)
        if progress.phase != last:
            last = progress.phase
            bar.set_description(last)

    return show


class ProgressLines:
    """Lines as render farms read them: ``Progress: NN%`` of all shots together, never backward.

    Where a new phase, a tenth of tuning for one, moves no frame, it is a line too: with its percentage as a word, so
    that nobody takes it for the job's.
    """

    def __init__(self, shots: int = 1) -> None:
        self._shots = shots
        self._last = -1
        self._phase = ""

    def show(self, shot: int, progress: Progress) -> None:
        percent = (100 * shot + 100 * progress.done // max(progress.total, 1)) // self._shots
        if percent > self._last:
            self._last = percent
            print(f"Progress: {percent}%", flush=True)
        elif progress.phase != self._phase:
            print(f"Phase: {progress.phase.replace(' %', ' percent')}", flush=True)
        self._phase = progress.phase
