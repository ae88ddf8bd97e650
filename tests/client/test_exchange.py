"""Callers and the I/O thread's side of an exchange, against a daemon's end in memory: no sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from rotomem_client.codec import Envelope
from rotomem_client.connection import ClientConnection, ServerConnection
from rotomem_client.errors import ClientError, DaemonUnreachableError, RefusedError
from rotomem_client.exchange import Exchange
from rotomem_client.messages import (
    ErrorReply,
    Hello,
    JobAccepted,
    JobCancelled,
    JobResumed,
    MatteReady,
    Propagate,
    Request,
    ResumeJob,
    Welcome,
)

JOB = "0" * 32
WAIT_S = 30.0


class Daemon:
    """The other end; the test decides what it answers."""

    def __init__(self, *, timeout_s: float) -> None:
        self._clock = time.monotonic
        client = ClientConnection(Hello(2, 2, "test", "0"), clock=self._clock, random=lambda: 0.0)
        self.exchange = Exchange(
            client,
            endpoint="memory",
            timeout_s=timeout_s,
            window_bytes=1 << 20,
            clock=self._clock,
            wake=lambda: None,
        )
        self.connect()

    def connect(self) -> list[Envelope]:
        """A new transport, greeted; return the requests that arrived on it."""
        welcome = Welcome(2, "0", "first", ("warp",), "warp", "cpu")
        self._server = ServerConnection(welcome, clock=self._clock, worker_state=lambda: "idle")
        with self.exchange.condition:
            self.exchange.connection.open()
        return self.requests()

    def requests(self) -> list[Envelope]:
        """Carry messages both ways; return the requests that arrived."""
        heard = []
        while True:
            parts = self.exchange.take_outgoing()
            if parts is not None:
                heard.append(self._server.receive(parts))
                continue
            parts = self._server.next_outgoing()
            if parts is None:
                return [
                    envelope
                    for envelope in heard
                    if envelope is not None
                    and isinstance(envelope.message, Request)
                    and not isinstance(envelope.message, Hello)
                ]
            self._server.drop_outgoing()
            self.exchange.receive(parts)

    def wait_for_request(self) -> Envelope:
        deadline = time.monotonic() + WAIT_S
        while True:
            requests = self.requests()
            if requests:
                return requests[0]
            assert time.monotonic() < deadline
            time.sleep(0.001)

    def answer(
        self, request: Envelope, *replies: ErrorReply | JobAccepted | JobResumed | JobCancelled | MatteReady
    ) -> None:
        """Answer by the first, then tell the others."""
        for number, reply in enumerate(replies):
            self._server.send(reply, request.request_id if number == 0 else "")
        self.requests()


class Caller(threading.Thread):
    """Resumes the job in a thread of its own and keeps what was raised."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self._daemon_end = daemon
        self.raised: ClientError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._daemon_end.exchange.resume_job(JOB)
        except ClientError as error:
            self.raised = error


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon(timeout_s=WAIT_S)
    yield made
    made.exchange.close()


def resumed_after_a_reconnect(daemon: Daemon) -> list[Request]:
    daemon.exchange.lose()
    return [request.message for request in daemon.connect() if isinstance(request.message, ResumeJob)]


def test_a_resume_that_is_refused_is_not_tried_again_at_every_reconnect(daemon: Daemon) -> None:
    caller = Caller(daemon)
    daemon.answer(daemon.wait_for_request(), ErrorReply("UNKNOWN_JOB", "there is no such job"))
    caller.join(WAIT_S)
    assert isinstance(caller.raised, RefusedError)
    assert resumed_after_a_reconnect(daemon) == []


def test_a_resumed_job_is_resumed_again_at_a_reconnect_until_it_ends(daemon: Daemon) -> None:
    caller = Caller(daemon)
    daemon.answer(daemon.wait_for_request(), JobResumed(JOB, "running"))
    caller.join(WAIT_S)
    assert caller.raised is None
    assert resumed_after_a_reconnect(daemon) == [ResumeJob(JOB)]


def test_of_a_frame_whose_preview_was_heard_the_finished_matte_is_asked_for(daemon: Daemon) -> None:
    caller = Caller(daemon)
    daemon.answer(
        daemon.wait_for_request(), JobResumed(JOB, "running"), ready(3, preview=False), ready(4, preview=True)
    )
    caller.join(WAIT_S)
    assert resumed_after_a_reconnect(daemon) == [ResumeJob(JOB, (3,))]


def ready(frame: int, *, preview: bool) -> MatteReady:
    return MatteReady(JOB, "sh010", frame, 1, "a" * 64, 9, "/m.exr", False, "warp", 1, preview, 1.0, preview)


def test_a_second_resume_that_is_refused_leaves_the_first_one_alone(daemon: Daemon) -> None:
    for reply in (JobResumed(JOB, "running"), ErrorReply("BUSY", "too many requests")):
        caller = Caller(daemon)
        daemon.answer(daemon.wait_for_request(), reply)
        caller.join(WAIT_S)
    assert resumed_after_a_reconnect(daemon) == [ResumeJob(JOB)]


def test_a_job_accepted_for_a_caller_who_has_left_is_not_followed() -> None:
    daemon = Daemon(timeout_s=0.5)
    sent: list[Envelope] = []
    carrier = threading.Thread(target=lambda: sent.append(daemon.wait_for_request()))
    carrier.start()
    with pytest.raises(DaemonUnreachableError):
        daemon.exchange.call(Propagate("sh010", 1, 2))
    carrier.join(WAIT_S)
    daemon.answer(sent[0], JobAccepted(JOB, 1))
    assert resumed_after_a_reconnect(daemon) == []
    daemon.exchange.close()


def test_events_that_follow_an_acceptance_at_once_are_kept(daemon: Daemon) -> None:
    replies = []
    caller = threading.Thread(target=lambda: replies.append(daemon.exchange.call(Propagate("sh010", 1, 2))))
    caller.start()
    daemon.answer(daemon.wait_for_request(), JobAccepted(JOB, 1), JobCancelled(JOB, 0))
    caller.join(WAIT_S)
    assert replies == [JobAccepted(JOB, 1)]
    assert daemon.exchange.next_event(JOB, WAIT_S) == JobCancelled(JOB, 0)
