"""Files that are on their way into the store: staged beside it, verified, synced, and entered into the index."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from rotomem.daemon.index import Index
from rotomem.daemon.refusals import DamagedUploadError, UploadError
from rotomem.daemon.rows import BlobRow
from rotomem.daemon.worker import FULL_DISK
from rotomem.errors import DiskFullError, RotomemError, StoreError
from rotomem_client.errors import ProtocolError, TransferError
from rotomem_client.messages import Chunk, FrameOffer
from rotomem_client.transfer import FileReceiver

log = logging.getLogger(__name__)

RESERVED_BYTES = 64 * 1024 * 1024
"""Uploads are refused that would leave less on the disk, so that mattes and the index can still be written."""

Act = Callable[[Callable[[], None]], None]
"""Queues an action for the thread that uses the store."""


class Uploads:
    """Uploads by their SHA-256. One thread uses it.

    Args:
        root: the store's folder.
        incoming: folder of what is not complete.
        destination: where a complete file belongs.
        act: a disk may take seconds to sync a large file, during which other clients must be served: given ``act``,
            files are synced on a thread of their own, and what follows is queued by it. Without it all is done at once.
    """

    def __init__(
        self, root: Path, incoming: Path, index: Index, destination: Callable[[BlobRow], Path], act: Act | None
    ) -> None:
        self._root = root
        self._incoming = incoming
        self._index = index
        self._destination = destination
        self._act = act
        self._receivers: dict[str, FileReceiver] = {}
        self._ending: dict[str, Future[None]] = {}
        self._syncing = ThreadPoolExecutor(1, thread_name_prefix="rotomem-sync")

    def close(self) -> None:
        """Finish what is being synced; what is not complete waits for the next upload."""
        for sha256 in tuple(self._receivers):
            self.pause(sha256)
        self._syncing.shutdown()

    def offset(self, offer: FrameOffer) -> int:
        """Return from which byte a file is wanted; its size when it is complete here."""
        if offer.sha256 in self._ending:
            # Offered again in the moment in which it is synced: the answer is certain only after that.
            self._end(offer, self._ending[offer.sha256])
        if self._index.blob(offer.sha256) is not None:
            return offer.size
        if offer.sha256 in self._receivers:
            return self._receivers[offer.sha256].offset
        part = self._part(offer.sha256)
        offset = part.stat().st_size if part.is_file() else 0
        if offset < offer.size:
            return offset
        # All bytes had arrived when the daemon was killed, or they are not what they should be.
        error = self._end(offer, self._start(self._receiver(offer)))
        if error is not None and not isinstance(error, DamagedUploadError):
            raise error
        return 0 if error else offer.size

    def require_space(self, size: int) -> None:
        """Raises ``DiskFullError`` if ``size`` more bytes would fill the disk."""
        free = shutil.disk_usage(self._root).free
        if size + RESERVED_BYTES > free:
            raise DiskFullError(
                f"the daemon's disk is full: {size >> 20} MiB of frames do not fit into the {free >> 20} MiB that are "
                f"free at {self._root}; free some space and propagate again"
            )

    def write(self, chunk: Chunk, offer: FrameOffer) -> bool:
        """Write a chunk of an offered file; return whether all of its bytes have arrived, so that it can be ended.

        Raises:
            UploadError: the chunk leaves a gap, or goes beyond the file.
            DiskFullError, StoreError: from the file system.
        """
        if chunk.sha256 in self._ending or self._index.blob(chunk.sha256) is not None:
            return True
        receiver = self._receiver(offer)
        try:
            receiver.write(chunk)
        except ProtocolError as error:
            raise UploadError(str(error)) from error
        except OSError as error:
            self.pause(chunk.sha256)
            raise store_error(error, self._root) from error
        return receiver.done

    def end(self, offer: FrameOffer, then: Callable[[RotomemError | None], None]) -> None:
        """Verify, sync and enter a file whose bytes have all arrived.

        Args:
            then: told None once the file is on disk and in the index, else ``DamagedUploadError``, ``DiskFullError`` or
                ``StoreError``. Called on the store's thread.
        """
        if self._index.blob(offer.sha256) is not None:
            then(None)
            return
        ending = self._ending.get(offer.sha256) or self._start(self._receiver(offer))
        if self._act is None:
            then(self._end(offer, ending))
            return
        act = self._act
        ending.add_done_callback(lambda done: act(lambda: then(self._end(offer, done))))

    def pause(self, sha256: str) -> None:
        """Close an upload's file; what arrived stays for the next one."""
        receiver = self._receivers.pop(sha256, None)
        if receiver is not None:
            receiver.close()

    def _start(self, receiver: FileReceiver) -> Future[None]:
        self._receivers.pop(receiver.sha256, None)
        self._ending[receiver.sha256] = self._syncing.submit(_finish, receiver)
        return self._ending[receiver.sha256]

    def _end(self, offer: FrameOffer, ending: Future[None]) -> RotomemError | None:
        """Wait for a file's end and enter the file, once; return what went wrong."""
        error = ending.exception()
        newly = self._ending.get(offer.sha256) is ending
        if newly:
            del self._ending[offer.sha256]
        if isinstance(error, TransferError):
            return DamagedUploadError(str(error))
        if isinstance(error, OSError):
            return store_error(error, self._root)
        if error is not None:
            log.error("an upload cannot be ended", exc_info=error)
            return StoreError(f"the upload failed ({type(error).__name__}: {error}); the daemon's log has the details")
        try:
            if newly:
                with self._index.transaction():
                    self._index.put_blob(BlobRow(offer.sha256, offer.size, offer.suffix))
        except sqlite3.Error as refusal:
            log.exception("an upload cannot be entered into the index")
            return StoreError(f"the store's index cannot be written: {refusal}")
        return None

    def _receiver(self, offer: FrameOffer) -> FileReceiver:
        receiver = self._receivers.get(offer.sha256)
        if receiver is None:
            destination = self._destination(BlobRow(offer.sha256, offer.size, offer.suffix))
            try:
                destination.parent.mkdir(exist_ok=True)
                receiver = FileReceiver(self._part(offer.sha256), destination, offer.sha256, offer.size)
            except OSError as error:
                raise store_error(error, self._root) from error
            self._receivers[offer.sha256] = receiver
        return receiver

    def _part(self, sha256: str) -> Path:
        return self._incoming / f"{sha256}.part"


def _finish(receiver: FileReceiver) -> None:
    try:
        receiver.finish()
    finally:
        receiver.close()


def store_error(error: OSError, root: Path) -> StoreError | DiskFullError:
    """Say what the file system refused, as an error that travels."""
    if error.errno in FULL_DISK:
        return DiskFullError(f"the daemon's disk is full ({root}): free some space and try again; what arrived is kept")
    return StoreError(f"the store {root} cannot be written: {error.strerror}; look at its disk and permissions")
