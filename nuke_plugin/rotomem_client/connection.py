"""Both ends of a connection as state without I/O: bytes in, messages and bytes out, the clock from outside.

``ClientConnection`` greets, numbers requests, matches replies, sends unanswered requests again after a reconnect,
notices silence, and says when to try again. ``ServerConnection`` is one client as the daemon sees it. Neither is
thread-safe: whoever owns one holds a lock, or owns it alone.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Callable, Optional

from rotomem_client.codec import Envelope, decode, encode, peek_request_id
from rotomem_client.errors import InvalidValueError, ProtocolError, VersionError
from rotomem_client.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    ErrorReply,
    Event,
    Flow,
    FramesSuggested,
    Hello,
    Introduce,
    JobFailed,
    Message,
    Ping,
    Pong,
    Progress,
    Reply,
    Request,
    Welcome,
    sentence,
)

HELLO_FIRST = "HELLO_FIRST"
VERSION = "VERSION"
PROTOCOL = "PROTOCOL"
BUSY = "BUSY"

FIRST_RETRY_S = 0.1
LAST_RETRY_S = 5.0


class ClientConnection:
    """The client's end.

    Args:
        hello: sent first on every transport. It must offer ``PROTOCOL_MAX`` alone.
        introduction: sent after every welcome, ahead of all requests; None leaves this client without a name.
        clock: monotonic seconds.
        random: uniform in [0, 1), for the jitter of the backoff.
        ping_after_s: of silence.
        dead_after_s: of silence, although there was a ping; then ``tick`` reports the connection lost.
    """

    def __init__(
        self,
        hello: Hello,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        introduction: Optional[Introduce] = None,
        ping_after_s: float = 2.0,
        dead_after_s: float = 6.0,
    ) -> None:
        self.welcome: Optional[Welcome] = None
        self.refusal: Optional[VersionError] = None
        self.generation = 0
        """Counts handshakes; what belongs to one connection (credit, uploads) ends with it."""
        self.last_heard = clock()
        self.retry_at = self.last_heard
        self._hello = hello
        self._introduction = introduction
        self._clock = clock
        self._random = random
        self._ping_after_s = ping_after_s
        self._dead_after_s = dead_after_s
        self._open = False
        self._ready = False
        self._opened_at = 0.0
        self._pinged_at = 0.0
        self._failures = 0
        self._hello_id = ""
        self._requests: dict[str, list[bytes]] = {}
        self._unsent: deque[str] = deque()
        self._sent: set[str] = set()
        self._once: set[str] = set()
        self._outgoing: deque[list[bytes]] = deque()

    @property
    def ready(self) -> bool:
        """The daemon has welcomed us on the present transport."""
        return self._ready

    @property
    def is_open(self) -> bool:
        """There is a transport, greeted or not."""
        return self._open

    def open(self) -> None:
        """A new transport is there: greet."""
        self._open = True
        self._ready = False
        self._opened_at = self._clock()
        self._hello_id = uuid.uuid4().hex
        self._outgoing.clear()
        self._outgoing.append(encode(self._hello, self._hello_id))

    def lose(self) -> None:
        """The transport is gone: plan the next one, keep the requests that may be sent again."""
        self._open = self._ready = False
        self._outgoing.clear()
        for request_id in tuple(self._once):
            self.abandon(request_id)
        self._sent.clear()
        self._unsent = deque(self._requests)
        pause = min(LAST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(self._failures, 10))
        self.retry_at = self._clock() + pause * (0.5 + 0.5 * self._random())
        self._failures += 1

    def request(self, message: Request, *, resend: bool = True) -> str:
        """Queue a request; return its id. Without ``resend`` it is dropped when the connection is lost."""
        request_id = uuid.uuid4().hex
        self._requests[request_id] = encode(message, request_id)
        self._unsent.append(request_id)
        if not resend:
            self._once.add(request_id)
        return request_id

    def new_id(self) -> str:
        """Return an id for what is no request: the chunks of one upload."""
        return uuid.uuid4().hex

    def will_resend(self, request_id: str) -> bool:
        """The request is unanswered and survives the loss of the connection."""
        return request_id in self._requests

    def send_flow(self, message: Flow, request_id: str = "") -> None:
        """Queue a chunk or credit on the present connection; call only while ``ready``."""
        self._outgoing.append(encode(message, request_id))

    def abandon(self, request_id: str) -> None:
        """Nobody waits for this answer any more."""
        self._requests.pop(request_id, None)
        self._once.discard(request_id)
        self._sent.discard(request_id)

    def take_outgoing(self) -> Optional[list[bytes]]:
        """Return the next message to put on the transport, or None."""
        if self._outgoing:
            return self._outgoing.popleft()
        if not self._ready or self.welcome is None:
            return None
        while self._unsent and len(self._sent) < self.welcome.limits.pending_requests:
            request_id = self._unsent.popleft()
            if request_id in self._requests:
                self._sent.add(request_id)
                return self._requests[request_id]
        return None

    def receive(self, parts: Sequence[bytes]) -> Optional[Envelope]:
        """Take one message from the transport.

        Returns:
            What the caller must act on (a ``Welcome`` included), or None.

        Raises:
            ProtocolError: the daemon speaks nonsense, or has forgotten us: call ``lose``.
        """
        envelope = decode(parts)
        message = envelope.message
        if not isinstance(message, (Reply, Event, Flow)):
            raise ProtocolError(f"the daemon sent {message.type_name}, which only a client may")
        self.last_heard = self._clock()
        if isinstance(message, ErrorReply) and message.code == HELLO_FIRST:
            raise ProtocolError("the daemon has forgotten this connection")
        if not self._ready:
            return self._receive_greeting(envelope)
        if isinstance(message, Reply):
            if isinstance(message, Welcome) or envelope.request_id not in self._requests:
                # An upload's answer carries an id that was never a request; late answers have no one waiting.
                return envelope if not isinstance(message, (Welcome, Pong)) else None
            self.abandon(envelope.request_id)
        return envelope

    def _receive_greeting(self, envelope: Envelope) -> Optional[Envelope]:
        message = envelope.message
        if envelope.request_id != self._hello_id:
            return None
        if isinstance(message, ErrorReply):
            self.refusal = VersionError(message.message)
            return envelope
        if not isinstance(message, Welcome):
            return None
        if not self._hello.protocol_min <= message.protocol <= self._hello.protocol_max:
            raise ProtocolError(f"the daemon chose protocol {message.protocol}, which was not offered")
        self.welcome = message
        self.refusal = None
        self.generation += 1
        self._ready = True
        self._failures = 0
        if self._introduction is not None:
            self._outgoing.append(encode(self._introduction))
        return envelope

    def tick(self) -> bool:
        """Ping if it is time; return whether the connection must be taken for lost."""
        if not self._open:
            return False
        now = self._clock()
        silence = now - max(self.last_heard, self._opened_at)
        if silence > self._dead_after_s:
            return True
        if self._ready and silence > self._ping_after_s and now - self._pinged_at > self._ping_after_s:
            self._pinged_at = now
            self._outgoing.append(encode(Ping(), uuid.uuid4().hex))
        return False


class ServerConnection:
    """One client as the daemon sees it.

    Args:
        welcome: the answer to a client that shares a protocol; ``protocol`` is filled in here.
        clock: monotonic seconds.
        worker_state: for ``Pong``.
        queue_bytes: of messages not yet taken by the transport; beyond, ``overflowing`` is true.
    """

    def __init__(
        self,
        welcome: Welcome,
        *,
        clock: Callable[[], float],
        worker_state: Callable[[], str],
        queue_bytes: int = 32 * 1024 * 1024,
    ) -> None:
        self.last_heard = clock()
        self.greeted = False
        self.overflowing = False
        self._protocol = PROTOCOL_MAX
        self._welcome = welcome
        self._clock = clock
        self._worker_state = worker_state
        self._queue_limit = queue_bytes
        self._queued_bytes = 0
        self._queue: deque[tuple[Message, list[bytes]]] = deque()
        self._open: set[str] = set()

    def receive(self, parts: Sequence[bytes]) -> Optional[Envelope]:
        """Take one message; return what the daemon must act on. Refusals and pongs are queued here."""
        self.last_heard = self._clock()
        try:
            envelope = decode(parts, self._protocol)
        except ProtocolError as error:
            self.send(ErrorReply(PROTOCOL, sentence(str(error))), peek_request_id(parts))
            return None
        message, request_id = envelope.message, envelope.request_id
        if isinstance(message, Hello):
            return self._greet(message, envelope)
        if not self.greeted:
            self.send(ErrorReply(HELLO_FIRST, "this connection is unknown here: say hello first"), request_id)
        elif isinstance(message, Ping):
            self.send(Pong(self._worker_state()), request_id)
        elif isinstance(message, Flow):
            return envelope
        elif not isinstance(message, Request) or not request_id:
            self.send(ErrorReply(PROTOCOL, f"{message.type_name} is no request with an id"), request_id)
        elif len(self._open) >= self._welcome.limits.pending_requests:
            self.send(ErrorReply(BUSY, "too many requests wait for their answers; send fewer at once"), request_id)
        else:
            self._open.add(request_id)
            return envelope
        return None

    def _greet(self, hello: Hello, envelope: Envelope) -> Optional[Envelope]:
        protocol = min(hello.protocol_max, PROTOCOL_MAX)
        if protocol < max(hello.protocol_min, PROTOCOL_MIN):
            older = "client" if hello.protocol_max < PROTOCOL_MIN else "daemon"
            text = (
                f"the daemon speaks protocol {PROTOCOL_MIN} to {PROTOCOL_MAX} and {hello.client} "
                f"{hello.protocol_min} to {hello.protocol_max}: update the {older}"
            )
            self.send(ErrorReply(VERSION, sentence(text)), envelope.request_id)
            return None
        self.greeted = True
        self._protocol = protocol
        self._open.clear()
        self.send(replace(self._welcome, protocol=protocol), envelope.request_id)
        return envelope

    def send(self, message: Message, request_id: str = "") -> None:
        """Queue a message; progress that the transport has not taken yet is replaced by newer progress."""
        self._open.discard(request_id)
        if isinstance(message, FramesSuggested) and self._protocol < message.since:
            # Asked for by another, newer client; this one has only taken the job up.
            message = JobFailed(
                message.job_id, VERSION, "suggested frames can be told to a newer client only: update it"
            )
        try:
            parts = encode(message, request_id, self._protocol)
        except InvalidValueError as error:
            parts = encode(ErrorReply("TOO_LARGE", sentence(str(error))), request_id)
        if isinstance(message, Progress) and self._queue:
            last = self._queue[-1][0]
            if isinstance(last, Progress) and last.job_id == message.job_id:
                self._queued_bytes -= _size(self._queue.pop()[1])
        self._queue.append((message, parts))
        self._queued_bytes += _size(parts)
        self.overflowing = self.overflowing or self._queued_bytes > self._queue_limit

    def next_outgoing(self) -> Optional[list[bytes]]:
        """Return the next message for the transport without removing it, or None."""
        return self._queue[0][1] if self._queue else None

    def drop_outgoing(self) -> None:
        """The transport took what ``next_outgoing`` returned."""
        self._queued_bytes -= _size(self._queue.popleft()[1])


def _size(parts: Sequence[bytes]) -> int:
    return sum(len(part) for part in parts)
