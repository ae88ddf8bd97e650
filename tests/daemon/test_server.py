"""The daemon's socket: whom it forgets, and whom not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import zmq

from rotomem.daemon.inbox import LIMIT_BYTES, Inbox
from rotomem.daemon.server import Server
from rotomem_client.codec import Envelope, decode, encode
from rotomem_client.messages import ErrorReply, Hello, Message, Ping, Pong, Welcome

EXPIRE_AFTER_S = 0.4


class Bystander:
    """Acts on nothing."""

    def handle(self, peer: bytes, envelope: Envelope) -> None: ...

    def forget(self, peer: bytes) -> None: ...


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def server(inbox: Inbox) -> Iterator[Server]:
    welcome = Welcome(2, "0", "first", ("warp",), "warp", "cpu")
    made = Server("tcp://127.0.0.1:*", welcome, inbox, worker_state=lambda: "idle", expire_after_s=EXPIRE_AFTER_S)
    serving = threading.Thread(target=made.run, args=(Bystander(),))
    serving.start()
    yield made
    made.stop()
    serving.join()


class Peer:
    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.rcvtimeo = 30_000
        self._socket.connect(endpoint)

    def ask(self, request: Message) -> Message:
        self._socket.send_multipart(encode(request, "0a"))
        return decode(self._socket.recv_multipart()).message

    def close(self) -> None:
        self._socket.close()
        self._context.term()


def _wait(event: threading.Event) -> None:
    assert event.wait(30)


@pytest.fixture
def peer(server: Server) -> Iterator[Peer]:
    made = Peer(server.endpoint)
    assert isinstance(made.ask(Hello(2, 2, "test", "0")), Welcome)
    yield made
    made.close()


def test_a_client_that_falls_silent_is_forgotten(peer: Peer) -> None:
    time.sleep(3 * EXPIRE_AFTER_S + 0.5)
    refusal = peer.ask(Ping())
    assert isinstance(refusal, ErrorReply)
    assert refusal.code == "HELLO_FIRST"


def test_silence_does_not_count_while_the_daemon_does_not_listen(peer: Peer, inbox: Inbox) -> None:
    acting = threading.Thread(target=inbox.run)
    blocked = threading.Event()
    inbox.put(lambda: _wait(blocked), LIMIT_BYTES + 1)
    acting.start()
    time.sleep(3 * EXPIRE_AFTER_S + 0.5)
    blocked.set()
    assert peer.ask(Ping()) == Pong("idle")
    inbox.close()
    acting.join()
