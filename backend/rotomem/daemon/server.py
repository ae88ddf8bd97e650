"""The daemon's socket: one thread carries bytes between it and the connections' state. The only importer of zmq."""

from __future__ import annotations

import errno
import ipaddress
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import zmq

from rotomem.daemon.inbox import Inbox
from rotomem.errors import PortTakenError, SettingError
from rotomem_client.codec import Envelope
from rotomem_client.connection import ServerConnection
from rotomem_client.messages import MAX_PART_BYTES, MAX_PARTS, Message, Welcome

log = logging.getLogger(__name__)

MAX_PEERS = 256
EXPIRE_AFTER_S = 30.0
"""Of silence, in time during which the socket was read."""
_MAX_QUEUED_MESSAGES = 1000
_READS_PER_TURN = 64
_IDLE_POLL_MS = 250
_BACKLOG_POLL_MS = 10
_LONGEST_TURN_S = 1.0


class Handler(Protocol):
    """Who acts on messages; ``Dispatcher`` is one."""

    def handle(self, peer: bytes, envelope: Envelope) -> None: ...

    def forget(self, peer: bytes) -> None: ...


def require_local(endpoint: str, *, allow_remote: bool) -> None:
    """Refuse an endpoint that other machines could reach, unless told otherwise.

    Raises:
        SettingError: the endpoint is not loopback, or is none at all.
    """
    scheme, _, address = endpoint.partition("://")
    if scheme == "ipc" and address:
        return
    host, _, port = address.rpartition(":")
    if scheme != "tcp" or not host or not port:
        raise SettingError(f"the endpoint {endpoint!r} is none; write it like tcp://127.0.0.1:7447")
    if _is_loopback(host.strip("[]")):
        return
    if not allow_remote:
        raise SettingError(
            f"the endpoint {endpoint} can be reached from other machines, and whoever reaches it can use this daemon: "
            "listen on 127.0.0.1, or allow remote clients explicitly (--allow-remote)"
        )
    log.warning(
        "listening on %s: whoever reaches it can read plates and write mattes as this user, and nothing is encrypted",
        endpoint,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server:
    """Binds at once; ``run`` serves until ``stop``.

    Args:
        endpoint: such as ``tcp://127.0.0.1:7447``; port ``*`` takes a free one.
        inbox: where messages are queued for the thread that acts on them.
        worker_state: for ``Pong``; called from ``run``'s thread.
        expire_after_s: clients that were silent for so long are forgotten.

    Raises:
        PortTakenError: something else listens there.
        SettingError: the endpoint cannot be bound at all.
    """

    def __init__(
        self,
        endpoint: str,
        welcome: Welcome,
        inbox: Inbox,
        *,
        worker_state: Callable[[], str],
        expire_after_s: float = EXPIRE_AFTER_S,
    ) -> None:
        self._welcome = welcome
        self._inbox = inbox
        self._worker_state = worker_state
        self._handler: Handler
        self._stopping = threading.Event()
        self._connections: dict[bytes, ServerConnection] = {}
        self._outbox: deque[tuple[bytes, Message, str]] = deque()
        self._expire_after_s = expire_after_s
        self._listened_s = 0.0
        self._expired_at = 0.0
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.linger = 0
        self._router.router_mandatory = 1
        self._router.maxmsgsize = MAX_PART_BYTES
        self._router.sndhwm = self._router.rcvhwm = _MAX_QUEUED_MESSAGES
        self._router.ipv6 = "[" in endpoint
        try:
            self._router.bind(endpoint)
        except zmq.ZMQError as error:
            self._close()
            raise _explain_bind(endpoint, error) from error
        bound = self._router.getsockopt(zmq.LAST_ENDPOINT)
        assert isinstance(bound, bytes)
        self.endpoint = bound.decode().rstrip("\0")

    def send(self, peer: bytes, message: Message, request_id: str = "") -> None:
        """Queue a message for a client. From any thread; never blocks."""
        self._outbox.append((peer, message, request_id))
        self._wake()

    def stop(self) -> None:
        """Let ``run`` return soon. From any thread, and from a signal handler."""
        self._stopping.set()
        self._wake()

    def run(self, handler: Handler) -> None:
        """Serve until ``stop``; then the socket is closed."""
        self._handler = handler
        try:
            while not self._stopping.is_set():
                self._turn()
        finally:
            self._close()

    def _turn(self) -> None:
        began = time.monotonic()
        reading = not self._inbox.full
        poller = zmq.Poller()
        poller.register(self._wakened, zmq.POLLIN)
        # A client whose messages we cannot act on yet must wait: its data stays in its own send buffer.
        if reading:
            poller.register(self._router, zmq.POLLIN)
        backlog = any(connection.next_outgoing() for connection in self._connections.values())
        ready = dict(poller.poll(_BACKLOG_POLL_MS if backlog or not reading else _IDLE_POLL_MS))
        if self._wakened.fileno() in ready:
            self._wakened.recv(4096)
        if self._router in ready:
            self._receive()
        while self._outbox:
            peer, message, request_id = self._outbox.popleft()
            if peer in self._connections:
                self._connections[peer].send(message, request_id)
        for peer in tuple(self._connections):
            self._flush(peer)
        if reading:
            # A turn that took longer was no listening: this process was suspended.
            self._listened_s += min(time.monotonic() - began, _LONGEST_TURN_S)
            self._expire()

    def _receive(self) -> None:
        for _ in range(_READS_PER_TURN):
            try:
                peer, *parts = self._read_parts()
            except zmq.Again:
                return
            connection = self._connections.get(peer)
            if connection is None:
                if len(self._connections) >= MAX_PEERS:
                    log.warning("more than %d clients; one more is ignored", MAX_PEERS)
                    continue
                # Silence is counted by a clock that stands still while nothing is read.
                connection = ServerConnection(
                    self._welcome, clock=lambda: self._listened_s, worker_state=self._worker_state
                )
                self._connections[peer] = connection
            envelope = connection.receive(parts)
            if envelope is not None:
                self._post(peer, envelope, sum(len(part) for part in parts))

    def _post(self, peer: bytes, envelope: Envelope, size: int) -> None:
        self._inbox.put(lambda: self._handler.handle(peer, envelope), size)

    def _read_parts(self) -> Sequence[bytes]:
        """Read one message; of one with too many parts, only so many that it is refused for it."""
        parts: list[bytes] = [self._router.recv(zmq.NOBLOCK)]
        while self._router.getsockopt(zmq.RCVMORE):
            part = self._router.recv(zmq.NOBLOCK)
            if len(parts) <= MAX_PARTS + 1:
                parts.append(part)
        return parts

    def _flush(self, peer: bytes) -> None:
        connection = self._connections[peer]
        while True:
            parts = connection.next_outgoing()
            if parts is None:
                break
            try:
                self._router.send_multipart([peer, *parts], zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                self._forget(peer, "it is gone")
                return
            connection.drop_outgoing()
        if connection.overflowing:
            self._forget(peer, "it does not read what it is sent")

    def _expire(self) -> None:
        now = self._listened_s
        if now - self._expired_at < self._expire_after_s / 30:
            return
        self._expired_at = now
        for peer, connection in tuple(self._connections.items()):
            if now - connection.last_heard > self._expire_after_s:
                self._forget(peer, "it fell silent")

    def _forget(self, peer: bytes, reason: str) -> None:
        log.info("a client is forgotten: %s", reason)
        del self._connections[peer]
        self._inbox.put(lambda: self._handler.forget(peer))

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            # Full: it wakes anyway. Closed: it has stopped.
            pass

    def _close(self) -> None:
        self._router.close()
        self._context.term()
        self._waker.close()
        self._wakened.close()


def _explain_bind(endpoint: str, error: zmq.ZMQError) -> PortTakenError | SettingError:
    if error.errno in (errno.EADDRINUSE, zmq.EADDRINUSE):
        return PortTakenError(
            f"cannot listen at {endpoint}: another program, perhaps another Rotomem daemon, listens there already; "
            "stop it, or choose another port with --endpoint"
        )
    return SettingError(f"cannot listen at {endpoint}: {error.strerror}; choose an address of this machine")
