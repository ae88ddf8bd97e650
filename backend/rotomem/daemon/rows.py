"""The rows of the store's index, and their text in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from rotomem_client.messages import Plate
from rotomem_client.shapes import Shape, shape_from_plain, shape_to_plain

ObjectIds = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SessionRow:
    """``object_ids`` are (identifier, name): an object keeps its identifier, whatever its name."""

    id: str
    plate: Plate
    object_ids: ObjectIds
    revision: int
    used_at: float = 0.0

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.object_ids)


@dataclass(frozen=True)
class AnnotationRow:
    """``kind`` is ``shapes``, ``alpha`` (``alpha_sha256`` names the blob), ``absent`` or ``removed``.

    ``object_id`` is the object's identifier, which a new name does not change.
    """

    frame: int
    object_id: str
    kind: str
    shapes: tuple[Shape, ...] = ()
    alpha_sha256: str = ""

    def content(self) -> str:
        if self.kind == "shapes":
            return json.dumps([shape_to_plain(shape) for shape in self.shapes])
        return self.alpha_sha256


@dataclass(frozen=True)
class BlobRow:
    sha256: str
    size: int
    suffix: str


@dataclass(frozen=True)
class AnnotationStep:
    """One entry of a session's history: a change, or the undo or redo ``of`` the change of that revision."""

    revision: int
    frame: int
    object_id: str
    step: str
    of: int


@dataclass(frozen=True)
class WriterRow:
    """Who writes a session; times are seconds since 1970."""

    client_id: str
    user: str
    since: float
    used_at: float


@dataclass(frozen=True)
class MatteRow:
    """A ``preview`` is shown until its job has made the frame; it is never current."""

    session: str
    revision: int
    frame: int
    job: str
    sha256: str
    size: int
    path: str
    annotated: bool
    engine: str
    made_revision: int
    confidence: float = 1.0
    weights_sha256: str = ""
    preview: bool = False


@dataclass(frozen=True)
class JobRow:
    """``request`` holds the fields of the message that ``kind`` names (``propagate``, ``motion``
    or ``suggest``).

    ``final`` is the header of the event that ended the job, or empty. ``state`` is ``queued``, ``running`` or
    ``cancelling`` (asked to stop, not ended yet), then ``finished``, ``failed`` or ``cancelled``.
    """

    id: str
    session: str
    revision: int
    plate: Plate
    object_ids: ObjectIds
    request: dict[str, Any]
    state: str
    attempts: int
    final: bytes
    kind: str = "propagate"

    @property
    def objects(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.object_ids)

    @property
    def as_session(self) -> SessionRow:
        """The session as it was when this job was accepted."""
        return SessionRow(self.session, self.plate, self.object_ids, self.revision)


def plate_text(plate: Plate) -> str:
    return json.dumps(asdict(plate))


def plate_of(text: str) -> Plate:
    return Plate(**json.loads(text))


def objects_of(text: str) -> ObjectIds:
    return tuple((identifier, name) for identifier, name in json.loads(text))


def annotation_of(frame: int, object_id: str, kind: str, content: str) -> AnnotationRow:
    if kind == "shapes":
        shapes = tuple(shape_from_plain(plain) for plain in json.loads(content))
        return AnnotationRow(frame, object_id, kind, shapes=shapes)
    return AnnotationRow(frame, object_id, kind, alpha_sha256=content if kind == "alpha" else "")
