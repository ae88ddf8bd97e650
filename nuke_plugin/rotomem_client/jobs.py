"""One job, as the caller follows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional

from rotomem_client.errors import JobFailedError
from rotomem_client.exchange import Exchange
from rotomem_client.messages import (
    FINAL_EVENTS,
    Cancel,
    FramesSuggested,
    JobCancelled,
    JobEvent,
    JobFailed,
    JobFinished,
    SuggestedFrame,
)


class Job:
    """A job that the daemon has accepted, made by ``Client.propagate``, ``suggest_frames`` and ``resume_job``.

    Args:
        job_id: 32 hex digits; good for ``Client.resume_job``, also in another process.
        revision: of the annotations that it runs with; 0 if resumed.
    """

    def __init__(self, exchange: Exchange, job_id: str, revision: int) -> None:
        self.id = job_id
        self.revision = revision
        self._exchange = exchange
        self._final: Optional[JobEvent] = None

    @property
    def done(self) -> bool:
        """``events`` has yielded a final event."""
        return self._final is not None

    def events(self, timeout_s: Optional[float] = None) -> Iterator[JobEvent]:
        """Yield events until a final one (``JobFinished``, ``FramesSuggested``, ``JobFailed``,
        ``JobCancelled``), across reconnects.

        With ``timeout_s`` the iteration also ends when no event came for so long; call again to go on, for as long
        as ``done`` is false.

        Raises:
            DaemonUnreachableError: the daemon was silent for longer than the client's ``timeout_s``. The job may
                live on: call again to wait for it.
        """
        while self._final is None:
            event = self._exchange.next_event(self.id, timeout_s)
            if event is None:
                return
            if isinstance(event, FINAL_EVENTS):
                self._final = event
                self._exchange.unfollow(self.id)
            yield event

    def cancel(self) -> None:
        """Ask to stop after the frame in work; a final event follows, and the mattes made so far are kept."""
        self._exchange.call(Cancel(self.id))

    def wait(self) -> JobFinished:
        """Read a propagation's remaining events and return the final one; also after ``events`` has yielded it.

        Raises:
            JobFailedError: with the daemon's code and sentence; code ``CANCELLED`` if it was cancelled.
        """
        final = self._wait_for_end()
        assert isinstance(final, JobFinished)
        return final

    def wait_for_suggestions(self) -> tuple[SuggestedFrame, ...]:
        """Return what a job of ``Client.suggest_frames`` has found, the best frame first; raises like ``wait``."""
        final = self._wait_for_end()
        assert isinstance(final, FramesSuggested)
        return final.suggestions

    def _wait_for_end(self) -> JobEvent:
        for _ in self.events():
            pass
        if isinstance(self._final, JobFailed):
            raise JobFailedError(self._final.code, self._final.message)
        if isinstance(self._final, JobCancelled):
            raise JobFailedError("CANCELLED", f"cancelled after {self._final.done} frames; their mattes are kept")
        assert self._final is not None
        return self._final
