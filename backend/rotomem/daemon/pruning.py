"""What the store forgets: superseded mattes, encoded frames long unused, and sessions that nobody needs."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from rotomem.daemon.refusals import BusySessionError
from rotomem.daemon.rows import BlobRow, MatteRow
from rotomem.daemon.store import FEATURES, Store

log = logging.getLogger(__name__)

UNNAMED_UPLOAD_S = 3600.0
"""A file that arrived within this time, and that nothing names, may be about to be named."""


class Pruner:
    """Deletes files of the store, each after the index has forgotten it: what the index promises is there.

    Args:
        keep_bytes: what all mattes may have on disk; None prunes only when asked.
        keep_feature_bytes: what the encoded frames of all sessions may have; None leaves each session its own bound.
    """

    def __init__(self, store: Store, keep_bytes: int | None = None, *, keep_feature_bytes: int | None = None) -> None:
        self._store = store
        self._keep_bytes = keep_bytes
        self._keep_feature_bytes = keep_feature_bytes

    def keep_bound(self) -> None:
        """Prune to the settings; call it when mattes may have been superseded and frames encoded."""
        if self._keep_bytes is not None:
            self.prune(self._keep_bytes)
        if self._keep_feature_bytes is not None:
            self._prune_features(self._keep_feature_bytes)

    def prune(self, keep_bytes: int) -> tuple[int, int]:
        """Delete superseded mattes, the oldest first, until all mattes have at most ``keep_bytes``.

        Kept, whatever the bound: the newest matte of each frame, under a preview too, and those of jobs that have not
        ended.

        Returns:
            The files deleted and the bytes that are free again.
        """
        index = self._store.index
        if index.bytes_of_mattes() <= keep_bytes:
            return 0, 0
        rows = index.all_mattes()
        excess = _size_on_disk(rows) - keep_bytes
        if excess <= 0:
            return 0, 0
        open_jobs = {job.id for job in index.open_jobs()}
        shown = {
            (row.session, row.revision, row.frame, row.job)
            for session in {row.session for row in rows}
            for previews in (True, False)  # a preview supersedes nothing
            for row in index.shown_mattes(session, previews=previews)
        }
        superseded = [
            row
            for row in rows
            if row.job not in open_jobs and (row.session, row.revision, row.frame, row.job) not in shown
        ]
        chosen: list[MatteRow] = []
        freed = 0
        # In the order of the index: the first that were made are the first to go.
        for row in superseded:
            if freed >= excess:
                break
            chosen.append(row)
            # A matte that was kept for a newer revision is one more name of the same file.
            freed += row.size if _links(Path(row.path)) == 1 else 0
        self._delete_unlisted(rows, open_jobs)
        return self._delete(chosen)

    def remove_session(self, session_id: str) -> tuple[int, int]:
        """Delete a session with all that is stored of it.

        Returns:
            The files deleted and the bytes that are free again.

        Raises:
            BusySessionError: one of its jobs has not ended.
        """
        index = self._store.index
        if any(job.session == session_id for job in index.open_jobs()):
            raise BusySessionError(f"a job of session {session_id!r} has not ended; cancel it, then remove the session")
        with self._store.transaction():
            awaited = {blob.sha256 for blob in index.unused_blobs() if self._is_awaited(blob)}
            index.drop_session(session_id)
            unused = [blob for blob in index.unused_blobs() if blob.sha256 not in awaited]
            for blob in unused:
                index.drop_blob(blob.sha256)
        folder = self._store.root / "sessions" / session_id
        files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
        freed = sum(path.stat().st_size for path in files if _links(path) == 1)
        shutil.rmtree(folder, ignore_errors=True)
        for blob in unused:
            path = self._store.blob_path(blob)
            path.unlink(missing_ok=True)
            freed += blob.size
        log.info("session %s is removed, %d files", session_id, len(files) + len(unused))
        return len(files) + len(unused), freed

    def _is_awaited(self, blob: BlobRow) -> bool:
        """Whether another session's client may just have sent this file and be about to name what it is for."""
        with contextlib.suppress(OSError):
            return time.time() - self._store.blob_path(blob).stat().st_mtime < UNNAMED_UPLOAD_S
        return False

    def size_of(self, session_id: str) -> int:
        """Return the bytes that a session's mattes have on disk."""
        return _size_on_disk(row for row in self._store.index.all_mattes(session_id))

    def _prune_features(self, keep_bytes: int) -> None:
        """Delete encoded frames, the least recently used first; a job that misses one encodes it again."""
        files = []
        for path in (self._store.root / "sessions").glob(f"*/{FEATURES}/*"):
            with contextlib.suppress(OSError):  # a worker prunes its own session
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        excess = sum(size for _, size, _ in files) - keep_bytes
        for _, size, path in sorted(files):
            if excess <= 0:
                return
            path.unlink(missing_ok=True)
            excess -= size

    def _delete_unlisted(self, rows: list[MatteRow], open_jobs: set[str]) -> None:
        """Delete what no row names: the mattes of a job's run that the next daemon took over into another run."""
        listed = {row.path for row in rows}
        for path in (self._store.root / "sessions").glob("*/mattes/r*/*/*"):
            if path.parent.name.rpartition("-")[0] not in open_jobs and str(path) not in listed:
                path.unlink(missing_ok=True)
                _remove_if_empty(path.parent)

    def _delete(self, rows: list[MatteRow]) -> tuple[int, int]:
        with self._store.transaction():
            for row in rows:
                self._store.index.drop_matte(row)
        freed = 0
        for row in rows:
            path = Path(row.path)
            freed += row.size if _links(path) == 1 else 0
            path.unlink(missing_ok=True)
            _remove_if_empty(path.parent)
        log.info("%d superseded mattes are deleted, %d MiB", len(rows), freed >> 20)
        return len(rows), freed


def _size_on_disk(rows: Iterable[MatteRow]) -> int:
    """Return the bytes of some mattes, each file once."""
    files: dict[tuple[int, int], int] = {}
    for row in rows:
        try:
            status = Path(row.path).stat()
        except OSError:
            continue
        files[status.st_dev, status.st_ino] = status.st_size
    return sum(files.values())


def _links(path: Path) -> int:
    try:
        return path.stat().st_nlink
    except OSError:
        return 0


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
