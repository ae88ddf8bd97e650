"""The blocking API for scripts and threads, and the one thread that owns the socket; the only importer of zmq here."""

from __future__ import annotations

import getpass
import logging
import random
import socket
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, TypeVar, Union

import zmq
import zmq.utils.monitor

from rotomem_client.connection import ClientConnection
from rotomem_client.delivery import Cancelled, OnProgress, Upload, describe_file, fetch_matte, write_whole
from rotomem_client.errors import ProtocolError
from rotomem_client.exchange import Exchange
from rotomem_client.fields import clip_text
from rotomem_client.jobs import Job
from rotomem_client.messages import (
    MAX_PART_BYTES,
    PROTOCOL_MAX,
    WINDOW_BYTES,
    AnnotationContent,
    AnnotationStored,
    AnnotationUndone,
    FramePrompted,
    GetAnnotation,
    Hello,
    Introduce,
    JobAccepted,
    ListMattes,
    ListSessions,
    MatteList,
    MatteReady,
    MattesVectorized,
    ObjectsStored,
    OpenSession,
    Ping,
    Plate,
    Pong,
    PromptBox,
    PromptFrame,
    PromptPoint,
    Propagate,
    ProposeMotion,
    PruneStore,
    PutAnnotation,
    RedoAnnotation,
    RemoveAnnotation,
    RemoveObject,
    RemoveSession,
    RenameObject,
    Reply,
    Request,
    SessionList,
    SessionState,
    SetObjects,
    StoredSession,
    StorePruned,
    SuggestFrames,
    TakeOver,
    UndoAnnotation,
    VectorizeMattes,
    Welcome,
)
from rotomem_client.shapes import Outline, Shape
from rotomem_client.version import VERSION

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer", bound=Reply)

_MAX_QUEUED_MESSAGES = 1000
_POLL_MS = 250
_GOODBYE_MS = 200
"""How long a closing client waits for its last message to leave."""


class Client:
    """A connection to one daemon. Any thread may call any method; the connection is made on first use.

    Every method raises ``DaemonUnreachableError`` when the daemon stays silent for ``timeout_s``, and
    ``RefusedError`` with a code and a sentence when it refuses. Calls that a broken connection interrupted are sent
    again; the daemon carries each out once.

    Args:
        endpoint: such as ``tcp://127.0.0.1:7447``.
        name: tells the daemon's log who this is.
        timeout_s: how long a silent daemon is waited for.
        client_id: who this is when a session is written: the same id is the same writer, also in another process.
            Empty makes one of its own, so that two clients never write one session by accident.
        user: how others are told who writes; empty takes the login and the machine.
    """

    def __init__(
        self, endpoint: str, *, name: str = "rotomem", timeout_s: float = 10.0, client_id: str = "", user: str = ""
    ) -> None:
        self.endpoint = endpoint
        self._closed = False
        self._starting = threading.Lock()
        self._transport: Optional[_Transport] = None
        connection = ClientConnection(
            Hello(PROTOCOL_MAX, PROTOCOL_MAX, name, VERSION),
            introduction=Introduce(client_id or uuid.uuid4().hex, user or _describe_user(name)),
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
        base_revision: Optional[int] = None,
    ) -> int:
        """Store one object's matte on one frame, replacing any earlier one; return the session's revision.

        Args:
            shapes: roto shapes in plate pixels; or
            alpha: an image file, which is uploaded if need be; or
            absent: the object is not in this frame.
            base_revision: refuse (``STALE_REVISION``) if somebody changed this annotation after that revision.
        """
        self._start()
        alpha_sha256 = ""
        if alpha is not None:
            alpha_sha256 = describe_file(frame, alpha).offer.sha256
            Upload(self._exchange, session_id, "alpha").send({frame: alpha})
        request = PutAnnotation(session_id, frame, object_name, tuple(shapes), alpha_sha256, absent, base_revision)
        return self._call(request, AnnotationStored).revision

    def remove_annotation(
        self, session_id: str, frame: int, object_name: str, *, base_revision: Optional[int] = None
    ) -> int:
        """Forget one object's matte on one frame; return the session's revision."""
        request = RemoveAnnotation(session_id, frame, object_name, base_revision)
        return self._call(request, AnnotationStored).revision

    def undo_annotation(self, session_id: str) -> AnnotationUndone:
        """Take back the last change of an annotation; again takes back the one before. ``now`` says what is there.

        Raises:
            RefusedError: code ``NOTHING_TO_UNDO``.
        """
        return self._call(UndoAnnotation(session_id), AnnotationUndone)

    def redo_annotation(self, session_id: str) -> AnnotationUndone:
        """Make the change again that was taken back last; raises like ``undo_annotation``."""
        return self._call(RedoAnnotation(session_id), AnnotationUndone)

    def get_annotation(self, session_id: str, frame: int, object_name: str) -> AnnotationContent:
        """Return what is stored of one object on one frame; ``content`` is ``none`` if nothing is."""
        return self._call(GetAnnotation(session_id, frame, object_name), AnnotationContent)

    def set_objects(self, session_id: str, objects: Sequence[str]) -> ObjectsStored:
        """Add, remove and order objects, at any time. One that comes back has its annotations again."""
        return self._call(SetObjects(session_id, tuple(objects)), ObjectsStored)

    def rename_object(self, session_id: str, object_name: str, new_name: str) -> ObjectsStored:
        """Give an object another name; its annotations stay with it, its mattes are stale: they have the old layer."""
        return self._call(RenameObject(session_id, object_name, new_name), ObjectsStored)

    def remove_object(self, session_id: str, object_name: str) -> ObjectsStored:
        """Remove one object, but not the last one."""
        return self._call(RemoveObject(session_id, object_name), ObjectsStored)

    def take_over(self, session_id: str) -> SessionState:
        """Write a session that another client writes; that one is refused from now on."""
        return self._call(TakeOver(session_id), SessionState)

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
        focus: Optional[int] = None,
        confidence: bool = False,
        processing_size: int = 0,
        tune: bool = True,
        weights: str = "",
        priority: int = 1,
        remake: bool = False,
        motion: str = "off",
    ) -> Job:
        """Start making mattes of ``first`` to ``last``, inclusive; ``Job.events`` tells of each.

        The settings are those of ``Propagate``. Frames whose mattes are still right are told at once and not made
        again, unless ``remake``.
        """
        request = Propagate(
            session_id,
            first,
            last,
            handles=handles,
            engine=engine,
            device=device,
            refine_edges=refine_edges,
            focus=focus,
            confidence=confidence,
            processing_size=processing_size,
            tune=tune,
            weights=weights,
            priority=priority,
            remake=remake,
            motion=motion,
        )
        return self._start_job(request)

    def suggest_frames(
        self,
        session_id: str,
        count: int = 1,
        scoring: str = "auto",
        *,
        device: str = "auto",
        weights: str = "",
        priority: int = 2,
    ) -> Job:
        """Start finding frames worth annotating next; ``Job.wait_for_suggestions`` returns them."""
        return self._start_job(SuggestFrames(session_id, count, scoring, device, weights, priority))

    def propose_motion(
        self,
        session_id: str,
        first: int,
        last: int,
        *,
        flow: str = "auto",
        device: str = "auto",
        refine_edges: bool = True,
        priority: int = 1,
        engine: str = "motion",
        weights: str = "",
    ) -> Job:
        """Start making mattes of what moves, without any annotation; ``Job.events`` tells of each with a confidence.

        With another ``engine`` the best of them are propagated over the shot.

        It ends in ``JobFinished`` with engine ``motion``; its ``warnings`` begin with what was found in each shot, such
        as that there is no motion to speak of. The session's first object is the one that moves most.
        """
        request = ProposeMotion(session_id, first, last, flow, device, refine_edges, priority, engine, weights)
        return self._start_job(request)

    def prompt(
        self,
        session_id: str,
        frame: int,
        object_name: str,
        destination: Path,
        *,
        points: Sequence[PromptPoint] = (),
        box: Optional[PromptBox] = None,
        device: str = "auto",
    ) -> float:
        """Write the matte of what is clicked on or boxed to ``destination``, an EXR file; return its score, 0 to 1.

        Nothing is stored in the session: ``put_annotation`` with ``alpha=destination`` makes it an annotation. The
        first prompt on a frame takes seconds to a minute, more on the same frame a fraction of that.

        Raises:
            RefusedError: code ``WEIGHTS_MISSING`` where the daemon has no segment-anything.
            TransferError: the file cannot be written.
        """
        request = PromptFrame(session_id, frame, object_name, tuple(points), box, device)
        answer = self._call(request, FramePrompted)
        write_whole(Path(destination), answer.payload)
        return answer.score

    def vectorize_mattes(
        self, session_id: str, frames: Sequence[int], object_name: str, tolerance: float = 0.5
    ) -> tuple[Outline, ...]:
        """Return keyed outlines of one object's mattes, in the order in which they are painted.

        Args:
            session_id: opened for this, with the matte files as its plate.
            frames: at most ``MAX_VECTORIZED_FRAMES``.
            tolerance: in pixels.
        """
        return self._call(VectorizeMattes(session_id, tuple(frames), object_name, tolerance), MattesVectorized).outlines

    def resume_job(self, job_id: str, have: Sequence[int] = ()) -> Job:
        """Take up a job of an earlier client; mattes of the frames in ``have`` are not told again."""
        self._start()
        self._exchange.resume_job(job_id, have)
        return Job(self._exchange, job_id, 0)

    def list_mattes(self, session_id: str, revision: int, *, older: bool = False) -> list[MatteReady]:
        """Return all mattes of one revision, ascending by frame.

        With ``older``, also the newest of each frame that has none of this revision but of an earlier one.
        """
        mattes: list[MatteReady] = []
        after = ListMattes(session_id, revision).after
        while True:
            page = self._call(ListMattes(session_id, revision, after, older), MatteList)
            mattes += page.mattes
            if not page.more:
                return mattes
            after = mattes[-1].frame

    def list_sessions(self) -> list[StoredSession]:
        """Return all sessions of the daemon's store, by their ids."""
        sessions: list[StoredSession] = []
        while True:
            page = self._call(ListSessions(sessions[-1].session_id if sessions else ""), SessionList)
            sessions += page.sessions
            if not page.more:
                return sessions

    def remove_session(self, session_id: str) -> StorePruned:
        """Delete a session with everything that is stored of it; refused while a job of it runs."""
        return self._call(RemoveSession(session_id), StorePruned)

    def prune_store(self, keep_bytes: int = 0) -> StorePruned:
        """Delete superseded mattes, the oldest first, until all mattes have at most ``keep_bytes``."""
        return self._call(PruneStore(keep_bytes), StorePruned)

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
        self._exchange.say_goodbye()
        self._exchange.close()
        if transport is not None:
            transport.stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start_job(self, request: Union[Propagate, ProposeMotion, SuggestFrames]) -> Job:
        accepted = self._call(request, JobAccepted)
        return Job(self._exchange, accepted.job_id, accepted.revision)

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
            self._flush()
        except Exception:
            # Nobody sees what a thread raises; whoever waits for an answer must not wait for ever.
            log.exception("the connection to %s ended by an error of its own", self._endpoint)
            self._exchange.close()
        finally:
            self._close_socket(linger_ms=_GOODBYE_MS)
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

    def _close_socket(self, linger_ms: int = 0) -> None:
        self._unsent = None
        if self._dealer is not None:
            self._dealer.disable_monitor()
            self._dealer.close(linger=linger_ms)
            self._dealer = self._monitor = None


def _describe_user(name: str) -> str:
    """Return such as ``anna on ws12 (nuke)``."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError, ImportError):
        # No such account, as in a container.
        login = "somebody"
    return clip_text(f"{login} on {socket.gethostname()} ({name})", 128)
