"""One propagation, as the caller follows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional, Union

from rotomem_client.errors import JobFailedError
from rotomem_client.exchange import Exchange
from rotomem_client.messages import FINAL_EVENTS, Cancel, JobCancelled, JobEvent, JobFailed, JobFinished


class Job:
    """A propagation that the daemon has accepted. Made by ``Client.propagate`` and ``Client.resume_job``.

    Args:
        job_id: 32 hex digits; good for ``Client.resume_job``, also in another process.
        revision: of the annotations that it runs with; 0 if resumed.
    """

    def __init__(self, exchange: Exchange, job_id: str, revision: int) -> None:
        self.id = job_id
        self.revision = revision
        self._exchange = exchange
        self._done = False

    @property
    def done(self) -> bool:
        """``events`` has yielded a final event."""
        return self._done

    def events(self, timeout_s: Optional[float] = None) -> Iterator[JobEvent]:
        """Yield events until a final one (``JobFinished``, ``JobFailed``, ``JobCancelled``), across reconnects.

        With ``timeout_s`` the iteration also ends when no event came for so long; call again to go on, for as long
        as ``done`` is false.

        Raises:
            DaemonUnreachableError: the daemon was silent for longer than the client's ``timeout_s``. The job may
                live on: call again to wait for it.
        """
        while not self._done:
            event = self._exchange.next_event(self.id, timeout_s)
            if event is None:
                return
            if isinstance(event, FINAL_EVENTS):
                self._done = True
                self._exchange.unfollow(self.id)
            yield event

    def cancel(self) -> None:
        """Ask to stop after the frame in work; a final event follows, and the mattes made so far are kept."""
        self._exchange.call(Cancel(self.id))

    def wait(self) -> Union[JobFinished, JobCancelled]:
        """Read events until the final one and return it.

        Raises:
            JobFailedError: with the daemon's code and sentence.
        """
        for event in self.events():
            if isinstance(event, JobFailed):
                raise JobFailedError(event.code, event.message)
            if isinstance(event, (JobFinished, JobCancelled)):
                return event
        raise JobFailedError("ENDED", f"job {self.id} has ended and its events were read before")
