"""Where the threads that call a client meet the one thread that owns its socket. No sockets, no threads of its own.

One condition guards everything. Callers queue requests and wait for answers, credit, chunks or events; the I/O thread
(``client.py``) hands in what arrived and takes what must leave.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Callable, Optional

from rotomem_client.codec import Envelope
from rotomem_client.connection import ClientConnection
from rotomem_client.errors import ClientError, DaemonUnreachableError, ProtocolError, RefusedError
from rotomem_client.messages import (
    FINAL_EVENTS,
    Chunk,
    Credit,
    ErrorReply,
    Flow,
    Goodbye,
    JobAccepted,
    JobEvent,
    JobFailed,
    MatteReady,
    Message,
    Progress,
    Reply,
    Request,
    ResumeJob,
    Welcome,
)
from rotomem_client.transfer import CreditBalance, CreditGrants

log = logging.getLogger(__name__)

_PATIENCE = 6
"""A daemon that lives but leaves one request unanswered is given up after so many timeouts."""
_CHECK_S = 0.25


class ConnectionLostError(ClientError):
    """The connection broke in the middle of a transfer; begin it again, it resumes. Never leaves this package."""


class JobInbox:
    """Events of one job that nobody has read yet, and what is known of it for a resume."""

    def __init__(self, job_id: str, have: Sequence[int] = ()) -> None:
        self.job_id = job_id
        self.have = set(have)
        self.ended = False
        self._hashes: dict[int, str] = {}
        self._events: deque[JobEvent] = deque()

    def put(self, event: JobEvent) -> None:
        """Add an event unless it is a repetition; newer progress replaces older."""
        if self.ended:
            return
        if isinstance(event, MatteReady):
            if self._hashes.get(event.frame) == event.sha256:
                return
            self._hashes[event.frame] = event.sha256
            if not event.preview:  # the finished one is still to be told
                self.have.add(event.frame)
        elif isinstance(event, Progress):
            if self._events and isinstance(self._events[-1], Progress):
                self._events.pop()
        elif isinstance(event, FINAL_EVENTS):
            self.ended = True
        self._events.append(event)

    def take(self) -> Optional[JobEvent]:
        return self._events.popleft() if self._events else None


class Exchange:
    """The state that callers and the I/O thread share.

    Args:
        connection: guarded by this object from now on.
        endpoint: for sentences.
        timeout_s: how long a silent daemon is waited for.
        clock: monotonic seconds.
        wake: makes the I/O thread look for something to send; called from any thread.
    """

    def __init__(
        self,
        connection: ClientConnection,
        *,
        endpoint: str,
        timeout_s: float,
        window_bytes: int,
        clock: Callable[[], float],
        wake: Callable[[], None],
    ) -> None:
        self.condition = threading.Condition()
        self.connection = connection
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._clock = clock
        self._wake = wake
        self._closed = False
        self._credit = CreditBalance()
        self._grants = CreditGrants(window_bytes)
        self._answers: dict[str, Optional[Reply]] = {}
        self._lost: set[str] = set()
        self._downloads: dict[str, deque[Chunk]] = {}
        self._inboxes: dict[str, JobInbox] = {}
        self._resumes: dict[str, str] = {}

    # --- callers ------------------------------------------------------------------------------------------------------

    def wait_until_ready(self) -> Welcome:
        """Return the daemon's welcome; raises ``DaemonUnreachableError`` or ``VersionError``."""
        with self.condition:
            started = self._clock()
            while not self.connection.ready:
                self._wait(started)
            assert self.connection.welcome is not None
            return self.connection.welcome

    def call(self, request: Request) -> Reply:
        """Send a request, again if need be, and return its reply.

        Raises:
            RefusedError: the daemon answered with an error.
            DaemonUnreachableError: it did not answer.
        """
        with self.condition:
            request_id = self.connection.request(request)
            self._answers[request_id] = None
            self._wake()
            return self._wait_for_answer(request_id)

    @property
    def generation(self) -> int:
        """Changes with every reconnect; an upload belongs to one."""
        with self.condition:
            return self.connection.generation

    def begin_upload(self) -> str:
        """Return an id for the chunks of one file."""
        with self.condition:
            request_id = self.connection.new_id()
            self._answers[request_id] = None
            return request_id

    def finish_upload(self, request_id: str) -> Reply:
        """Wait until the daemon has stored the file; raises also ``ConnectionLostError``."""
        with self.condition:
            return self._wait_for_answer(request_id)

    def forget_upload(self, request_id: str) -> None:
        with self.condition:
            self._answers.pop(request_id, None)
            self._lost.discard(request_id)

    def spend_credit(self, size: int, request_id: str, generation: int, check: Callable[[], None]) -> bool:
        """Wait for credit for ``size`` bytes; False if the daemon answered the upload before it came.

        ``check`` is called now and then, and raises to give up.
        """
        with self.condition:
            started = self._clock()
            while True:
                check()
                self._require_generation(generation)
                if self._answers.get(request_id) is not None:
                    return False
                if self._credit.available >= size:
                    self._credit.spend(size)
                    return True
                self._wait(started, at_most_s=_CHECK_S)

    def send_chunk(self, chunk: Chunk, request_id: str, generation: int) -> None:
        """Send a chunk whose credit is spent."""
        with self.condition:
            self._require_generation(generation)
            self.connection.send_flow(chunk, request_id)
            self._wake()

    def begin_download(self, request: Request) -> str:
        """Ask for a file's chunks; they come to ``next_chunk``."""
        with self.condition:
            request_id = self.connection.request(request, resend=False)
            self._answers[request_id] = None
            self._downloads[request_id] = deque()
            self._wake()
            return request_id

    def next_chunk(self, request_id: str) -> Chunk:
        """Wait for the next chunk of a download; raises also ``RefusedError`` and ``ConnectionLostError``."""
        with self.condition:
            chunks = self._downloads[request_id]
            started = self._clock()
            while not chunks:
                if request_id in self._lost or self._answers.get(request_id) is not None:
                    self._wait_for_answer(request_id)
                self._wait(started)
            chunk = chunks.popleft()
            self._grant(len(chunk.payload))
            return chunk

    def end_download(self, request_id: str) -> None:
        with self.condition:
            for chunk in self._downloads.pop(request_id, ()):
                self._grant(len(chunk.payload))
            self._answers.pop(request_id, None)
            self._lost.discard(request_id)
            self.connection.abandon(request_id)

    def resume_job(self, job_id: str, have: Sequence[int] = ()) -> Reply:
        """Collect a job's events from now on, beginning with those that the daemon repeats; raises like ``call``."""
        with self.condition:
            followed = job_id in self._inboxes
            if not followed:
                self._inboxes[job_id] = JobInbox(job_id, have)
        try:
            return self.call(ResumeJob(job_id, tuple(have)))
        except BaseException:
            # Nobody will read its events; left here, it would be resumed at every reconnect.
            if not followed:
                self.unfollow(job_id)
            raise

    def unfollow(self, job_id: str) -> None:
        with self.condition:
            self._inboxes.pop(job_id, None)

    def next_event(self, job_id: str, timeout_s: Optional[float]) -> Optional[JobEvent]:
        """Wait for a job's next event; None when ``timeout_s`` passed without one."""
        with self.condition:
            started = self._clock()
            while True:
                inbox = self._inboxes.get(job_id)
                event = inbox.take() if inbox is not None else None
                if event is not None:
                    return event
                left = None if timeout_s is None else timeout_s - (self._clock() - started)
                if left is not None and left <= 0:
                    return None
                self._wait(started, patience=None, at_most_s=left)

    def say_goodbye(self) -> None:
        """Tell the daemon, if it listens just now, that this client writes no session any more."""
        with self.condition:
            if self.connection.ready:
                self.connection.send_flow(Goodbye())

    def close(self) -> None:
        with self.condition:
            self._closed = True
            self.condition.notify_all()

    def _wait_for_answer(self, request_id: str) -> Reply:
        started = self._clock()
        try:
            while True:
                if request_id in self._lost:
                    raise ConnectionLostError(f"the connection to {self._endpoint} broke")
                reply = self._answers[request_id]
                if isinstance(reply, ErrorReply):
                    raise RefusedError(reply.code, reply.message)
                if reply is not None:
                    return reply
                self._wait(started)
        finally:
            self._answers.pop(request_id, None)
            self._lost.discard(request_id)
            self.connection.abandon(request_id)

    def _wait(self, started: float, *, patience: Optional[int] = _PATIENCE, at_most_s: Optional[float] = None) -> None:
        """Wait for any change; raises when there is nothing left to wait for."""
        if self._closed:
            raise DaemonUnreachableError(f"the connection to {self._endpoint} was closed")
        if self.connection.refusal is not None:
            raise self.connection.refusal
        now = self._clock()
        left = self._timeout_s - (now - max(started, self.connection.last_heard))
        if left <= 0:
            raise DaemonUnreachableError(
                f"no daemon answers at {self._endpoint} (waited {self._timeout_s:g} s): start it with 'rotomem serve', "
                "or check the endpoint"
            )
        if patience is not None and now - started > patience * self._timeout_s:
            raise DaemonUnreachableError(
                f"the daemon at {self._endpoint} is alive but left a request unanswered for "
                f"{patience * self._timeout_s:g} s; look at its log, then try again"
            )
        self.condition.wait(left if at_most_s is None else min(left, at_most_s))

    def _require_generation(self, generation: int) -> None:
        if generation != self.connection.generation or not self.connection.ready:
            raise ConnectionLostError(f"the connection to {self._endpoint} broke")

    def _grant(self, consumed: int) -> None:
        granted = self._grants.consume(consumed)
        if granted and self.connection.ready:
            self.connection.send_flow(Credit(granted))
            self._wake()

    # --- the I/O thread -----------------------------------------------------------------------------------------------

    def take_outgoing(self) -> Optional[list[bytes]]:
        with self.condition:
            return self.connection.take_outgoing()

    def receive(self, parts: Sequence[bytes]) -> None:
        """Take one message; raises ``ProtocolError`` when the connection must be dropped."""
        with self.condition:
            envelope = self.connection.receive(parts)
            if envelope is not None:
                self._deliver(envelope)
                self.condition.notify_all()

    def lose(self) -> None:
        """The transport is gone."""
        with self.condition:
            self.connection.lose()
            # Uploads and downloads belonged to this connection; plain requests are sent again.
            self._lost.update(
                request_id
                for request_id, answer in self._answers.items()
                if answer is None and not self.connection.will_resend(request_id)
            )
            for chunks in self._downloads.values():
                chunks.clear()
            self.condition.notify_all()

    def _deliver(self, envelope: Envelope) -> None:
        message, request_id = envelope.message, envelope.request_id
        if isinstance(message, Welcome):
            self._begin_connection()
        elif isinstance(message, Credit):
            self._credit.grant(message.granted)
        elif isinstance(message, Chunk):
            self._deliver_chunk(message, request_id)
        elif isinstance(message, Reply):
            self._deliver_reply(message, request_id)
        else:
            self._deliver_event(message)

    def _begin_connection(self) -> None:
        self._credit.reset()
        self.connection.send_flow(Credit(self._grants.open()))
        self._resumes.clear()
        for inbox in self._inboxes.values():
            if not inbox.ended:
                request_id = self.connection.request(ResumeJob(inbox.job_id, tuple(inbox.have)), resend=False)
                self._resumes[request_id] = inbox.job_id

    def _deliver_chunk(self, chunk: Chunk, request_id: str) -> None:
        self._grants.receive(len(chunk.payload))
        chunks = self._downloads.get(request_id)
        if chunks is None:
            # Its caller has left; without this the credit would be lost with it.
            self._grant(len(chunk.payload))
        else:
            chunks.append(chunk)

    def _deliver_reply(self, reply: Reply, request_id: str) -> None:
        if request_id in self._resumes:
            job_id = self._resumes.pop(request_id)
            if isinstance(reply, ErrorReply):
                self._put_event(JobFailed(job_id, reply.code, reply.message))
            return
        if request_id in self._answers:
            self._answers[request_id] = reply
            if isinstance(reply, JobAccepted):
                # Its events may follow in the same breath, before the caller has woken up.
                self._inboxes.setdefault(reply.job_id, JobInbox(reply.job_id))
        elif isinstance(reply, ErrorReply):
            log.warning("the daemon refused something that nobody waits for: %s %s", reply.code, reply.message)

    def _deliver_event(self, message: Message) -> None:
        if isinstance(message, (Progress, MatteReady, *FINAL_EVENTS)):
            self._put_event(message)
        elif not isinstance(message, Flow):
            raise ProtocolError(f"unexpected {message.type_name}")

    def _put_event(self, event: JobEvent) -> None:
        inbox = self._inboxes.get(event.job_id)
        if inbox is not None:
            inbox.put(event)
