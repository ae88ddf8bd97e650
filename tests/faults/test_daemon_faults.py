"""What must hold when something dies, lies or fills up. Real processes, real sockets, kill -9."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zmq
from daemon_process import DaemonProcess
from stand_in_runner import content_of

from rotomem_client.client import Client
from rotomem_client.codec import decode, encode
from rotomem_client.errors import DaemonUnreachableError, JobFailedError, RefusedError, TransferError
from rotomem_client.messages import (
    PROTOCOL_MAX,
    AnnotationStored,
    Chunk,
    ErrorReply,
    FileStored,
    FrameOffer,
    FramesWanted,
    Hello,
    JobAccepted,
    JobCancelled,
    JobFinished,
    MatteReady,
    Message,
    OfferFrames,
    OpenSession,
    Ping,
    Plate,
    Pong,
    Progress,
    Propagate,
    PutAnnotation,
    SessionState,
    Welcome,
)
from rotomem_client.shapes import ControlPoint, Shape

TRIANGLE = Shape("t", (ControlPoint((0.5, 0.0)), ControlPoint((4.0, 0.25)), ControlPoint((0.0, 4.0))))
LAST = 40
WAIT_S = 30.0


@pytest.fixture
def plate(tmp_path: Path) -> Plate:
    """Forty frames that are one file, which the daemon reads itself."""
    image = tmp_path / "still.exr"
    image.write_bytes(b"pixels")
    return Plate(1, LAST, str(image))


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(daemon.endpoint, name="test", timeout_s=WAIT_S) as made:
        yield made


def draw(client: Client, plate: Plate, session: str = "sh010") -> None:
    client.open_session(session, plate, ["hero"])
    client.put_annotation(session, 3, "hero", shapes=[TRIANGLE])


class RawPeer:
    """A DEALER without our client, to say what no client of ours would, in any protocol."""

    def __init__(self, endpoint: str, protocol: int = PROTOCOL_MAX) -> None:
        self._protocol = protocol
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.rcvtimeo = int(WAIT_S * 1000)
        self._socket.connect(endpoint)

    def say(self, parts: list[bytes]) -> None:
        self._socket.send_multipart(parts)

    def hear(self, kind: type[Message]) -> Message:
        """Wait for a message of this kind."""
        while True:
            message = decode(self._socket.recv_multipart(), self._protocol).message
            if isinstance(message, kind):
                return message

    def ask(self, request: Message, request_id: str, kind: type[Message]) -> Message:
        self.say(encode(request, request_id, self._protocol))
        return self.hear(kind)

    def greet(self) -> None:
        self.ask(Hello(self._protocol, self._protocol, "raw", "0"), "f0", Welcome)

    def close(self) -> None:
        self._socket.close()
        self._context.term()


@pytest.fixture
def raw(daemon: DaemonProcess) -> Iterator[RawPeer]:
    peer = RawPeer(daemon.endpoint)
    yield peer
    peer.close()


# --- the daemon dies --------------------------------------------------------------------------------------------------


def test_whatever_was_acknowledged_is_there_after_kill_9_and_the_job_ends_all_the_same(
    daemon: DaemonProcess, plate: Plate, tmp_path: Path
) -> None:
    with Client(daemon.endpoint, timeout_s=WAIT_S) as client:
        draw(client, plate)
        assert client.put_annotation("sh010", 9, "hero", absent=True) == 2
        job = client.propagate("sh010", 1, LAST, engine="slow")
        events = job.events()
        told = [event for event in (next(events) for _ in range(9)) if isinstance(event, MatteReady)]
        assert told
        daemon.kill()

        again = DaemonProcess(tmp_path, endpoint=daemon.endpoint)
        try:
            listed = {matte.frame: matte for matte in client.list_mattes("sh010", 2)}
            for matte in told:
                assert matte.frame in listed
                assert hashlib.sha256(Path(matte.path).read_bytes()).hexdigest() == matte.sha256
            state = client.open_session("sh010", plate, ["hero"])
            assert (state.revision, state.annotations[0].frames) == (2, (3, 9))

            rest = list(events)
            assert isinstance(rest[-1], JobFinished)
            frames = [event.frame for event in (*told, *rest) if isinstance(event, MatteReady)]
            assert sorted(frames) == list(range(1, LAST + 1)), "each matte is told once"
        finally:
            again.kill()


def test_a_job_that_takes_the_daemon_along_is_tried_twice_and_then_failed(
    daemon: DaemonProcess, plate: Plate, tmp_path: Path
) -> None:
    with Client(daemon.endpoint, timeout_s=WAIT_S) as client:
        draw(client, plate)
        job = client.propagate("sh010", 1, LAST, engine="slow")
        next(event for event in job.events() if isinstance(event, MatteReady))
        daemon.kill()
        second = DaemonProcess(tmp_path, endpoint=daemon.endpoint)
        next(event for event in job.events() if isinstance(event, Progress))  # mattes may be those of the first one
        second.kill()
        third = DaemonProcess(tmp_path, endpoint=daemon.endpoint)
        try:
            with pytest.raises(JobFailedError, match="the daemon stopped 2 times while it ran this job"):
                job.wait()
            assert client.propagate("sh010", 1, 3, engine="copy").wait().frames == (1, 2, 3)
        finally:
            third.kill()


def test_a_daemon_stopped_on_purpose_hands_its_job_to_the_next_one(
    daemon: DaemonProcess, plate: Plate, tmp_path: Path
) -> None:
    with Client(daemon.endpoint, timeout_s=WAIT_S) as client:
        draw(client, plate)
        job = client.propagate("sh010", 1, 8, engine="slow")
        next(event for event in job.events() if isinstance(event, MatteReady))
        daemon.stop()
        again = DaemonProcess(tmp_path, endpoint=daemon.endpoint)
        try:
            assert job.wait().frames == tuple(range(1, 9))
        finally:
            again.kill()


@pytest.mark.parametrize("ending", ["kill", "stop"])
def test_an_acknowledged_cancel_survives_the_daemon(
    daemon: DaemonProcess, plate: Plate, tmp_path: Path, ending: str
) -> None:
    with Client(daemon.endpoint, timeout_s=WAIT_S) as client:
        draw(client, plate)
        # It sleeps at the third frame and does not look whether it was cancelled.
        job = client.propagate("sh010", 1, LAST, engine="deaf")
        events = job.events()
        next(event for event in events if isinstance(event, MatteReady) and event.frame == 2)
        job.cancel()
        getattr(daemon, ending)()
        again = DaemonProcess(tmp_path, endpoint=daemon.endpoint)
        try:
            assert list(events)[-1] == JobCancelled(job.id, 2)
            assert [matte.frame for matte in client.list_mattes("sh010", 1)] == [1, 2], "and their mattes are kept"
            assert client.propagate("sh010", 1, 3, engine="copy").wait().frames == (1, 2, 3)
        finally:
            again.kill()


def test_no_worker_outlives_its_daemon(daemon: DaemonProcess, plate: Plate) -> None:
    with Client(daemon.endpoint, timeout_s=WAIT_S) as client:
        draw(client, plate)
        job = client.propagate("sh010", 1, LAST, engine="deaf")
        next(event for event in job.events() if isinstance(event, MatteReady))
        workers = daemon.worker_pids()
        assert len(workers) == 1
        daemon.kill()
        deadline = time.monotonic() + WAIT_S
        while any(os.path.exists(f"/proc/{pid}") for pid in workers):
            assert time.monotonic() < deadline, "the worker lives on without its daemon"
            time.sleep(0.02)


def test_a_dead_daemon_is_told_within_the_timeout_and_not_hung_upon(daemon: DaemonProcess, plate: Plate) -> None:
    with Client(daemon.endpoint, timeout_s=2.0) as client:
        draw(client, plate)
        job = client.propagate("sh010", 1, LAST, engine="slow")
        daemon.kill()
        with pytest.raises(DaemonUnreachableError, match="no daemon answers"):
            job.wait()
        with pytest.raises(DaemonUnreachableError, match="no daemon answers"):
            client.ping()


def test_a_daemon_that_hangs_is_told_too_and_used_again_when_it_comes_back(daemon: DaemonProcess, plate: Plate) -> None:
    with Client(daemon.endpoint, timeout_s=2.0) as client:
        draw(client, plate)
        daemon.process.send_signal(signal.SIGSTOP)
        with pytest.raises(DaemonUnreachableError, match="no daemon answers"):
            client.ping()
        daemon.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                assert client.remove_annotation("sh010", 3, "hero") == 2
                return
            except DaemonUnreachableError:
                assert time.monotonic() < deadline


# --- the worker dies --------------------------------------------------------------------------------------------------


def test_a_killed_worker_fails_its_job_with_a_sentence_and_the_next_one_runs(
    daemon: DaemonProcess, client: Client, plate: Plate
) -> None:
    draw(client, plate)
    job = client.propagate("sh010", 1, LAST, engine="slow")
    made = next(event for event in job.events() if isinstance(event, MatteReady))
    os.kill(daemon.worker_pids()[0], signal.SIGKILL)
    with pytest.raises(JobFailedError, match="signal 9") as caught:
        job.wait()
    assert caught.value.code == "WORKER_CRASHED"
    assert made in client.list_mattes("sh010", 1)
    assert client.propagate("sh010", 1, 3, engine="copy").wait().frames == (1, 2, 3)


@pytest.mark.parametrize(
    ("engine", "code", "words"),
    [
        ("mismatched", "WEIGHTS_MISMATCH", "lack the tensor"),
        ("full", "DISK_FULL", "free some space"),
        ("faulty", "INTERNAL", "ZeroDivisionError"),
        ("aborting", "WORKER_CRASHED", "SIGABRT"),
    ],
)
def test_what_goes_wrong_in_the_worker_reaches_the_artist(
    shared_daemon: DaemonProcess, session: str, plate: Plate, engine: str, code: str, words: str
) -> None:
    with Client(shared_daemon.endpoint, timeout_s=WAIT_S) as client:
        draw(client, plate, session)
        with pytest.raises(JobFailedError, match=words) as caught:
            client.propagate(session, 1, LAST, engine=engine).wait()
        assert caught.value.code == code
        kept = client.list_mattes(session, 1)
    assert [matte.frame for matte in kept] == ([] if engine == "mismatched" else [1, 2])
    assert all(Path(matte.path).read_bytes() == content_of(matte.frame, 1) for matte in kept)


# --- the client dies, or the connection -------------------------------------------------------------------------------


def test_a_client_that_dies_mid_upload_leaves_a_resumable_session(
    raw: RawPeer, client: Client, daemon: DaemonProcess, tmp_path: Path
) -> None:
    content = os.urandom(3_000_000)
    path = tmp_path / "p.exr"
    path.write_bytes(content)
    offer = FrameOffer(1, hashlib.sha256(content).hexdigest(), len(content), ".exr")
    raw.greet()
    raw.say(encode(OpenSession("sh010", Plate(1, 1), ("hero",)), "01"))
    wanted = raw.ask(OfferFrames("sh010", "plate", (offer,)), "02", FramesWanted)
    assert isinstance(wanted, FramesWanted)
    assert wanted.send[0].offset == 0
    raw.say(encode(Chunk(offer.sha256, 0, content[:1_000_000]), "03"))
    # An answer to a later request tells that the chunk before it was acted on.
    again = raw.ask(OfferFrames("sh010", "plate", (offer,)), "04", FramesWanted)
    assert isinstance(again, FramesWanted)
    assert again.send[0].offset == 1_000_000
    raw.close()

    client.open_session("sh010", Plate(1, 1), ["hero"])
    assert client.upload_frames("sh010", {1: path}) == 2_000_000
    assert client.open_session("sh010", Plate(1, 1), ["hero"]).plate_frames == (1,)


class Cutter:
    """A TCP relay that cuts every connection after so many bytes towards the daemon, ``cuts`` times."""

    def __init__(self, endpoint: str, *, after_bytes: int, cuts: int) -> None:
        host, port = endpoint.removeprefix("tcp://").split(":")
        self._target = (host, int(port))
        self._after = after_bytes
        self.cuts_left = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            threading.Thread(target=self._carry, args=(near, far, self._after), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, None), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, limit: int | None) -> None:
        carried = 0
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                sink.sendall(block)
                carried += len(block)
                if limit is not None and carried > limit and self.cuts_left:
                    self.cuts_left -= 1
                    break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


def test_an_upload_through_a_network_that_breaks_arrives_whole(daemon: DaemonProcess, tmp_path: Path) -> None:
    files = {}
    for frame in range(1, 7):
        files[frame] = tmp_path / f"p.{frame}.exr"
        files[frame].write_bytes(os.urandom(3_000_000))
    cutter = Cutter(daemon.endpoint, after_bytes=5_000_000, cuts=3)
    with Client(cutter.endpoint, timeout_s=WAIT_S) as client:
        client.open_session("sh010", Plate(1, 6), ["hero"])
        sent = client.upload_frames("sh010", files)
        assert cutter.cuts_left == 0
        assert client.open_session("sh010", Plate(1, 6), ["hero"]).plate_frames == tuple(range(1, 7))
    assert sent < 2 * 18_000_000, "what had arrived before a cut is not sent again"
    stored = {path.stem for path in daemon.store.glob("blobs/*/*.exr")}
    assert stored == {hashlib.sha256(path.read_bytes()).hexdigest() for path in files.values()}
    cutter.close()


def test_one_request_sent_twice_is_carried_out_once(raw: RawPeer, plate: Plate) -> None:
    raw.greet()
    raw.say(encode(OpenSession("sh010", plate, ("hero",)), "01"))
    put = PutAnnotation("sh010", 3, "hero", absent=True)
    assert raw.ask(put, "02", AnnotationStored) == AnnotationStored("sh010", 1)
    assert raw.ask(PutAnnotation("sh010", 4, "hero", absent=True), "03", AnnotationStored).revision == 2
    assert raw.ask(put, "02", AnnotationStored) == AnnotationStored("sh010", 1)
    refusal = raw.ask(PutAnnotation("sh010", 5, "hero", absent=True), "02", ErrorReply)
    assert isinstance(refusal, ErrorReply)
    assert refusal.code == "ID_REUSED"


# --- somebody talks nonsense ------------------------------------------------------------------------------------------


def test_a_plugin_of_the_protocol_before_works_on_and_counts_as_a_writer(daemon: DaemonProcess, plate: Plate) -> None:
    old = RawPeer(daemon.endpoint, protocol=1)
    try:
        old.greet()
        state = old.ask(OpenSession("sh010", plate, ("hero",)), "01", SessionState)
        assert isinstance(state, SessionState)
        assert state.objects == ("hero",)
        old.ask(PutAnnotation("sh010", 3, "hero", absent=True), "02", AnnotationStored)
        with (
            Client(daemon.endpoint, timeout_s=WAIT_S) as newer,
            pytest.raises(RefusedError, match="raw writes session"),
        ):
            newer.put_annotation("sh010", 4, "hero", absent=True)
        job = old.ask(Propagate("sh010", plate.first, plate.last, engine="copy"), "03", JobAccepted)
        ready = old.hear(MatteReady)
        assert isinstance(job, JobAccepted)
        assert isinstance(ready, MatteReady)
        assert ready.job_id == job.job_id
        assert isinstance(old.hear(JobFinished), JobFinished)
    finally:
        old.close()


def test_malformed_messages_are_refused_and_the_daemon_lives(raw: RawPeer, client: Client) -> None:
    raw.greet()
    good = encode(OpenSession("sh010", Plate(1, 2), ("hero",)), "0a")
    bad_field = msgpack.unpackb(good[1])
    bad_field["session_id"] = "../../etc"
    nonsense = [
        [b"RM1"],
        [b"RM9", good[1]],
        [b"", b""],
        [b"RM1", good[1][:-3]],
        [b"RM1", good[1] + b"\0"],
        [b"RM1", b"\x91" * 60_000],
        [b"RM1", bytes(70_000)],
        [b"RM1", msgpack.packb(bad_field)],
        [*good, b"unannounced"],
        [*good, *[b"x"] * 5_000],
    ]
    for parts in nonsense:
        raw.say(parts)
        refusal = raw.hear(ErrorReply)
        assert isinstance(refusal, ErrorReply)
        assert refusal.code == "PROTOCOL"
    assert client.ping() == "none"
    assert raw.ask(Propagate("sh999", 1, 2), "0b", ErrorReply).code == "UNKNOWN_SESSION"


def test_a_part_beyond_the_limit_ends_that_connection_only(raw: RawPeer, client: Client) -> None:
    client.connect()
    raw.greet()
    raw.say([*encode(OpenSession("sh010", Plate(1, 2), ("hero",)), "0a"), bytes(5 * 1024 * 1024)])
    assert client.ping() == "none"


def test_chunks_without_an_offer_or_credit_are_refused(raw: RawPeer, client: Client, daemon: DaemonProcess) -> None:
    raw.greet()
    refusal = raw.ask(Chunk("0" * 64, 0, b"x"), "01", ErrorReply)
    assert isinstance(refusal, ErrorReply)
    assert (refusal.code, "not offered" in refusal.message) == ("UPLOAD", True)
    content = os.urandom(100_000)
    offer = FrameOffer(1, hashlib.sha256(content).hexdigest(), len(content), ".exr")
    raw.say(encode(OpenSession("sh010", Plate(1, 1), ("hero",)), "02"))
    raw.ask(OfferFrames("sh010", "plate", (offer,)), "03", FramesWanted)
    assert raw.ask(Chunk(offer.sha256, 5, content[5:]), "04", ErrorReply).code == "UPLOAD"
    damaged = bytes(len(content))
    assert raw.ask(Chunk(offer.sha256, 0, damaged), "05", ErrorReply).code == "TRANSFER_DAMAGED"
    assert raw.ask(Chunk(offer.sha256, 0, content), "06", FileStored) == FileStored(offer.sha256, len(content))
    assert client.ping() == "none"
    assert len(list(daemon.store.glob("blobs/*/*"))) == 1


def test_whoever_was_forgotten_is_asked_to_greet_again(raw: RawPeer) -> None:
    raw.say(encode(Propagate("sh010", 1, 2), "0a"))
    refusal = raw.hear(ErrorReply)
    assert isinstance(refusal, ErrorReply)
    assert refusal.code == "HELLO_FIRST"
    raw.greet()
    raw.ask(OpenSession("sh010", Plate(1, 2), ("hero",)), "0b", Message)


# --- the machine refuses ----------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named(daemon: DaemonProcess, tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        DaemonProcess(tmp_path, store=tmp_path / "other", endpoint=daemon.endpoint)
    assert f"PORT_TAKEN: cannot listen at {daemon.endpoint}: another program" in str(caught.value)


def test_a_second_daemon_on_one_store_is_refused_with_the_first_ones_process_id(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError) as caught:
        DaemonProcess(tmp_path, store=daemon.store)
    assert f"STORE: the store {daemon.store} is in use by another daemon (process {daemon.process.pid})" in str(
        caught.value
    )


def test_an_address_that_others_can_reach_needs_an_explicit_word(tmp_path: Path) -> None:
    with pytest.raises(AssertionError) as caught:
        DaemonProcess(tmp_path, endpoint="tcp://0.0.0.0:*")
    assert "SETTING: the endpoint tcp://0.0.0.0:* can be reached from other machines" in str(caught.value)


def test_a_full_disk_refuses_uploads_and_keeps_the_store_readable(small_disk: Path, tmp_path: Path) -> None:
    image = tmp_path / "p.exr"
    image.write_bytes(os.urandom(500_000))
    daemon = DaemonProcess(tmp_path, store=small_disk / "store")
    try:
        with Client(daemon.endpoint, timeout_s=WAIT_S) as client:
            client.open_session("sh010", Plate(1, 2), ["hero"])
            revision = client.put_annotation("sh010", 1, "hero", shapes=[TRIANGLE])
            with pytest.raises(RefusedError, match="the daemon's disk is full") as caught:
                client.upload_frames("sh010", {1: image})
            assert caught.value.code == "DISK_FULL"
            state = client.open_session("sh010", Plate(1, 2), ["hero"])
            assert (state.revision, state.annotations[0].frames) == (revision, (1,))
    finally:
        daemon.kill()


def test_a_full_disk_of_the_artist_is_told_and_the_daemon_keeps_the_matte(
    small_disk: Path, client: Client, plate: Plate
) -> None:
    draw(client, plate)
    job = client.propagate("sh010", 1, 6, engine="copy")
    ready = [event for event in job.events() if isinstance(event, MatteReady)]

    def fetch_all() -> None:
        for matte in ready:
            client.fetch_matte(matte, small_disk / f"m.{matte.frame}.exr")

    with pytest.raises(TransferError, match=r"matte of frame \d to .*: No space left on device; the daemon keeps it"):
        fetch_all()
    for path in small_disk.glob("m.*.exr"):
        assert path.read_bytes() == content_of(int(path.name.split(".")[1]), 1), "whole, or not at all"
    assert client.list_mattes("sh010", 1) == ready
    assert client.ping() in ("idle", "busy")


def test_a_pong_is_all_that_a_ping_costs(raw: RawPeer) -> None:
    raw.greet()
    assert raw.ask(Ping(), "0a", Pong) == Pong("none")
