"""Client and daemon ends of a connection, back to back in memory: no sockets, a clock that only the test moves."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Optional

import pytest

from rotomem_client.codec import Envelope, decode, encode
from rotomem_client.connection import FIRST_RETRY_S, LAST_RETRY_S, ClientConnection, ServerConnection
from rotomem_client.errors import ProtocolError
from rotomem_client.messages import (
    AnnotationStored,
    Cancel,
    CancelAccepted,
    Chunk,
    Credit,
    ErrorReply,
    FetchMatte,
    FramesSuggested,
    Hello,
    Introduce,
    JobFailed,
    JobFinished,
    Limits,
    MatteReady,
    Message,
    Ping,
    Pong,
    Progress,
    RemoveAnnotation,
    Welcome,
)

JOB = "0" * 32
SHA = "0" * 64
REMOVE = RemoveAnnotation("s", 1, "hero")
STORED = AnnotationStored("s", 7)
FETCH = FetchMatte("s", 1, 1, SHA)


@dataclass
class Pair:
    """A client, the daemon's ends (one per transport), and the clock."""

    hello: Hello = field(default_factory=lambda: Hello(2, 2, "nuke", "0.1.0"))
    epoch: str = "first"
    introduction: Optional[Introduce] = None
    now: float = 100.0
    pending: int = 64
    heard: list[Envelope] = field(default_factory=list)
    told: list[Envelope] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.client = ClientConnection(
            self.hello, clock=lambda: self.now, random=lambda: 0.0, introduction=self.introduction
        )
        self.server: Optional[ServerConnection] = None

    def connect(self) -> None:
        """A new transport: the daemon knows nothing of an earlier one."""
        welcome = Welcome(2, "0.1.0", self.epoch, ("warp",), "warp", "cpu", Limits(pending_requests=self.pending))
        self.server = ServerConnection(welcome, clock=lambda: self.now, worker_state=lambda: "idle", queue_bytes=3000)
        self.client.open()
        self.run()

    def run(self) -> None:
        """Carry messages to and fro until both are silent. What needs an action is noted."""
        assert self.server is not None
        moved = True
        while moved:
            moved = False
            while (parts := self.client.take_outgoing()) is not None:
                moved = True
                envelope = self.server.receive(parts)
                if envelope is not None:
                    self.heard.append(envelope)
            while (parts := self.server.next_outgoing()) is not None:
                moved = True
                self.server.drop_outgoing()
                told = self.client.receive(parts)
                if told is not None:
                    self.told.append(told)

    def requests(self) -> list[Envelope]:
        return [envelope for envelope in self.heard if not isinstance(envelope.message, Hello)]

    def last_told(self) -> Message:
        return self.told[-1].message


@pytest.fixture
def pair() -> Pair:
    made = Pair()
    made.connect()
    return made


def test_the_handshake_makes_both_ready(pair: Pair) -> None:
    assert pair.client.ready
    assert pair.client.welcome is not None
    assert pair.client.welcome.epoch == "first"
    assert pair.server is not None
    assert pair.server.greeted
    assert pair.client.generation == 1


def test_a_request_is_answered_once_by_its_id(pair: Pair) -> None:
    request_id = pair.client.request(REMOVE)
    pair.run()
    assert pair.requests() == [Envelope(REMOVE, request_id)]
    assert pair.server is not None
    pair.server.send(STORED, request_id)
    pair.run()
    assert pair.told[-1] == Envelope(STORED, request_id)
    assert not pair.client.will_resend(request_id)


def test_requests_wait_for_the_handshake() -> None:
    pair = Pair()
    pair.client.request(REMOVE)
    assert pair.client.take_outgoing() is None
    pair.connect()
    assert [envelope.message for envelope in pair.heard] == [pair.hello, REMOVE]


def test_unanswered_requests_are_sent_again_with_the_same_id_after_a_reconnect(pair: Pair) -> None:
    first, second = pair.client.request(REMOVE), pair.client.request(Cancel(JOB))
    pair.run()
    assert pair.server is not None
    pair.server.send(STORED, first)
    pair.run()

    pair.client.lose()
    pair.epoch = "second"
    pair.connect()
    assert [envelope.request_id for envelope in pair.requests()] == [first, second, second]
    assert pair.client.welcome is not None
    assert pair.client.welcome.epoch == "second"
    assert pair.client.generation == 2


def test_a_download_is_not_sent_again_because_its_offset_has_changed(pair: Pair) -> None:
    request_id = pair.client.request(FETCH, resend=False)
    pair.run()
    pair.client.lose()
    assert not pair.client.will_resend(request_id)
    pair.connect()
    assert [envelope.request_id for envelope in pair.requests()] == [request_id]


def test_versions_that_do_not_overlap_are_refused_by_name() -> None:
    pair = Pair(hello=Hello(3, 4, "nuke", "9.0"))
    pair.connect()
    assert not pair.client.ready
    assert str(pair.client.refusal) == ("the daemon speaks protocol 1 to 2 and nuke 3 to 4: update the daemon")


def test_overlapping_versions_take_the_highest_that_both_know() -> None:
    pair = Pair(hello=Hello(1, 5, "nuke", "9.0"))
    pair.connect()
    assert pair.client.welcome is not None
    assert pair.client.welcome.protocol == 2


def test_a_client_of_the_protocol_before_is_answered_in_its_own_bytes() -> None:
    welcome = Welcome(2, "0.2.0", "e", ("warp",), "warp", "cpu")
    server = ServerConnection(welcome, clock=lambda: 0.0, worker_state=lambda: "idle")
    server.receive(encode(Hello(1, 1, "nuke", "0.1.0"), "aa"))
    envelope = server.receive(encode(REMOVE, "ab", 1))
    assert envelope == Envelope(REMOVE, "ab")
    matte = MatteReady(JOB, "s", 1, 4, SHA, 9, "/m.exr", True, "warp", 3, True)
    for message in (matte, FramesSuggested(JOB, ())):
        server.send(message)
    sent = []
    while (parts := server.next_outgoing()) is not None:
        server.drop_outgoing()
        sent.append(decode(parts, 1).message)
    assert isinstance(sent[0], Welcome)
    assert sent[0].protocol == 1
    assert sent[1] == dataclasses.replace(matte, made_revision=0, stale=False)
    assert isinstance(sent[2], JobFailed)
    assert "update it" in sent[2].message


def test_a_newer_client_at_an_older_daemon_is_told_so_in_one_sentence() -> None:
    # Byte for byte what the daemon of protocol 1 answered to a client that speaks protocol 2 alone.
    pair = Pair()
    pair.client.open()
    hello = pair.client.take_outgoing()
    assert hello is not None
    told = "the daemon speaks protocol 1 to 1 and nuke 2 to 2: update the daemon"
    pair.client.receive(encode(ErrorReply("VERSION", told), decode(hello).request_id, 1))
    assert str(pair.client.refusal) == told
    assert not pair.client.ready
    pair.client.request(REMOVE)
    assert pair.client.take_outgoing() is None, "nothing else is said to it"


def test_a_client_introduces_itself_ahead_of_all_requests_on_every_connection() -> None:
    who = Introduce("c1", "anna on ws12")
    pair = Pair(introduction=who)
    pair.client.request(REMOVE)
    pair.connect()
    pair.client.lose()
    pair.connect()
    assert [envelope.message for envelope in pair.heard] == [pair.hello, who, REMOVE, pair.hello, who, REMOVE]


def test_a_daemon_that_chooses_what_was_not_offered_is_refused() -> None:
    pair = Pair()
    pair.client.open()
    hello = pair.client.take_outgoing()
    assert hello is not None
    welcome = Welcome(4, "9", "e", ("warp",), "warp", "cpu")
    with pytest.raises(ProtocolError, match="protocol 4, which was not offered"):
        pair.client.receive(encode(welcome, decode(hello).request_id))


def test_whoever_does_not_greet_is_asked_to(pair: Pair) -> None:
    server = ServerConnection(
        Welcome(1, "0.1.0", "e", ("warp",), "warp", "cpu"), clock=lambda: pair.now, worker_state=lambda: "idle"
    )
    assert server.receive(encode(REMOVE, "ab")) is None
    refusal = server.next_outgoing()
    assert refusal is not None
    assert decode(refusal).request_id == "ab"
    with pytest.raises(ProtocolError, match="forgotten"):
        pair.client.receive(refusal)


def test_nonsense_is_answered_under_the_id_that_it_carries(pair: Pair) -> None:
    assert pair.server is not None
    parts = encode(REMOVE, "ab")
    assert pair.server.receive([*parts, b"unannounced"]) is None
    answer = pair.server.next_outgoing()
    assert answer is not None
    envelope = decode(answer)
    assert envelope.request_id == "ab"
    assert isinstance(envelope.message, ErrorReply)
    assert envelope.message.code == "PROTOCOL"


def test_a_client_may_send_requests_and_flow_only(pair: Pair) -> None:
    assert pair.server is not None
    assert pair.server.receive(encode(STORED, "ab")) is None
    assert pair.server.receive(encode(REMOVE, "")) is None
    assert pair.server.receive(encode(Credit(5))) == Envelope(Credit(5), "")
    codes = []
    while (parts := pair.server.next_outgoing()) is not None:
        pair.server.drop_outgoing()
        message = decode(parts).message
        assert isinstance(message, ErrorReply)
        codes.append(message.code)
    assert codes == ["PROTOCOL", "PROTOCOL"]


def test_a_daemon_may_send_replies_events_and_flow_only(pair: Pair) -> None:
    with pytest.raises(ProtocolError, match="cancel, which only a client may"):
        pair.client.receive(encode(Cancel(JOB), "ab"))


def test_the_client_keeps_to_the_daemon_s_limit_of_pending_requests() -> None:
    pair = Pair(pending=2)
    pair.connect()
    ids = [pair.client.request(REMOVE) for _ in range(3)]
    pair.run()
    assert [envelope.request_id for envelope in pair.requests()] == ids[:2]
    assert pair.server is not None
    pair.server.send(STORED, ids[0])
    pair.run()
    assert [envelope.request_id for envelope in pair.requests()] == ids


def test_a_client_that_exceeds_the_limit_is_refused() -> None:
    pair = Pair(pending=1)
    pair.connect()
    assert pair.server is not None
    assert pair.server.receive(encode(REMOVE, "a")) is not None
    assert pair.server.receive(encode(REMOVE, "b")) is None
    answer = pair.server.next_outgoing()
    assert answer is not None
    message = decode(answer).message
    assert isinstance(message, ErrorReply)
    assert message.code == "BUSY"


def test_silence_is_first_pinged_then_taken_for_death(pair: Pair) -> None:
    pair.now += 2.5
    assert not pair.client.tick()
    ping = pair.client.take_outgoing()
    assert ping is not None
    pair.now += 3.4
    assert not pair.client.tick()
    pair.now += 0.2
    assert pair.client.tick()


def test_a_pong_counts_as_life(pair: Pair) -> None:
    pair.now += 5.0
    assert not pair.client.tick()
    pair.run()
    pair.now += 5.0
    assert not pair.client.tick()


def test_any_traffic_counts_as_life(pair: Pair) -> None:
    assert pair.server is not None
    for _ in range(5):
        pair.now += 1.9
        pair.server.send(Progress(JOB, 1, 2, "propagating", 1.0))
        pair.run()
        assert not pair.client.tick()
        assert pair.client.take_outgoing() is None


def test_a_ping_is_answered_with_the_worker_s_state(pair: Pair) -> None:
    request_id = pair.client.request(Ping())
    pair.run()
    assert pair.told[-1] == Envelope(Pong("idle"), request_id)


def test_retries_come_ever_later_up_to_a_limit_and_begin_anew_after_success(pair: Pair) -> None:
    pauses = []
    for _ in range(12):
        pair.client.lose()
        pauses.append(pair.client.retry_at - pair.now)
    # Without jitter (0) the pause is half of 0.1 s, doubled each time.
    assert pauses[:3] == pytest.approx([FIRST_RETRY_S / 2, FIRST_RETRY_S, FIRST_RETRY_S * 2])
    assert pauses[-1] == pytest.approx(LAST_RETRY_S / 2)
    pair.connect()
    pair.client.lose()
    assert pair.client.retry_at - pair.now == pytest.approx(FIRST_RETRY_S / 2)


def test_progress_that_waits_is_replaced_by_newer_progress(pair: Pair) -> None:
    assert pair.server is not None
    for done in range(5):
        pair.server.send(Progress(JOB, done, 5, "propagating", 1.0))
    pair.run()
    assert [envelope.message for envelope in pair.told[1:]] == [Progress(JOB, 4, 5, "propagating", 1.0)]


def test_a_client_that_does_not_read_overflows(pair: Pair) -> None:
    assert pair.server is not None
    pair.server.send(Chunk(SHA, 0, bytes(2000)), "ab")
    assert not pair.server.overflowing
    pair.server.send(Chunk(SHA, 2000, bytes(2000)), "ab")
    assert pair.server.overflowing


def test_an_answer_too_large_for_a_header_becomes_a_refusal(pair: Pair) -> None:
    assert pair.server is not None
    pair.server.send(JobFinished(JOB, range(0, 100_000, 2), "warp", "", 1.0), "ab")
    pair.run()
    message = pair.last_told()
    assert isinstance(message, ErrorReply)
    assert message.code == "TOO_LARGE"


def test_late_answers_have_no_effect(pair: Pair) -> None:
    request_id = pair.client.request(Cancel(JOB))
    pair.run()
    pair.client.abandon(request_id)
    assert pair.server is not None
    pair.server.send(CancelAccepted(JOB), request_id)
    pair.run()
    assert not pair.client.will_resend(request_id)
