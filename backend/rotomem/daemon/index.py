"""The store's index: one SQLite file that says what the plain files beside it are.

Annotations are append-only: the state at revision r is each frame's and object's last row with a revision <= r, so that
a job can be repeated with exactly the annotations that it was accepted with.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rotomem.errors import StoreError
from rotomem_client.messages import Plate
from rotomem_client.shapes import Shape, shape_from_plain, shape_to_plain

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, plate TEXT NOT NULL, objects TEXT NOT NULL, revision INTEGER NOT NULL
);
CREATE TABLE annotations (
    session TEXT NOT NULL, revision INTEGER NOT NULL, frame INTEGER NOT NULL, object TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('shapes', 'alpha', 'absent', 'removed')), content TEXT NOT NULL,
    PRIMARY KEY (session, revision)
);
CREATE INDEX annotations_by_frame ON annotations (session, frame, object, revision);
CREATE TABLE blobs (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, suffix TEXT NOT NULL);
CREATE TABLE frames (
    session TEXT NOT NULL, frame INTEGER NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (session, frame)
);
CREATE TABLE mattes (
    session TEXT NOT NULL, revision INTEGER NOT NULL, frame INTEGER NOT NULL, job TEXT NOT NULL,
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, path TEXT NOT NULL, annotated INTEGER NOT NULL, engine TEXT NOT NULL,
    PRIMARY KEY (session, revision, frame, job)
);
CREATE INDEX mattes_by_job ON mattes (job);
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, session TEXT NOT NULL, revision INTEGER NOT NULL, plate TEXT NOT NULL, objects TEXT NOT NULL,
    request TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, final BLOB
);
CREATE TABLE replies (
    number INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,
    header BLOB NOT NULL
);
"""
_KEPT_REPLIES = 20_000


@dataclass(frozen=True)
class SessionRow:
    id: str
    plate: Plate
    objects: tuple[str, ...]
    revision: int


@dataclass(frozen=True)
class AnnotationRow:
    """``kind`` is ``shapes``, ``alpha`` (``alpha_sha256`` names the blob) or ``absent``."""

    frame: int
    object_name: str
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
class MatteRow:
    session: str
    revision: int
    frame: int
    job: str
    sha256: str
    size: int
    path: str
    annotated: bool
    engine: str


@dataclass(frozen=True)
class JobRow:
    """``request`` holds ``Propagate``'s fields; ``final`` is the header of the event that ended the job, or empty.

    ``state`` is ``queued``, ``running`` or ``cancelling`` (asked to stop, not ended yet), then ``finished``, ``failed``
    or ``cancelled``.
    """

    id: str
    session: str
    revision: int
    plate: Plate
    objects: tuple[str, ...]
    request: dict[str, Any]
    state: str
    attempts: int
    final: bytes


class Index:
    """SQLite with WAL and full syncs: what is committed survives a kill and, as far as the disk obeys, a power cut.

    One thread uses it at a time.

    Raises:
        StoreError: the file is no index, is damaged, or belongs to another version.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                with self.transaction():
                    for statement in _SCHEMA.split(";"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except sqlite3.Error as error:
            raise StoreError(
                f"the store's index {path} cannot be used: {error}; move the store away, or give another one"
            ) from error
        if version not in (0, SCHEMA_VERSION):
            self._db.close()
            raise StoreError(
                f"the store's index {path} has version {version}, this daemon knows {SCHEMA_VERSION}: "
                "update the daemon, or give it another store"
            )

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; committed, and on disk, when it ends without an error. May be nested."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- sessions and annotations -------------------------------------------------------------------------------------

    def session(self, session_id: str) -> SessionRow | None:
        row = self._db.execute("SELECT plate, objects, revision FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return None if row is None else SessionRow(session_id, _plate(row[0]), tuple(json.loads(row[1])), row[2])

    def put_session(self, session: SessionRow) -> None:
        self._db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "plate = excluded.plate, objects = excluded.objects, revision = excluded.revision",
            (session.id, _plate_text(session.plate), json.dumps(session.objects), session.revision),
        )

    def bump_revision(self, session_id: str) -> int:
        """Return the session's new revision."""
        self._db.execute("UPDATE sessions SET revision = revision + 1 WHERE id = ?", (session_id,))
        row = self._db.execute("SELECT revision FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return int(row[0])

    def annotations(self, session_id: str, revision: int) -> list[AnnotationRow]:
        """Return the annotations as of a revision, by frame and object."""
        rows = self._db.execute(
            "SELECT frame, object, kind, content FROM annotations AS a WHERE session = ?1 AND revision <= ?2 AND "
            "revision = (SELECT max(revision) FROM annotations AS b WHERE b.session = ?1 AND b.revision <= ?2 AND "
            "b.frame = a.frame AND b.object = a.object) AND kind != 'removed' ORDER BY frame, object",
            (session_id, revision),
        )
        return [_annotation(*row) for row in rows]

    def annotation(self, session_id: str, frame: int, object_name: str) -> AnnotationRow | None:
        """Return the present annotation of one object on one frame."""
        row = self._db.execute(
            "SELECT frame, object, kind, content FROM annotations WHERE session = ? AND frame = ? AND object = ? "
            "ORDER BY revision DESC LIMIT 1",
            (session_id, frame, object_name),
        ).fetchone()
        return None if row is None or row[2] == "removed" else _annotation(*row)

    def add_annotation(self, session_id: str, row: AnnotationRow) -> int:
        """Append an annotation (``kind`` may be ``removed``); return the new revision."""
        revision = self.bump_revision(session_id)
        self._db.execute(
            "INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?)",
            (session_id, revision, row.frame, row.object_name, row.kind, row.content()),
        )
        return revision

    # --- blobs and frames ---------------------------------------------------------------------------------------------

    def blob(self, sha256: str) -> BlobRow | None:
        row = self._db.execute("SELECT sha256, size, suffix FROM blobs WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else BlobRow(*row)

    def blobs(self) -> list[BlobRow]:
        return [BlobRow(*row) for row in self._db.execute("SELECT sha256, size, suffix FROM blobs")]

    def put_blob(self, blob: BlobRow) -> None:
        self._db.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", (blob.sha256, blob.size, blob.suffix))

    def drop_blob(self, sha256: str) -> None:
        self._db.execute("DELETE FROM blobs WHERE sha256 = ?", (sha256,))

    def frame_hashes(self, session_id: str) -> dict[int, str]:
        """Return frame to SHA-256 of what was offered for it, complete or not."""
        rows = self._db.execute("SELECT frame, sha256 FROM frames WHERE session = ?", (session_id,))
        return {frame: sha256 for frame, sha256 in rows}

    def put_frame(self, session_id: str, frame: int, sha256: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO frames VALUES (?, ?, ?)", (session_id, frame, sha256))

    def frame_blobs(self, session_id: str) -> dict[int, BlobRow]:
        """Return the frames whose content is complete."""
        rows = self._db.execute(
            "SELECT frame, blobs.sha256, size, suffix FROM frames JOIN blobs USING (sha256) WHERE session = ? "
            "ORDER BY frame",
            (session_id,),
        )
        return {row[0]: BlobRow(*row[1:]) for row in rows}

    # --- mattes -------------------------------------------------------------------------------------------------------

    def put_matte(self, matte: MatteRow) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO mattes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(matte.session, matte.revision, matte.frame, matte.job, matte.sha256, matte.size, matte.path),
                *(int(matte.annotated), matte.engine),
            ),
        )

    def drop_matte(self, matte: MatteRow) -> None:
        self._db.execute(
            "DELETE FROM mattes WHERE session = ? AND revision = ? AND frame = ? AND job = ?",
            (matte.session, matte.revision, matte.frame, matte.job),
        )

    def mattes_of_frame(self, session_id: str, revision: int, frame: int) -> list[MatteRow]:
        """Return what each job made of one frame, the newest first."""
        return self._mattes(
            "session = ? AND revision = ? AND frame = ? ORDER BY rowid DESC", (session_id, revision, frame)
        )

    def mattes(self, session_id: str, revision: int, after: int, limit: int) -> list[MatteRow]:
        """Return each frame's newest matte: at most ``limit`` of frames above ``after``, ascending."""
        return self._mattes(
            "session = ?1 AND revision = ?2 AND frame > ?3 AND rowid = (SELECT max(rowid) FROM mattes AS other WHERE "
            "other.session = ?1 AND other.revision = ?2 AND other.frame = mattes.frame) ORDER BY frame LIMIT ?4",
            (session_id, revision, after, limit),
        )

    def mattes_of_job(self, job_id: str) -> list[MatteRow]:
        return self._mattes("job = ? ORDER BY frame", (job_id,))

    def all_mattes(self) -> list[MatteRow]:
        return self._mattes("true", ())

    def newest_mattes(self, session_id: str) -> list[MatteRow]:
        """Return each frame's newest matte of the newest revision that has any, ascending."""
        row = self._db.execute("SELECT max(revision) FROM mattes WHERE session = ?", (session_id,)).fetchone()
        return [] if row[0] is None else self.mattes(session_id, row[0], after=-(2**31), limit=-1)

    def _mattes(self, condition: str, values: Sequence[Any]) -> list[MatteRow]:
        rows = self._db.execute(
            "SELECT session, revision, frame, job, sha256, size, path, annotated, engine FROM mattes "
            f"WHERE {condition}",
            values,
        )
        return [
            MatteRow(session, revision, frame, job, sha256, size, path, bool(annotated), engine)
            for session, revision, frame, job, sha256, size, path, annotated, engine in rows
        ]

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def put_job(self, job: JobRow) -> None:
        self._db.execute(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(job.id, job.session, job.revision, _plate_text(job.plate), json.dumps(job.objects)),
                *(json.dumps(job.request), job.state, job.attempts, job.final),
            ),
        )

    def job(self, job_id: str) -> JobRow | None:
        found = self._jobs("id = ?", (job_id,))
        return found[0] if found else None

    def open_jobs(self) -> list[JobRow]:
        """Return the jobs without an end, in the order of their acceptance."""
        return self._jobs("state IN ('queued', 'running', 'cancelling') ORDER BY rowid", ())

    def set_job(self, job_id: str, *, state: str, attempts: int, final: bytes = b"") -> None:
        self._db.execute(
            "UPDATE jobs SET state = ?, attempts = ?, final = ? WHERE id = ?", (state, attempts, final, job_id)
        )

    def _jobs(self, condition: str, values: Sequence[Any]) -> list[JobRow]:
        rows = self._db.execute(
            "SELECT id, session, revision, plate, objects, request, state, attempts, final FROM jobs "
            f"WHERE {condition}",
            values,
        )
        return [
            JobRow(id_, session, revision, _plate(plate), tuple(json.loads(objects)), json.loads(request), *rest)
            for id_, session, revision, plate, objects, request, *rest in rows
        ]

    # --- replies ------------------------------------------------------------------------------------------------------

    def reply(self, request_id: str) -> tuple[str, bytes] | None:
        """Return the digest of an answered request and the header of its reply."""
        row = self._db.execute("SELECT digest, header FROM replies WHERE request_id = ?", (request_id,)).fetchone()
        return None if row is None else (row[0], row[1])

    def put_reply(self, request_id: str, digest: str, header: bytes) -> None:
        self._db.execute(
            "INSERT INTO replies (request_id, digest, header) VALUES (?, ?, ?)", (request_id, digest, header)
        )
        self._db.execute("DELETE FROM replies WHERE number <= (SELECT max(number) FROM replies) - ?", (_KEPT_REPLIES,))


def _plate_text(plate: Plate) -> str:
    return json.dumps(asdict(plate))


def _plate(text: str) -> Plate:
    return Plate(**json.loads(text))


def _annotation(frame: int, object_name: str, kind: str, content: str) -> AnnotationRow:
    if kind == "shapes":
        shapes = tuple(shape_from_plain(plain) for plain in json.loads(content))
        return AnnotationRow(frame, object_name, kind, shapes=shapes)
    return AnnotationRow(frame, object_name, kind, alpha_sha256=content if kind == "alpha" else "")
