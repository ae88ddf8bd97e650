"""The daemon's store: plain files that a TD can look at, and one index that says what they are.

::

    <store>/lock                                   the process id of the daemon that owns it
    <store>/index.sqlite                           sessions, annotations, jobs, and what the files below are
    <store>/blobs/ab/ab12….exr                     streamed frames and alphas, named by their SHA-256
    <store>/incoming/ab12….part                    uploads that are not complete; the next one goes on from there
    <store>/sessions/<id>/mattes/r7/<job>-1/matte.1001.exr

Mattes lie in one folder per run of a job, by revision, so none ever takes another's place: what was told of stays.
Everything is acknowledged only after: write beside, sync, rename, sync the folder, commit. So whatever was
acknowledged survives a kill at any moment.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rotomem.daemon.edits import Edits
from rotomem.daemon.index import Index
from rotomem.daemon.lock import StoreLock
from rotomem.daemon.refusals import MatteGoneError, UnknownSessionError
from rotomem.daemon.rows import BlobRow, JobRow, MatteRow, SessionRow
from rotomem.daemon.uploads import Act, Uploads, store_error
from rotomem.errors import AnnotationError, StoreError
from rotomem_client.messages import OfferFrames, OpenSession, PutAnnotation, RemoveAnnotation
from rotomem_client.transfer import sync_folder

log = logging.getLogger(__name__)

MAX_ROOT_BYTES = 800
MATTE_NAME = "matte.%04d.exr"
FEATURES = "features"
"""Folder of a session's encoded frames."""


class Store:
    """Sessions, annotations, frames and mattes on disk. One thread uses it at a time.

    Args:
        root: made if it is not there; a local disk (SQLite's WAL does not work over NFS).
        act: queues an action for the thread that uses the store; see ``Uploads``.

    Raises:
        StoreError: the folder cannot be written, or another daemon has it.
    """

    def __init__(self, root: Path, *, act: Act | None = None) -> None:
        self.root = root.resolve()
        _require_sendable(self.root)
        self._incoming = self.root / "incoming"
        try:
            for folder in (self.root / "blobs", self._incoming, self.root / "sessions"):
                folder.mkdir(parents=True, exist_ok=True)
            self._lock = StoreLock(self.root / "lock")
        except OSError as error:
            raise StoreError(f"the store {root} cannot be written: {error.strerror}; choose another folder") from error
        try:
            self.index = Index(self.root / "index.sqlite")
            self.edits = Edits(self.index)
            self.uploads = Uploads(self.root, self._incoming, self.index, self.blob_path, act)
            self._sweep()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Release everything; what is on disk stays as it is."""
        self.uploads.close()
        self.index.close()
        self._lock.release()

    def _sweep(self) -> None:
        """Forget rows whose file is gone, and remove what a killed writer left under a temporary name."""
        with self.index.transaction():
            for blob in self.index.blobs():
                if _size(self.blob_path(blob)) != blob.size:
                    log.warning("frame file %s is gone or cut; it will be asked for again", self.blob_path(blob))
                    self.index.drop_blob(blob.sha256)
            for matte in self.index.all_mattes():
                if _size(Path(matte.path)) != matte.size:
                    log.warning("matte %s is gone or cut; propagate frame %d again", matte.path, matte.frame)
                    self.index.drop_matte(matte)
        for left in (self.root / "sessions").glob("*/mattes/r*/*/*"):
            if left.name.startswith(".") or left.suffix in (".tmp", ".part"):
                left.unlink(missing_ok=True)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with self.index.transaction():
            yield

    # --- sessions and annotations -------------------------------------------------------------------------------------

    def session(self, session_id: str) -> SessionRow:
        """Return a session; raises ``UnknownSessionError``."""
        session = self.index.session(session_id)
        if session is None:
            raise UnknownSessionError(f"there is no session {session_id!r} in this store; open it first")
        return session

    def open_session(self, request: OpenSession) -> SessionRow:
        """Make a session, or give an existing one this plate and these objects.

        What changes the mattes (another plate, other objects) makes a new revision; another frame range does not.
        """
        with self.transaction():
            found = self.index.session(request.session_id)
            if found is None:
                objects = tuple((name, name) for name in request.objects)
                self.index.put_session(SessionRow(request.session_id, request.plate, objects, 0))
            elif self.would_change(found, request):
                range_only = replace(found.plate, first=request.plate.first, last=request.plate.last) == request.plate
                objects = self.edits.identify(found, request.objects)
                revision = found.revision + (not range_only or found.object_ids != objects)
                self.index.put_session(SessionRow(found.id, request.plate, objects, revision))
                if not range_only:
                    self.index.note_plate_change(found.id, revision)
        return self.session(request.session_id)

    def would_change(self, session: SessionRow, request: OpenSession) -> bool:
        """Whether opening a session so would change it."""
        return (session.plate, session.objects) != (request.plate, request.objects)

    def put_annotation(self, request: PutAnnotation) -> int:
        """Store an annotation; return the session's revision; raises like ``Edits.put_annotation``."""
        with self.transaction():
            return self.edits.put_annotation(self.session(request.session_id), request)

    def remove_annotation(self, request: RemoveAnnotation) -> int:
        """Forget an annotation; return the session's revision."""
        with self.transaction():
            return self.edits.remove_annotation(self.session(request.session_id), request)

    # --- uploads ------------------------------------------------------------------------------------------------------

    def blob_path(self, blob: BlobRow) -> Path:
        return self.root / "blobs" / blob.sha256[:2] / (blob.sha256 + blob.suffix)

    def rebinds_frames(self, request: OfferFrames) -> bool:
        """Whether an offer would give a frame of the plate other content than it has."""
        known = self.index.frame_hashes(request.session_id)
        return any(known.get(offer.frame, offer.sha256) != offer.sha256 for offer in request.frames)

    def bind_frames(self, request: OfferFrames) -> None:
        """Note which content each plate frame has. Other content than before makes a new revision."""
        session = self.session(request.session_id)
        with self.transaction():
            changed = self.rebinds_frames(request)
            for offer in request.frames:
                self.index.put_frame(session.id, offer.frame, offer.sha256)
            if changed:
                self.index.note_plate_change(session.id, self.index.bump_revision(session.id))

    # --- mattes -------------------------------------------------------------------------------------------------------

    def new_matte_pattern(self, session_id: str, revision: int, job_id: str) -> str:
        """Return where one run of a job writes its mattes: in a folder made for it, so that it replaces none.

        Raises:
            DiskFullError, StoreError: from the file system.
        """
        revision_folder = self.root / "sessions" / session_id / "mattes" / f"r{revision}"
        try:
            revision_folder.mkdir(parents=True, exist_ok=True)
            runs = [int(path.name.rpartition("-")[2]) for path in revision_folder.glob(f"{job_id}-*")]
            folder = revision_folder / f"{job_id}-{max(runs, default=0) + 1}"
            folder.mkdir()
        except OSError as error:
            raise store_error(error, self.root) from error
        return str(folder / MATTE_NAME)

    def keep_mattes(self, mattes: Iterable[MatteRow], job: JobRow, pattern: str) -> list[MatteRow]:
        """Give mattes that a job need not make a second name among its own; return those for which that was possible.

        The files are the same, so that nothing is copied, and each lives as long as one of its names. Call it within
        a transaction.
        """
        kept: list[MatteRow] = []
        for matte in mattes:
            path = Path(pattern % matte.frame)
            try:
                os.link(matte.path, path)
            except OSError as error:
                # A file system without links, or a file that somebody removed: it is made again.
                log.info("matte %s is not kept: %s", matte.path, error)
                continue
            kept.append(replace(matte, revision=job.revision, job=job.id, path=str(path)))
        try:
            sync_folder(Path(pattern).parent)
        except OSError as error:
            raise store_error(error, self.root) from error
        for matte in kept:
            self.index.put_matte(matte)
        return kept

    def matte(self, session_id: str, revision: int, frame: int, sha256: str) -> MatteRow:
        """Return one matte; raises ``MatteGoneError`` if it is not there, or is another than ``sha256``."""
        self.session(session_id)
        there = [
            matte
            for matte in self.index.mattes_of_frame(session_id, revision, frame)
            if _size(Path(matte.path)) == matte.size
        ]
        if not there:
            raise MatteGoneError(f"there is no matte of frame {frame} in revision {revision}; propagate it again")
        for matte in there:
            if matte.sha256 == sha256:
                return matte
        raise MatteGoneError(
            f"the matte of frame {frame} in revision {revision} was made anew meanwhile; list the mattes again"
        )

    def plate_files(self, session_id: str) -> dict[int, Path]:
        """Return the streamed frames that are complete."""
        return {frame: self.blob_path(blob) for frame, blob in self.index.frame_blobs(session_id).items()}

    def alpha_path(self, sha256: str) -> Path:
        """Return an uploaded alpha's file; raises ``AnnotationError`` if it is gone."""
        blob = self.index.blob(sha256)
        if blob is None:
            raise AnnotationError("the alpha of an annotation is gone from the store; put the annotation again")
        return self.blob_path(blob)


def _require_sendable(root: Path) -> None:
    """Paths of mattes are told to clients, so they must fit into a message."""
    try:
        size = len(str(root).encode("utf-8"))
    except UnicodeEncodeError:
        raise StoreError(f"the store's path {str(root)!r} is not valid Unicode; choose another folder") from None
    if size > MAX_ROOT_BYTES:
        raise StoreError(f"the store's path has {size} bytes, at most {MAX_ROOT_BYTES} are allowed: {root}")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be looked at: %s", path, error)
        return None
