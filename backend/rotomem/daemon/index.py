"""The store's index: one SQLite file that says what the plain files beside it are.

Annotations are append-only: the state at revision r is each frame's and object's last row with a revision <= r, so that
a job can be repeated with exactly the annotations that it was accepted with.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rotomem.daemon.rows import (
    AnnotationRow,
    AnnotationStep,
    BlobRow,
    JobRow,
    MatteRow,
    ObjectIds,
    SessionRow,
    WriterRow,
    annotation_of,
    objects_of,
    plate_of,
    plate_text,
)
from rotomem.daemon.schema import SCHEMA_VERSION, make_tables, upgrade
from rotomem.errors import StoreError

_NEWEST = 2**31
_KEPT_REPLIES = 20_000


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
                    make_tables(self._db)
            elif version < SCHEMA_VERSION:
                with self.transaction():
                    upgrade(self._db, version)
        except sqlite3.Error as error:
            raise StoreError(
                f"the store's index {path} cannot be used: {error}; move the store away, or give another one"
            ) from error
        if version > SCHEMA_VERSION:
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
        found = self.sessions("id = ?", (session_id,))
        return found[0] if found else None

    def sessions_after(self, session_id: str, limit: int) -> list[SessionRow]:
        return self.sessions("id > ? ORDER BY id LIMIT ?", (session_id, limit))

    def sessions(self, condition: str, values: Sequence[Any]) -> list[SessionRow]:
        rows = self._db.execute(f"SELECT id, plate, objects, revision, used_at FROM sessions WHERE {condition}", values)
        return [SessionRow(row[0], plate_of(row[1]), objects_of(row[2]), *row[3:]) for row in rows]

    def put_session(self, session: SessionRow) -> None:
        """Store a session, and its objects as those from its revision on."""
        objects = json.dumps(session.object_ids)
        self._db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET plate = excluded.plate, "
            "objects = excluded.objects, revision = excluded.revision, used_at = excluded.used_at",
            (session.id, plate_text(session.plate), objects, session.revision, time.time()),
        )
        self._db.execute(
            "INSERT OR REPLACE INTO object_lists VALUES (?, ?, ?)", (session.id, session.revision, objects)
        )

    def object_lists(self, session_id: str) -> list[ObjectIds]:
        """Return all lists of objects that a session has had, the newest first."""
        rows = self._db.execute(
            "SELECT objects FROM object_lists WHERE session = ? ORDER BY revision DESC", (session_id,)
        )
        return [objects_of(row[0]) for row in rows]

    def objects_at(self, session_id: str, revision: int) -> ObjectIds:
        row = self._db.execute(
            "SELECT objects FROM object_lists WHERE session = ? AND revision <= ? ORDER BY revision DESC LIMIT 1",
            (session_id, revision),
        ).fetchone()
        return () if row is None else objects_of(row[0])

    def bump_revision(self, session_id: str) -> int:
        """Return the session's new revision."""
        self._db.execute(
            "UPDATE sessions SET revision = revision + 1, used_at = ? WHERE id = ?", (time.time(), session_id)
        )
        row = self._db.execute("SELECT revision FROM sessions WHERE id = ?", (session_id,)).fetchone()
        return int(row[0])

    def note_plate_change(self, session_id: str, revision: int) -> None:
        """Mattes made before ``revision`` are of another plate."""
        self._db.execute("INSERT OR REPLACE INTO plate_changes VALUES (?, ?)", (session_id, revision))

    def last_plate_change(self, session_id: str) -> int:
        """Return the revision of the plate's last change; 0 if it never changed."""
        row = self._db.execute("SELECT max(revision) FROM plate_changes WHERE session = ?", (session_id,)).fetchone()
        return row[0] or 0

    def plate_stamps(self, session_id: str) -> dict[int, str]:
        """Return frame to what its file on shared storage was like when a job last read it."""
        rows = self._db.execute("SELECT frame, stamp FROM plate_stamps WHERE session = ?", (session_id,))
        return {frame: stamp for frame, stamp in rows}

    def put_plate_stamps(self, session_id: str, stamps: Mapping[int, str]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO plate_stamps VALUES (?, ?, ?)",
            [(session_id, frame, stamp) for frame, stamp in stamps.items()],
        )

    def drop_session(self, session_id: str) -> None:
        """Forget all that is known of a session, its files aside."""
        self._db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        tables = ("object_lists", "plate_changes", "plate_stamps", "writers", "annotations", "frames", "mattes", "jobs")
        for table in tables:
            self._db.execute(f"DELETE FROM {table} WHERE session = ?", (session_id,))

    def writer(self, session_id: str) -> WriterRow | None:
        row = self._db.execute(
            "SELECT client_id, user, since, used_at FROM writers WHERE session = ?", (session_id,)
        ).fetchone()
        return None if row is None else WriterRow(*row)

    def put_writer(self, session_id: str, writer: WriterRow) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO writers VALUES (?, ?, ?, ?, ?)",
            (session_id, writer.client_id, writer.user, writer.since, writer.used_at),
        )

    def drop_writer(self, client_id: str) -> None:
        """This client writes no session any more."""
        self._db.execute("DELETE FROM writers WHERE client_id = ?", (client_id,))

    def annotations(self, session_id: str, revision: int) -> list[AnnotationRow]:
        """Return the annotations as of a revision, by frame and object."""
        rows = self._db.execute(
            "SELECT frame, object, kind, content FROM annotations AS a WHERE session = ?1 AND revision <= ?2 AND "
            "revision = (SELECT max(revision) FROM annotations AS b WHERE b.session = ?1 AND b.revision <= ?2 AND "
            "b.frame = a.frame AND b.object = a.object) AND kind != 'removed' ORDER BY frame, object",
            (session_id, revision),
        )
        return [annotation_of(*row) for row in rows]

    def annotation(self, session_id: str, frame: int, object_id: str, revision: int = _NEWEST) -> AnnotationRow | None:
        """Return what one object had on one frame at a revision."""
        row = self._db.execute(
            "SELECT frame, object, kind, content FROM annotations WHERE session = ? AND frame = ? AND object = ? AND "
            "revision <= ? ORDER BY revision DESC LIMIT 1",
            (session_id, frame, object_id, revision),
        ).fetchone()
        return None if row is None or row[2] == "removed" else annotation_of(*row)

    def annotation_changed_at(self, session_id: str, frame: int, object_id: str) -> int:
        """Return the revision of the last change of one object on one frame; 0 if there was none."""
        row = self._db.execute(
            "SELECT max(revision) FROM annotations WHERE session = ? AND frame = ? AND object = ?",
            (session_id, frame, object_id),
        ).fetchone()
        return row[0] or 0

    def annotation_steps(self, session_id: str) -> list[AnnotationStep]:
        """Return a session's changes, undos and redos in their order."""
        rows = self._db.execute(
            "SELECT revision, frame, object, step, of FROM annotations WHERE session = ? ORDER BY revision",
            (session_id,),
        )
        return [AnnotationStep(*row) for row in rows]

    def add_annotation(self, session_id: str, row: AnnotationRow, *, step: str = "change", of: int = 0) -> int:
        """Append an annotation (``kind`` may be ``removed``); return the new revision, which a change is ``of``."""
        revision = self.bump_revision(session_id)
        self._db.execute(
            "INSERT INTO annotations VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*(session_id, revision, row.frame, row.object_id, row.kind, row.content()), step, of or revision),
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

    def unused_blobs(self) -> list[BlobRow]:
        """Return the files that are neither a frame's content nor an annotation's alpha."""
        rows = self._db.execute(
            "SELECT sha256, size, suffix FROM blobs WHERE sha256 NOT IN (SELECT sha256 FROM frames) AND "
            "sha256 NOT IN (SELECT content FROM annotations WHERE kind = 'alpha')"
        )
        return [BlobRow(*row) for row in rows]

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
            "INSERT OR REPLACE INTO mattes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(matte.session, matte.revision, matte.frame, matte.job, matte.sha256, matte.size, matte.path),
                *(int(matte.annotated), matte.engine, matte.made_revision, matte.confidence, matte.weights_sha256),
                int(matte.preview),
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
        """Return each frame's newest finished matte: at most ``limit`` of frames above ``after``, ascending."""
        return self._mattes(
            "session = ?1 AND revision = ?2 AND frame > ?3 AND rowid = (SELECT max(rowid) FROM mattes AS other WHERE "
            "other.session = ?1 AND other.revision = ?2 AND other.frame = mattes.frame AND NOT other.preview) "
            "ORDER BY frame LIMIT ?4",
            (session_id, revision, after, limit),
        )

    def mattes_of_job(self, job_id: str) -> list[MatteRow]:
        return self._mattes("job = ? ORDER BY frame", (job_id,))

    def all_mattes(self, session_id: str = "") -> list[MatteRow]:
        """Return all mattes, or all of one session, in the order in which they came."""
        if session_id:
            return self._mattes("session = ? ORDER BY rowid", (session_id,))
        return self._mattes("true ORDER BY rowid", ())

    def newest_mattes(self, session_id: str) -> list[MatteRow]:
        """Return each frame's newest finished matte of the newest revision that has any, ascending."""
        row = self._db.execute(
            "SELECT max(revision) FROM mattes WHERE session = ? AND NOT preview", (session_id,)
        ).fetchone()
        return [] if row[0] is None else self.mattes(session_id, row[0], after=-(2**31), limit=-1)

    def bytes_of_mattes(self) -> int:
        """Return the bytes of all mattes; files with several names are counted as often."""
        row = self._db.execute("SELECT coalesce(sum(size), 0) FROM mattes").fetchone()
        return int(row[0])

    def shown_mattes(
        self,
        session_id: str,
        revision: int = _NEWEST,
        *,
        after: int = -_NEWEST,
        limit: int = -1,
        previews: bool = True,
    ) -> list[MatteRow]:
        """Return each frame's newest matte of whatever revision up to ``revision``; otherwise as ``mattes``.

        Args:
            previews: False leaves them out, and so returns what lies under them.
        """
        frames = (
            "SELECT DISTINCT frame FROM mattes WHERE session = ?1 AND frame > ?3 AND revision <= ?2 AND preview <= ?5"
        )
        newest = (
            "SELECT rowid FROM mattes AS other WHERE other.session = ?1 AND other.frame = shown.frame AND "
            "other.revision <= ?2 AND other.preview <= ?5 ORDER BY revision DESC, rowid DESC LIMIT 1"
        )
        return self._mattes(
            f"rowid IN (SELECT ({newest}) FROM ({frames} ORDER BY frame LIMIT ?4) AS shown) ORDER BY frame",
            (session_id, revision, after, limit, int(previews)),
        )

    def _mattes(self, condition: str, values: Sequence[Any]) -> list[MatteRow]:
        rows = self._db.execute(
            "SELECT session, revision, frame, job, sha256, size, path, annotated, engine, made_revision, confidence, "
            f"weights_sha256, preview FROM mattes WHERE {condition}",
            values,
        )
        return [replace(MatteRow(*row), annotated=bool(row[7]), preview=bool(row[12])) for row in rows]

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def put_job(self, job: JobRow) -> None:
        self._db.execute(
            "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(job.id, job.session, job.revision, plate_text(job.plate), json.dumps(job.object_ids)),
                *(json.dumps(job.request), job.state, job.attempts, job.final, job.kind),
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
            "SELECT id, session, revision, plate, objects, request, state, attempts, final, kind FROM jobs "
            f"WHERE {condition}",
            values,
        )
        return [
            JobRow(id_, session, revision, plate_of(plate), objects_of(objects), json.loads(request), *rest)
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
