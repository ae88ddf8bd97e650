"""Everything that client and daemon say to each other, as frozen dataclasses.

A client sends ``Request``s; the daemon sends ``Reply``s, each to the request with its id, and ``Event``s on its own.
``Flow`` messages (chunks, credit) go both ways and are not answered one by one. Units, flows and rules are in
``backend/docs/wire-protocol.md``. Frames are Nuke frame numbers; sizes are bytes; hashes are SHA-256 in lower-case hex.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Optional, Union

from rotomem_client.errors import InvalidValueError
from rotomem_client.fields import (
    Choice,
    Flag,
    Frames,
    Integer,
    ListOf,
    Number,
    OptionalOf,
    Outlines,
    Payload,
    Record,
    RecordOf,
    Shapes,
    Text,
    clip_text,
    kind,
)
from rotomem_client.shapes import Outline, Shape

PROTOCOL_MAX = 2
PROTOCOL_MIN = 1
"""The oldest that a daemon still understands; a client speaks ``PROTOCOL_MAX`` alone."""

MAX_HEADER_BYTES = 64 * 1024
MAX_PART_BYTES = 4 * 1024 * 1024
MAX_PARTS = 8
CHUNK_BYTES = 1024 * 1024
WINDOW_BYTES = 8 * CHUNK_BYTES
MAX_FILE_BYTES = 4 * 1024**3
MAX_OFFERED_FRAMES = 256
MAX_LISTED_MATTES = 32
MAX_LISTED_SESSIONS = 256
MAX_VECTORIZED_FRAMES = 128
MAX_OUTLINES = 256
MAX_PROMPT_POINTS = 64
MAX_PENDING_REQUESTS = 64
SENTENCE_BYTES = 1500

_FRAME = Integer(-10_000_000, 10_000_000)
_COUNT = Integer(0, 2**31 - 1)
_SIZE = Integer(1, MAX_FILE_BYTES)
_OFFSET = Integer(0, MAX_FILE_BYTES)
_REVISION = Integer(0, 2**31 - 1)
_FRAMES = Frames(_FRAME, 100_000)
_SHA256 = Text(64, pattern="[0-9a-f]{64}", rule="a SHA-256 in lower-case hex")
_SHA256_OR_NONE = Text(64, pattern="([0-9a-f]{64})?", rule="a SHA-256 in lower-case hex, or empty")
_SESSION_ID = Text(64, pattern="[A-Za-z0-9][A-Za-z0-9._-]*", rule="letters, digits, '.', '_' and '-'")
_JOB_ID = Text(32, pattern="[0-9a-f]{32}", rule="32 hex digits")
_OBJECT = Text(64, pattern=r"[A-Za-z_][A-Za-z0-9_]*", rule="a layer name: letters, digits and '_', no digit first")
_ENGINE = Text(32, pattern="[a-z][a-z0-9_]*", rule="an engine's name, such as warp")
_DEVICE = Text(32, pattern="auto|cpu|mps|cuda(:[0-9]{1,3})?", rule="auto, cpu, cuda or cuda:1")
_PATH = Text(1024)
_SHORT = Text(128)
_SENTENCE = Text(SENTENCE_BYTES)
_CODE = Text(32, pattern="[A-Z][A-Z0-9_]*", rule="an error code in capitals")
_SUFFIX = Text(8, pattern=r"\.[a-z0-9]{1,7}", rule="a file suffix such as .exr")
_FEATURES = ListOf(Text(32), 32)
_OBJECTS = ListOf(_OBJECT, 64)
_WEIGHTS = Text(64, pattern="([A-Za-z0-9][A-Za-z0-9._-]*)?", rule="the name of installed weights, or empty")
_SCORING = Text(32, pattern="[a-z][a-z0-9_]*", rule="a scoring's name, such as auto")
_CLIENT_ID = Text(64, pattern="[A-Za-z0-9][A-Za-z0-9._-]*", rule="letters, digits, '.', '_' and '-'")
_ANNOTATION_KIND = Choice("shapes", "alpha", "absent", "none")
_BYTES = Integer(0, 2**62)
_PIXEL = Number(-65536.0, 65536.0)
_TIME = Number(0.0, 1e11)


@dataclass(frozen=True)
class Limits(Record):
    """What the daemon accepts from this client.

    Args:
        header_bytes: of one header.
        part_bytes: of any one part.
        chunk_bytes: of one chunk's payload.
        parts: per message, the magic and the header included.
        pending_requests: without a reply yet.
        window_bytes: of chunks in flight that a receiver must at least allow; not below ``chunk_bytes``.
    """

    header_bytes: int = field(default=MAX_HEADER_BYTES, metadata=kind(_COUNT))
    part_bytes: int = field(default=MAX_PART_BYTES, metadata=kind(_COUNT))
    chunk_bytes: int = field(default=CHUNK_BYTES, metadata=kind(Integer(1, MAX_PART_BYTES)))
    parts: int = field(default=MAX_PARTS, metadata=kind(_COUNT))
    pending_requests: int = field(default=MAX_PENDING_REQUESTS, metadata=kind(_COUNT))
    window_bytes: int = field(default=WINDOW_BYTES, metadata=kind(_COUNT))


@dataclass(frozen=True)
class Plate(Record):
    """The plate of a session.

    Args:
        first: its first frame.
        last: its last frame, inclusive.
        pattern: where a daemon on shared storage finds it, such as ``/a/p.%04d.exr``; empty if it must be streamed.
        colourspace: an OCIO name or ``auto``.
        width: of the display window in pixels, 0 if unknown.
        height: likewise.
        pixel_aspect: width of a pixel over its height.
    """

    first: int = field(metadata=kind(_FRAME))
    last: int = field(metadata=kind(_FRAME))
    pattern: str = field(default="", metadata=kind(_PATH))
    colourspace: str = field(default="auto", metadata=kind(_SHORT))
    width: int = field(default=0, metadata=kind(Integer(0, 65536)))
    height: int = field(default=0, metadata=kind(Integer(0, 65536)))
    pixel_aspect: float = field(default=1.0, metadata=kind(Number(0.01, 100.0)))

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_range("Plate", self.first, self.last)


@dataclass(frozen=True)
class AnnotatedFrames(Record):
    """The frames on which one object is annotated."""

    object_name: str = field(metadata=kind(_OBJECT))
    frames: tuple[int, ...] = field(metadata=kind(_FRAMES))


@dataclass(frozen=True)
class MattesOfRevision(Record):
    """The frames whose newest matte was made with the annotations of one revision."""

    revision: int = field(metadata=kind(_REVISION))
    frames: tuple[int, ...] = field(metadata=kind(_FRAMES))


@dataclass(frozen=True)
class SuggestedFrame(Record):
    """A frame worth annotating next: higher ``score`` first; ``reason`` is for the artist."""

    frame: int = field(metadata=kind(_FRAME))
    score: float = field(metadata=kind(Number(-1e9, 1e9)))
    reason: str = field(metadata=kind(_SENTENCE))


@dataclass(frozen=True)
class StoredSession(Record):
    """One session of the store: ``size`` of its mattes on disk, ``used_at`` in seconds since 1970."""

    session_id: str = field(metadata=kind(_SESSION_ID))
    revision: int = field(metadata=kind(_REVISION))
    size: int = field(metadata=kind(_BYTES))
    used_at: float = field(metadata=kind(_TIME))


@dataclass(frozen=True)
class FrameOffer(Record):
    """One file that the client could send. ``suffix`` tells the image format, such as ``.exr``."""

    frame: int = field(metadata=kind(_FRAME))
    sha256: str = field(metadata=kind(_SHA256))
    size: int = field(metadata=kind(_SIZE))
    suffix: str = field(metadata=kind(_SUFFIX))


@dataclass(frozen=True)
class WantedFile(Record):
    """A file that the daemon lacks, from byte ``offset`` on: what lies before arrived earlier."""

    sha256: str = field(metadata=kind(_SHA256))
    offset: int = field(metadata=kind(_OFFSET))


@dataclass(frozen=True)
class PromptPoint(Record):
    """A click: pixels of the plate, origin top-left; ``inside`` the object, or on what is not to be it."""

    x: float = field(metadata=kind(_PIXEL))
    y: float = field(metadata=kind(_PIXEL))
    inside: bool = field(default=True, metadata=kind(Flag()))


@dataclass(frozen=True)
class PromptBox(Record):
    """A box around an object: pixels of the plate, origin top-left."""

    left: float = field(metadata=kind(_PIXEL))
    top: float = field(metadata=kind(_PIXEL))
    right: float = field(metadata=kind(_PIXEL))
    bottom: float = field(metadata=kind(_PIXEL))


class Message(Record):
    """Base of everything that travels as a message.

    ``type_name`` is its name on the wire, ``since`` the first protocol that has it.
    """

    type_name: ClassVar[str]
    since: ClassVar[int] = 1


class Request(Message):
    """From the client; answered by exactly one reply or ``ErrorReply`` (``FetchMatte``: by chunks)."""


class Reply(Message):
    """From the daemon, to one request."""


class Event(Message):
    """From the daemon, about a job that this client started or resumed."""


class Flow(Message):
    """Either way; not answered one by one."""


# --- requests ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello(Request):
    """The first message of a connection. Its fields never change, whatever the protocol version."""

    type_name: ClassVar[str] = "hello"
    protocol_min: int = field(metadata=kind(Integer(1, 65535)))
    protocol_max: int = field(metadata=kind(Integer(1, 65535)))
    client: str = field(metadata=kind(_SHORT))
    client_version: str = field(metadata=kind(_SHORT))
    features: tuple[str, ...] = field(default=(), metadata=kind(_FEATURES))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol_max < self.protocol_min:
            raise InvalidValueError(
                f"Hello offers protocols {self.protocol_min} to {self.protocol_max}, an empty range"
            )


@dataclass(frozen=True)
class Ping(Request):
    """Are you there? Sent when nothing else was for a while."""

    type_name: ClassVar[str] = "ping"


@dataclass(frozen=True)
class OpenSession(Request):
    """Make a session, or take up an existing one; its plate and objects become the given ones."""

    type_name: ClassVar[str] = "open_session"
    session_id: str = field(metadata=kind(_SESSION_ID))
    plate: Plate = field(metadata=kind(RecordOf(Plate)))
    objects: tuple[str, ...] = field(metadata=kind(_OBJECTS))

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_objects(self.session_id, self.objects)


@dataclass(frozen=True)
class OfferFrames(Request):
    """Files that the client could send: plate frames of the session, or alphas of annotations to come."""

    type_name: ClassVar[str] = "offer_frames"
    session_id: str = field(metadata=kind(_SESSION_ID))
    role: str = field(metadata=kind(Choice("plate", "alpha")))
    frames: tuple[FrameOffer, ...] = field(metadata=kind(ListOf(RecordOf(FrameOffer), MAX_OFFERED_FRAMES)))


@dataclass(frozen=True)
class PutAnnotation(Request):
    """One object's matte on one frame: shapes, or the alpha of a stored file, or "it is not there".

    With ``base_revision`` it is refused if this frame's annotation of this object has changed since that revision.
    """

    type_name: ClassVar[str] = "put_annotation"
    session_id: str = field(metadata=kind(_SESSION_ID))
    frame: int = field(metadata=kind(_FRAME))
    object_name: str = field(metadata=kind(_OBJECT))
    shapes: tuple[Shape, ...] = field(default=(), metadata=kind(Shapes(MAX_PART_BYTES)))
    alpha_sha256: str = field(default="", metadata=kind(_SHA256_OR_NONE))
    absent: bool = field(default=False, metadata=kind(Flag()))
    base_revision: Optional[int] = field(default=None, metadata=kind(OptionalOf(_REVISION), since=2))

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.shapes) + bool(self.alpha_sha256) + self.absent != 1:
            raise InvalidValueError(
                f"the annotation of {self.object_name!r} on frame {self.frame} must hold shapes, or an alpha, or be "
                "marked absent: draw a shape, or say that the object is not in this frame"
            )


@dataclass(frozen=True)
class RemoveAnnotation(Request):
    """Forget one object's annotation on one frame; nothing happens if there is none. ``base_revision`` as above."""

    type_name: ClassVar[str] = "remove_annotation"
    session_id: str = field(metadata=kind(_SESSION_ID))
    frame: int = field(metadata=kind(_FRAME))
    object_name: str = field(metadata=kind(_OBJECT))
    base_revision: Optional[int] = field(default=None, metadata=kind(OptionalOf(_REVISION), since=2))


@dataclass(frozen=True)
class UndoAnnotation(Request):
    """Take back the last change of an annotation that is not taken back yet; a new revision, so nothing is lost."""

    type_name: ClassVar[str] = "undo_annotation"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))


@dataclass(frozen=True)
class RedoAnnotation(Request):
    """Make the change again that was taken back last, unless something else was changed since."""

    type_name: ClassVar[str] = "redo_annotation"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))


@dataclass(frozen=True)
class GetAnnotation(Request):
    """What is annotated of one object on one frame."""

    type_name: ClassVar[str] = "get_annotation"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    frame: int = field(metadata=kind(_FRAME))
    object_name: str = field(metadata=kind(_OBJECT))


@dataclass(frozen=True)
class SetObjects(Request):
    """The session's objects become these, in this order: new ones are added, those not named are removed."""

    type_name: ClassVar[str] = "set_objects"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    objects: tuple[str, ...] = field(metadata=kind(_OBJECTS))

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_objects(self.session_id, self.objects)


@dataclass(frozen=True)
class RenameObject(Request):
    """An object gets another name; its annotations, and their history, stay with it."""

    type_name: ClassVar[str] = "rename_object"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    object_name: str = field(metadata=kind(_OBJECT))
    new_name: str = field(metadata=kind(_OBJECT))


@dataclass(frozen=True)
class RemoveObject(Request):
    """One object goes, not the last one. Added again under its name, it has its annotations again."""

    type_name: ClassVar[str] = "remove_object"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    object_name: str = field(metadata=kind(_OBJECT))


@dataclass(frozen=True)
class TakeOver(Request):
    """This client writes the session from now on; whoever wrote it before is refused."""

    type_name: ClassVar[str] = "take_over"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))


@dataclass(frozen=True)
class Propagate(Request):
    """Make mattes for ``first`` to ``last`` and ``handles`` more on both sides, as far as the plate reaches.

    Args:
        focus: the frame under the artist's eye, made first.
        confidence: write the confidence layer too.
        processing_size: shorter side in pixels at which the engine works; 0 is the engine's own.
        tune: let the engine adapt to the shot, if it can.
        weights: name of installed weights; empty takes the engine's default.
        priority: 0 low, 1 normal, 2 high: of the jobs that wait, a higher one starts first.
        remake: make also those frames whose mattes are right as they are.
        motion: second opinion from motion: ``off``; ``errors`` writes a layer ``motion_error`` of where it takes mattes
            for wrong; ``correct`` also edits them there where the engine is not sure either; ``exemplars`` remembers
            frames on which motion shows the object; ``all`` is both. Other than ``off``, every frame is made.
    """

    type_name: ClassVar[str] = "propagate"
    session_id: str = field(metadata=kind(_SESSION_ID))
    first: int = field(metadata=kind(_FRAME))
    last: int = field(metadata=kind(_FRAME))
    handles: int = field(default=0, metadata=kind(Integer(0, 100_000)))
    engine: str = field(default="auto", metadata=kind(_ENGINE))
    device: str = field(default="auto", metadata=kind(_DEVICE))
    refine_edges: bool = field(default=True, metadata=kind(Flag()))
    focus: Optional[int] = field(default=None, metadata=kind(OptionalOf(_FRAME), since=2))
    confidence: bool = field(default=False, metadata=kind(Flag(), since=2))
    processing_size: int = field(default=0, metadata=kind(Integer(0, 8192), since=2))
    tune: bool = field(default=True, metadata=kind(Flag(), since=2))
    weights: str = field(default="", metadata=kind(_WEIGHTS, since=2))
    priority: int = field(default=1, metadata=kind(Integer(0, 2), since=2))
    remake: bool = field(default=False, metadata=kind(Flag(), since=2))
    motion: str = field(default="off", metadata=kind(Choice("off", "errors", "correct", "exemplars", "all"), since=2))

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_range("Propagate", self.first, self.last)


@dataclass(frozen=True)
class SuggestFrames(Request):
    """Find ``count`` frames worth annotating next; a job, which ends in ``FramesSuggested``."""

    type_name: ClassVar[str] = "suggest_frames"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    count: int = field(default=1, metadata=kind(Integer(1, 100)))
    scoring: str = field(default="auto", metadata=kind(_SCORING))
    device: str = field(default="auto", metadata=kind(_DEVICE))
    weights: str = field(default="", metadata=kind(_WEIGHTS))
    priority: int = field(default=2, metadata=kind(Integer(0, 2)))


@dataclass(frozen=True)
class ProposeMotion(Request):
    """Make mattes of what moves, from the plate alone; a job, which ends in ``JobFinished`` with engine ``motion``.

    The session's objects are the layers: its first one is the object that moves most, and so on. Where something is
    drawn all the same, the frame has what is drawn. ``JobFinished.warnings`` begins with one sentence for each shot.

    Args:
        flow: ``auto`` is RAFT where the daemon has its weights, else DIS.
        engine: ``motion`` gives the masks that motion shows; another engine, or ``auto``, propagates the best of them.
        weights: for that engine, as for ``Propagate``.
        refine_edges, device, priority: as for ``Propagate``.
    """

    type_name: ClassVar[str] = "propose_motion"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    first: int = field(metadata=kind(_FRAME))
    last: int = field(metadata=kind(_FRAME))
    flow: str = field(default="auto", metadata=kind(Choice("auto", "dis", "raft")))
    device: str = field(default="auto", metadata=kind(_DEVICE))
    refine_edges: bool = field(default=True, metadata=kind(Flag()))
    priority: int = field(default=1, metadata=kind(Integer(0, 2)))
    engine: str = field(default="motion", metadata=kind(_ENGINE))
    weights: str = field(default="", metadata=kind(_WEIGHTS))

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_range("ProposeMotion", self.first, self.last)


@dataclass(frozen=True)
class PromptFrame(Request):
    """Turn clicks and a box on one frame of the plate into a matte; nothing is stored.

    Args:
        points: at most ``MAX_PROMPT_POINTS``; at least one inside, unless there is a box.
        object_name: the layer of the matte; of the session's objects.
    """

    type_name: ClassVar[str] = "prompt_frame"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    frame: int = field(metadata=kind(_FRAME))
    object_name: str = field(metadata=kind(_OBJECT))
    points: tuple[PromptPoint, ...] = field(default=(), metadata=kind(ListOf(RecordOf(PromptPoint), MAX_PROMPT_POINTS)))
    box: Optional[PromptBox] = field(default=None, metadata=kind(OptionalOf(RecordOf(PromptBox))))
    device: str = field(default="auto", metadata=kind(_DEVICE))


@dataclass(frozen=True)
class VectorizeMattes(Request):
    """Turn mattes into keyed outlines. The mattes are the plate of a session that was opened for this.

    Args:
        frames: of the session's plate; ask for a long range by parts.
        object_name: whose layer of the files is read.
        tolerance: how far an outline may lie from where the matte is one half, in pixels.
    """

    type_name: ClassVar[str] = "vectorize_mattes"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    frames: tuple[int, ...] = field(metadata=kind(Frames(_FRAME, MAX_VECTORIZED_FRAMES)))
    object_name: str = field(metadata=kind(_OBJECT))
    tolerance: float = field(default=0.5, metadata=kind(Number(0.1, 100.0)))


@dataclass(frozen=True)
class Cancel(Request):
    """Stop a job after the frame it is at; the mattes made so far are kept."""

    type_name: ClassVar[str] = "cancel"
    job_id: str = field(metadata=kind(_JOB_ID))


@dataclass(frozen=True)
class ResumeJob(Request):
    """Hear of a job again after a reconnect: mattes of frames not in ``have`` are told once more, and its end."""

    type_name: ClassVar[str] = "resume_job"
    job_id: str = field(metadata=kind(_JOB_ID))
    have: tuple[int, ...] = field(default=(), metadata=kind(_FRAMES))


@dataclass(frozen=True)
class ListMattes(Request):
    """The mattes of one revision, by pages, in the order of frames after ``after``.

    With ``older`` also those of frames that have none of this revision but of an earlier one: the newest of each.
    """

    type_name: ClassVar[str] = "list_mattes"
    session_id: str = field(metadata=kind(_SESSION_ID))
    revision: int = field(metadata=kind(_REVISION))
    after: int = field(default=-10_000_000, metadata=kind(_FRAME))
    older: bool = field(default=False, metadata=kind(Flag(), since=2))


@dataclass(frozen=True)
class FetchMatte(Request):
    """Send a matte's file from byte ``offset`` on, as chunks that carry this request's id."""

    type_name: ClassVar[str] = "fetch_matte"
    session_id: str = field(metadata=kind(_SESSION_ID))
    revision: int = field(metadata=kind(_REVISION))
    frame: int = field(metadata=kind(_FRAME))
    sha256: str = field(metadata=kind(_SHA256))
    offset: int = field(default=0, metadata=kind(_OFFSET))


@dataclass(frozen=True)
class ListSessions(Request):
    """The sessions of the store, by pages, in the order of their ids after ``after``."""

    type_name: ClassVar[str] = "list_sessions"
    since: ClassVar[int] = 2
    after: str = field(default="", metadata=kind(_SHORT))


@dataclass(frozen=True)
class RemoveSession(Request):
    """Forget a session with its annotations, mattes and frames, for good."""

    type_name: ClassVar[str] = "remove_session"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))


@dataclass(frozen=True)
class PruneStore(Request):
    """Delete superseded mattes, the oldest first, until all mattes have at most ``keep_bytes``."""

    type_name: ClassVar[str] = "prune_store"
    since: ClassVar[int] = 2
    keep_bytes: int = field(default=0, metadata=kind(_BYTES))


# --- flow -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chunk(Flow):
    """Bytes of one file. All chunks of an upload carry one id, to which ``FileStored`` answers."""

    type_name: ClassVar[str] = "chunk"
    sha256: str = field(metadata=kind(_SHA256))
    offset: int = field(metadata=kind(_OFFSET))
    payload: bytes = field(metadata=kind(Payload(CHUNK_BYTES)))


@dataclass(frozen=True)
class Credit(Flow):
    """The sender of this message will take ``granted`` more payload bytes of chunks."""

    type_name: ClassVar[str] = "credit"
    granted: int = field(metadata=kind(Integer(1, 2**31 - 1)))


@dataclass(frozen=True)
class Introduce(Flow):
    """From the client, once per connection: who writes. The same ``client_id`` is the same writer."""

    type_name: ClassVar[str] = "introduce"
    since: ClassVar[int] = 2
    client_id: str = field(metadata=kind(_CLIENT_ID))
    user: str = field(metadata=kind(_SHORT))


@dataclass(frozen=True)
class Goodbye(Flow):
    """From the client: it closes, and writes no session any more."""

    type_name: ClassVar[str] = "goodbye"
    since: ClassVar[int] = 2


# --- replies ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Welcome(Reply):
    """The answer to ``Hello``.

    Args:
        protocol: the version that both will speak, the highest that both know.
        epoch: changes whenever the daemon starts; a client then resumes its jobs and uploads.
        engines: names that ``Propagate`` takes beside ``auto``.
        default_engine: what ``auto`` means here, with ``tune``; without, ``warp`` takes the place of shipped weights.
        device: on which the daemon computes.
    """

    type_name: ClassVar[str] = "welcome"
    protocol: int = field(metadata=kind(Integer(1, 65535)))
    server_version: str = field(metadata=kind(_SHORT))
    epoch: str = field(metadata=kind(_SHORT))
    engines: tuple[str, ...] = field(metadata=kind(ListOf(_ENGINE, 32)))
    default_engine: str = field(metadata=kind(_ENGINE))
    device: str = field(metadata=kind(_DEVICE))
    limits: Limits = field(default=Limits(), metadata=kind(RecordOf(Limits)))
    features: tuple[str, ...] = field(default=(), metadata=kind(_FEATURES))


@dataclass(frozen=True)
class Pong(Reply):
    """The daemon turns. ``worker`` is ``idle``, ``busy``, or ``none`` (it starts with the next job)."""

    type_name: ClassVar[str] = "pong"
    worker: str = field(metadata=kind(Choice("idle", "busy", "none")))


@dataclass(frozen=True)
class SessionState(Reply):
    """A session as it is stored.

    Args:
        revision: of the annotations; mattes of a lower one are stale.
        annotations: annotated frames by object.
        plate_visible: the daemon can read the plate's first and last frame itself; otherwise upload.
        plate_frames: frames of the plate that were streamed and are complete.
        matte_revision: the newest revision of which there are mattes.
        mattes: frames of which there is a matte of that revision.
        matte_pattern: where those mattes lie on the daemon's machine, such as ``/store/…/matte.%04d.exr``; empty
            if there are none, or if several jobs made them: then ``ListMattes`` tells each one's path.
        shown: each frame's newest matte of whatever revision, by the revision that it was made with, newest first.
        stale: those of these frames whose matte may differ if it were made now.
        stale_reason: why, for the artist; empty if none is stale.
        writer: who may change the session just now, for the artist; empty if nobody does.
        writer_since: seconds since 1970; 0 if nobody writes.
        writing: that is this client.
        can_undo: there is a change of an annotation to take back.
        can_redo: likewise, to make again.
    """

    type_name: ClassVar[str] = "session_state"
    session_id: str = field(metadata=kind(_SESSION_ID))
    revision: int = field(metadata=kind(_REVISION))
    objects: tuple[str, ...] = field(metadata=kind(_OBJECTS))
    annotations: tuple[AnnotatedFrames, ...] = field(metadata=kind(ListOf(RecordOf(AnnotatedFrames), 1024)))
    plate_visible: bool = field(metadata=kind(Flag()))
    plate_frames: tuple[int, ...] = field(metadata=kind(_FRAMES))
    matte_revision: int = field(metadata=kind(_REVISION))
    mattes: tuple[int, ...] = field(metadata=kind(_FRAMES))
    matte_pattern: str = field(metadata=kind(_PATH))
    shown: tuple[MattesOfRevision, ...] = field(
        default=(), metadata=kind(ListOf(RecordOf(MattesOfRevision), 1024), since=2)
    )
    stale: tuple[int, ...] = field(default=(), metadata=kind(_FRAMES, since=2))
    stale_reason: str = field(default="", metadata=kind(_SENTENCE, since=2))
    writer: str = field(default="", metadata=kind(_SENTENCE, since=2))
    writer_since: float = field(default=0.0, metadata=kind(_TIME, since=2))
    writing: bool = field(default=False, metadata=kind(Flag(), since=2))
    can_undo: bool = field(default=False, metadata=kind(Flag(), since=2))
    can_redo: bool = field(default=False, metadata=kind(Flag(), since=2))


@dataclass(frozen=True)
class FramesWanted(Reply):
    """Which offered frames are there already (``have``), and which files to send, from which byte on."""

    type_name: ClassVar[str] = "frames_wanted"
    have: tuple[int, ...] = field(metadata=kind(_FRAMES))
    send: tuple[WantedFile, ...] = field(metadata=kind(ListOf(RecordOf(WantedFile), MAX_OFFERED_FRAMES)))


@dataclass(frozen=True)
class FileStored(Reply):
    """An upload is complete, verified and on disk."""

    type_name: ClassVar[str] = "file_stored"
    sha256: str = field(metadata=kind(_SHA256))
    size: int = field(metadata=kind(_SIZE))


@dataclass(frozen=True)
class AnnotationStored(Reply):
    """The annotation (or its removal) is on disk, and this is the session's revision now."""

    type_name: ClassVar[str] = "annotation_stored"
    session_id: str = field(metadata=kind(_SESSION_ID))
    revision: int = field(metadata=kind(_REVISION))


@dataclass(frozen=True)
class AnnotationUndone(Reply):
    """What ``UndoAnnotation`` or ``RedoAnnotation`` has changed: ``now`` is what that frame and object have now."""

    type_name: ClassVar[str] = "annotation_undone"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    revision: int = field(metadata=kind(_REVISION))
    frame: int = field(metadata=kind(_FRAME))
    object_name: str = field(metadata=kind(_OBJECT))
    now: str = field(metadata=kind(_ANNOTATION_KIND))


@dataclass(frozen=True)
class AnnotationContent(Reply):
    """What is annotated of one object on one frame, as it was put; ``content`` says which, ``none`` if nothing is."""

    type_name: ClassVar[str] = "annotation_content"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    revision: int = field(metadata=kind(_REVISION))
    frame: int = field(metadata=kind(_FRAME))
    object_name: str = field(metadata=kind(_OBJECT))
    content: str = field(metadata=kind(_ANNOTATION_KIND))
    shapes: tuple[Shape, ...] = field(default=(), metadata=kind(Shapes(MAX_PART_BYTES)))
    alpha_sha256: str = field(default="", metadata=kind(_SHA256_OR_NONE))


@dataclass(frozen=True)
class ObjectsStored(Reply):
    """The session's objects now, and its revision; both are on disk."""

    type_name: ClassVar[str] = "objects_stored"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    revision: int = field(metadata=kind(_REVISION))
    objects: tuple[str, ...] = field(metadata=kind(_OBJECTS))


@dataclass(frozen=True)
class MattesVectorized(Reply):
    """The answer to ``VectorizeMattes``: outlines in the order in which they are painted; none where all is black."""

    type_name: ClassVar[str] = "mattes_vectorized"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    object_name: str = field(metadata=kind(_OBJECT))
    outlines: tuple[Outline, ...] = field(metadata=kind(Outlines(MAX_PART_BYTES, MAX_OUTLINES)))


@dataclass(frozen=True)
class FramePrompted(Reply):
    """The answer to ``PromptFrame``: an EXR file with the matte, and the network's score of it, 0 to 1."""

    type_name: ClassVar[str] = "frame_prompted"
    since: ClassVar[int] = 2
    session_id: str = field(metadata=kind(_SESSION_ID))
    frame: int = field(metadata=kind(_FRAME))
    object_name: str = field(metadata=kind(_OBJECT))
    score: float = field(metadata=kind(Number(0.0, 1.0)))
    payload: bytes = field(metadata=kind(Payload(MAX_PART_BYTES)))


@dataclass(frozen=True)
class SessionList(Reply):
    """One page of the store's sessions; ``more`` says that a next page exists."""

    type_name: ClassVar[str] = "session_list"
    since: ClassVar[int] = 2
    sessions: tuple[StoredSession, ...] = field(metadata=kind(ListOf(RecordOf(StoredSession), MAX_LISTED_SESSIONS)))
    more: bool = field(metadata=kind(Flag()))


@dataclass(frozen=True)
class StorePruned(Reply):
    """So many files were deleted (``RemoveSession`` and ``PruneStore``), and so many bytes are free again."""

    type_name: ClassVar[str] = "store_pruned"
    since: ClassVar[int] = 2
    files: int = field(metadata=kind(_COUNT))
    size: int = field(metadata=kind(_BYTES))


@dataclass(frozen=True)
class JobAccepted(Reply):
    """The job is on disk and queued; it runs with the annotations of ``revision``."""

    type_name: ClassVar[str] = "job_accepted"
    job_id: str = field(metadata=kind(_JOB_ID))
    revision: int = field(metadata=kind(_REVISION))


@dataclass(frozen=True)
class CancelAccepted(Reply):
    """The job stops soon; ``JobCancelled`` or whatever end came first follows."""

    type_name: ClassVar[str] = "cancel_accepted"
    job_id: str = field(metadata=kind(_JOB_ID))


@dataclass(frozen=True)
class JobResumed(Reply):
    """The missed events follow."""

    type_name: ClassVar[str] = "job_resumed"
    job_id: str = field(metadata=kind(_JOB_ID))
    state: str = field(metadata=kind(Choice("queued", "running", "finished", "failed", "cancelled")))


@dataclass(frozen=True)
class ErrorReply(Reply):
    """The request is refused; nothing of it was done. Its fields never change, whatever the protocol version."""

    type_name: ClassVar[str] = "error"
    code: str = field(metadata=kind(_CODE))
    message: str = field(metadata=kind(_SENTENCE))


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress(Event):
    """``done`` of ``total`` frames are made; ``phase`` is a word such as ``propagate``."""

    type_name: ClassVar[str] = "progress"
    job_id: str = field(metadata=kind(_JOB_ID))
    done: int = field(metadata=kind(_COUNT))
    total: int = field(metadata=kind(_COUNT))
    phase: str = field(metadata=kind(_SHORT))
    frames_per_second: float = field(metadata=kind(Number(0.0, 1e9)))


@dataclass(frozen=True)
class MatteReady(Event):
    """One matte is complete on the daemon's disk at ``path``; ``FetchMatte`` brings it here.

    Args:
        revision: which it is a matte of.
        made_revision: which it was made with; lower if later changes cannot have altered it.
        stale: the session has changed since so that this matte may be another one now.
        confidence: of the whole frame, 0 to 1.
        preview: made in haste and stale by itself; the same job makes this frame again, and tells that too.
    """

    type_name: ClassVar[str] = "matte_ready"
    job_id: str = field(metadata=kind(_JOB_ID))
    session_id: str = field(metadata=kind(_SESSION_ID))
    frame: int = field(metadata=kind(_FRAME))
    revision: int = field(metadata=kind(_REVISION))
    sha256: str = field(metadata=kind(_SHA256))
    size: int = field(metadata=kind(_SIZE))
    path: str = field(metadata=kind(_PATH))
    annotated: bool = field(metadata=kind(Flag()))
    engine: str = field(metadata=kind(_ENGINE))
    made_revision: int = field(default=0, metadata=kind(_REVISION, since=2))
    stale: bool = field(default=False, metadata=kind(Flag(), since=2))
    confidence: float = field(default=1.0, metadata=kind(Number(0.0, 1.0), since=2))
    preview: bool = field(default=False, metadata=kind(Flag(), since=2))


@dataclass(frozen=True)
class JobFinished(Event):
    """All frames are made. ``warnings`` are sentences, such as repaired NaN pixels; ``seconds`` is wall time."""

    type_name: ClassVar[str] = "job_finished"
    job_id: str = field(metadata=kind(_JOB_ID))
    frames: tuple[int, ...] = field(metadata=kind(_FRAMES))
    engine: str = field(metadata=kind(_ENGINE))
    weights_sha256: str = field(metadata=kind(_SHA256_OR_NONE))
    seconds: float = field(metadata=kind(Number(0.0, 1e9)))
    warnings: tuple[str, ...] = field(default=(), metadata=kind(ListOf(_SENTENCE, 16)))


@dataclass(frozen=True)
class FramesSuggested(Event):
    """The end of a ``SuggestFrames`` job: the frames worth annotating next, the best first."""

    type_name: ClassVar[str] = "frames_suggested"
    since: ClassVar[int] = 2
    job_id: str = field(metadata=kind(_JOB_ID))
    suggestions: tuple[SuggestedFrame, ...] = field(metadata=kind(ListOf(RecordOf(SuggestedFrame), 100)))


@dataclass(frozen=True)
class JobFailed(Event):
    """The job ended early; the mattes made so far are kept."""

    type_name: ClassVar[str] = "job_failed"
    job_id: str = field(metadata=kind(_JOB_ID))
    code: str = field(metadata=kind(_CODE))
    message: str = field(metadata=kind(_SENTENCE))


@dataclass(frozen=True)
class JobCancelled(Event):
    """The job stopped as asked, after ``done`` frames; their mattes are kept."""

    type_name: ClassVar[str] = "job_cancelled"
    job_id: str = field(metadata=kind(_JOB_ID))
    done: int = field(metadata=kind(_COUNT))


@dataclass(frozen=True)
class MatteList(Reply):
    """One page of a revision's mattes; ``more`` says that a next page exists."""

    type_name: ClassVar[str] = "matte_list"
    mattes: tuple[MatteReady, ...] = field(metadata=kind(ListOf(RecordOf(MatteReady), MAX_LISTED_MATTES)))
    more: bool = field(metadata=kind(Flag()))


JobEvent = Union[Progress, MatteReady, JobFinished, FramesSuggested, JobFailed, JobCancelled]
FINAL_EVENTS = (JobFinished, FramesSuggested, JobFailed, JobCancelled)

MESSAGE_TYPES: dict[str, type[Message]] = {
    cls.type_name: cls
    for cls in (
        *(Hello, Ping, OpenSession, OfferFrames, PutAnnotation, RemoveAnnotation, UndoAnnotation, RedoAnnotation),
        *(GetAnnotation, SetObjects, RenameObject, RemoveObject, TakeOver, Propagate, SuggestFrames, Cancel, ResumeJob),
        *(VectorizeMattes, MattesVectorized, ProposeMotion, PromptFrame, FramePrompted),
        *(ListMattes, FetchMatte, ListSessions, RemoveSession, PruneStore, Chunk, Credit, Introduce, Goodbye),
        *(Welcome, Pong, SessionState, FramesWanted, FileStored, AnnotationStored, AnnotationUndone, AnnotationContent),
        *(ObjectsStored, SessionList, StorePruned, JobAccepted, CancelAccepted, JobResumed, MatteList, ErrorReply),
        *(Progress, MatteReady, JobFinished, FramesSuggested, JobFailed, JobCancelled),
    )
}


def sentence(text: str) -> str:
    """Return ``text`` cut to what ``ErrorReply.message`` and its like hold."""
    return clip_text(text, SENTENCE_BYTES)


def _require_range(label: str, first: int, last: int) -> None:
    if last < first:
        raise InvalidValueError(f"{label}: the frame range {first}-{last} ends before it begins")


def _require_objects(session_id: str, objects: tuple[str, ...]) -> None:
    if not objects or len(set(objects)) != len(objects):
        raise InvalidValueError(
            "session {!r} needs at least one object, each named once; it has {}".format(
                session_id, ", ".join(objects) or "none"
            )
        )
