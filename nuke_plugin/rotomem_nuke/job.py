"""Mattes being made, for a script that waits for them or follows them."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Optional

from rotomem_nuke import host

if TYPE_CHECKING:
    from rotomem_nuke.following import Report
    from rotomem_nuke.runs import Run

POLL_S = 0.05


@dataclass(frozen=True)
class Matte:
    """One matte has come.

    Args:
        confidence: of the frame, in [0, 1]; 1 is sure.
        done: how many of this run have come by now.
        total: how many it makes.
    """

    frame: int
    confidence: float
    done: int
    total: int


class Job:
    """Mattes being made, by ``propagate`` or ``propose_motion``. While nobody waits for it, it goes on by itself.

    Without a window the job needs the main thread now and then: wait for it, or follow its events, before the script
    ends.

    Args:
        start: starts the run, whose reports go to the function that it is given.
    """

    def __init__(self, start: Callable[[Callable[[Report], None]], Run]) -> None:
        self._reports: queue.Queue[Report] = queue.Queue()
        self._told = 0
        self._started = start(self._reports.put)

    @property
    def done(self) -> bool:
        """It has ended, in one way or another."""
        return self._started.finished.is_set()

    @property
    def sentence(self) -> str:
        """What the node's status line says."""
        return self._started.report.sentence

    @property
    def complete(self) -> bool:
        """Every frame asked for has its matte."""
        return self._started.report.complete

    @property
    def frames(self) -> tuple[int, ...]:
        """The frames whose mattes have come, ascending."""
        return tuple(sorted({frame for frame, _ in self._started.report.made}))

    def stop(self) -> None:
        """End it after the frame being made; finished mattes stay. ``wait`` then returns."""
        self._started.stop()

    def events(self) -> Iterator[Matte]:
        """Yield each matte as it comes, until the job ends.

        Raises:
            PluginError: Nuke could not render what was asked for.
            ClientError: the daemon is away, refused, or the job failed: its sentence.
        """
        ended = False
        while not ended:
            ended = self.done
            yield from self._new()
            if not ended:
                self._let_others_work()
        while host.on_main_thread() and host.serve(0.0):
            pass  # what the job still has to show on the node
        if self._started.error is not None:
            raise self._started.error

    def wait(self, timeout_s: Optional[float] = None) -> Job:
        """Return when the job has ended; raises as ``events``, and ``TimeoutError`` after ``timeout_s``."""
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.done:
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"the propagation is not ready after {timeout_s:g} s: {self.sentence}")
            self._let_others_work()
        for _ in self.events():
            pass
        return self

    def _new(self) -> Iterator[Matte]:
        while True:
            try:
                report = self._reports.get_nowait()
            except queue.Empty:
                return
            for frame, confidence in report.made[self._told :]:
                self._told += 1
                yield Matte(frame, confidence, self._told, report.total)

    def _let_others_work(self) -> None:
        if host.on_main_thread():
            host.serve(POLL_S)
        else:
            time.sleep(POLL_S)
