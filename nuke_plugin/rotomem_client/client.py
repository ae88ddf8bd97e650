"""The blocking API for scripts and threads, and the one thread that owns the socket; the only importer of zmq here."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar

import zmq
import zmq.utils.monitor

from rotomem_client.connection import ClientConnection
from rotomem_client.delivery import Cancelled, OnProgress, Upload, describe_file, fetch_matte
from rotomem_client.errors import ProtocolError
from rotomem_client.exchange import Exchange
from rotomem_client.jobs import Job
from rotomem_client.messages import (
    MAX_PART_BYTES,
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    WINDOW_BYTES,
    AnnotationStored,
    Hello,
    JobAccepted,
    ListMattes,
    MatteList,
    MatteReady,
    OpenSession,
    Ping,
    Plate,
    Pong,
    Propagate,
    PutAnnotation,
    RemoveAnnotation,
    Reply,
    Request,
    SessionState,
    Welcome,
)
from rotomem_client.shapes import Shape
from rotomem_client.version import VERSION

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer", bound=Reply)

_MAX_QUEUED_MESSAGES = 1000
_POLL_MS = 250


class Client:
    """A connection to one daemon. Any thread may call any method; the connection is made on first use.

    Every method raises ``DaemonUnreachableError`` when the daemon stays silent for ``timeout_s``, and
    ``RefusedError`` with a code and a sentence when it refuses. Calls that a broken connection interrupted are sent
    again; the daemon carries each out once.

    Args:
        endpoint: such as ``tcp://127.0.0.1:7447``.
        name: tells the daemon's log who this is.
        timeout_s: how long a silent daemon is waited for.
    """

    def __init__(self, endpoint: str, *, name: str = "rotomem", timeout_s: float = 10.0) -> None:
        self.endpoint = endpoint
        self._closed = False
        self._starting = threading.Lock()
        self._transport: Optional[_Transport] = None
        connection = ClientConnection(
            Hello(PROTOCOL_MIN, PROTOCOL_MAX, name, VERSION),
            clock=time.monotonic,
            random=random.random,
            ping_after_s=min(2.0, timeout_s / 5),
            dead_after_s=min(6.0, timeout_s / 2),
        )
        self._exchange = Exchange(
            connection,
            endpoint=endpoint,
            timeout_s=timeout_s,
            window_bytes=WINDOW_BYTES,
            clock=time.monotonic,
            wake=self._wake,
        )

    def connect(self) -> Welcome:
        """Return what the daemon says of itself; raises also ``VersionError``."""
        self._start()
        return self._exchange.wait_until_ready()

    def open_session(self, session_id: str, plate: Plate, objects: Sequence[str]) -> SessionState:
        """Make or take up a session. Upload the plate's frames if the state says ``plate_visible=False``."""
        return self._call(OpenSession(session_id, plate, tuple(objects)), SessionState)

    def upload_frames(
        self,
        session_id: str,
        files: Mapping[int, Path],
        *,
        on_progress: Optional[OnProgress] = None,
        cancelled: Optional[Cancelled] = None,
    ) -> int:
        """Send the plate frames that the daemon lacks; return the bytes sent.

        Args:
            files: frame to image file.
            on_progress: called with (bytes done, bytes in all), from this thread.
            cancelled: asked between chunks.

        Raises:
            TransferError: a file cannot be read, or ``cancelled()`` turned true. Calling again goes on from there.
        """
        self._start()
        upload = Upload(self._exchange, session_id, "plate", on_progress=on_progress, cancelled=cancelled)
        return upload.send(files)

    def put_annotation(
        self,
        session_id: str,
        frame: int,
        object_name: str,
        *,
        shapes: Sequence[Shape] = (),
        alpha: Optional[Path] = None,
        absent: bool = False,
    ) -> int:
        """Store one object's matte on one frame, replacing any earlier one; return the session's revision.

        Args:
            shapes: roto shapes in plate pixels; or
            alpha: an image file, which is uploaded if need be; or
            absent: the object is not in this frame.
        """
        self._start()
        alpha_sha256 = ""
        if alpha is not None:
            alpha_sha256 = describe_file(frame, alpha).offer.sha256
            Upload(self._exchange, session_id, "alpha").send({frame: alpha})
        request = PutAnnotation(session_id, frame, object_name, tuple(shapes), alpha_sha256, absent)
        return self._call(request, AnnotationStored).revision

    def remove_annotation(self, session_id: str, frame: int, object_name: str) -> int:
        """Forget one object's matte on one frame; return the session's revision."""
        return self._call(RemoveAnnotation(session_id, frame, object_name), AnnotationStored).revision

    def propagate(
        self,
        session_id: str,
        first: int,
        last: int,
        *,
        handles: int = 0,
        engine: str = "auto",
        device: str = "auto",
        refine_edges: bool = True,
    ) -> Job:
        """Start making mattes of ``first`` to ``last``, inclusive; ``Job.events`` tells of each."""
        request = Propagate(session_id, first, last, handles, engine, device, refine_edges)
        accepted = self._call(request, JobAccepted)
        return Job(self._exchange, accepted.job_id, accepted.revision)

    def resume_job(self, job_id: str, have: Sequence[int] = ()) -> Job:
        """Take up a job of an earlier client; mattes of the frames in ``have`` are not told again."""
        self._start()
        self._exchange.resume_job(job_id, have)
        return Job(self._exchange, job_id, 0)

    def list_mattes(self, session_id: str, revision: int) -> list[MatteReady]:
        """Return all mattes of one revision, ascending by frame."""
        mattes: list[MatteReady] = []
        while True:
            request = ListMattes(session_id, revision, mattes[-1].frame) if mattes else ListMattes(session_id, revision)
            page = self._call(request, MatteList)
            mattes += page.mattes
            if not page.more:
                return mattes

    def fetch_matte(self, ready: MatteReady, destination: Path) -> Path:
        """Bring a matte to ``destination``, where it appears whole and verified, or not at all; return the path.

        Raises:
            TransferError: the file cannot be written.
        """
        self._start()
        return fetch_matte(self._exchange, ready, Path(destination))

    def ping(self) -> str:
        """Return the state of the daemon's worker: ``idle``, ``busy`` or ``none``."""
        return self._call(Ping(), Pong).worker

    def close(self) -> None:
        """End the connection. Jobs go on; calls that wait in other threads raise ``DaemonUnreachableError``."""
        with self._starting:
            self._closed = True
            transport, self._transport = self._transport, None
        self._exchange.close()
        if transport is not None:
            transport.stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _call(self, request: Request, answer: type[_Answer]) -> _Answer:
        self._start()
        reply = self._exchange.call(request)
        if not isinstance(reply, answer):
            raise ProtocolError(f"the daemon answered {request.type_name} by {reply.type_name}")
        return reply

    def _start(self) -> None:
        with self._starting:
            if self._transport is None and not self._closed:
                self._transport = _Transport(self.endpoint, self._exchange)
                self._transport.start()

    def _wake(self) -> None:
        transport = self._transport
        if transport is not None:
            transport.wake()


class _Transport(threading.Thread):
    """Owns the DEALER socket: opens it, carries bytes between it and the exchange, opens another when it is lost."""

    def __init__(self, endpoint: str, exchange: Exchange) -> None:
        super().__init__(name="rotomem-client", daemon=True)
        self._endpoint = endpoint
        self._exchange = exchange
        self._stopping = threading.Event()
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._context = zmq.Context()
        self._dealer: Any = None
        self._monitor: Any = None
        self._unsent: Optional[list[bytes]] = None

    def wake(self) -> None:
        """Have a look for something to send. From any thread."""
        try:
            self._waker.send(b"\0")
        except OSError:
            # Full: it will wake anyway. Closed: it has stopped.
            pass

    def stop(self) -> None:
        self._stopping.set()
        self.wake()
        self.join()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
        except Exception:
            # Nobody sees what a thread raises; whoever waits for an answer must not wait for ever.
            log.exception("the connection to %s ended by an error of its own", self._endpoint)
            self._exchange.close()
        finally:
            self._close_socket()
            self._context.term()
            self._waker.close()
            self._wakened.close()

    def _turn(self) -> None:
        connection = self._exchange.connection
        if self._dealer is None and time.monotonic() >= connection.retry_at:
            self._open_socket()
        self._flush()
        self._poll()
        with self._exchange.condition:
            silent = connection.tick()
        if silent:
            self._lose("it fell silent")

    def _poll(self) -> None:
        poller = zmq.Poller()
        poller.register(self._wakened, zmq.POLLIN)
        if self._dealer is not None:
            poller.register(self._dealer, zmq.POLLIN | (zmq.POLLOUT if self._unsent else 0))
            poller.register(self._monitor, zmq.POLLIN)
        ready = dict(poller.poll(_POLL_MS))
        if self._wakened.fileno() in ready:
            self._wakened.recv(4096)
        if self._dealer is not None and ready.get(self._dealer, 0) & zmq.POLLIN:
            self._receive()
        if self._monitor is not None and self._monitor in ready:
            zmq.utils.monitor.recv_monitor_message(self._monitor)
            self._lose("the peer closed it")

    def _receive(self) -> None:
        try:
            for _ in range(_MAX_QUEUED_MESSAGES):
                self._exchange.receive(self._dealer.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            return
        except ProtocolError as error:
            self._lose(str(error))

    def _flush(self) -> None:
        """Send what there is to send, as far as the socket takes it."""
        while self._dealer is not None:
            parts = self._unsent or self._exchange.take_outgoing()
            if parts is None:
                return
            try:
                self._dealer.send_multipart(parts, zmq.NOBLOCK)
                self._unsent = None
            except zmq.Again:
                self._unsent = parts
                return

    def _open_socket(self) -> None:
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.linger = 0
        self._dealer.maxmsgsize = MAX_PART_BYTES
        self._dealer.reconnect_ivl = 100
        self._monitor = self._dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        try:
            self._dealer.connect(self._endpoint)
        except zmq.ZMQError as error:
            log.warning("cannot connect to %s: %s", self._endpoint, error)
            self._lose(str(error))
            return
        with self._exchange.condition:
            self._exchange.connection.open()

    def _lose(self, reason: str) -> None:
        log.info("the connection to %s is lost: %s", self._endpoint, reason)
        self._close_socket()
        self._exchange.lose()

    def _close_socket(self) -> None:
        self._unsent = None
        if self._dealer is not None:
            self._dealer.disable_monitor()
            self._dealer.close()
            self._dealer = self._monitor = None
