"""Content-addressed transfer of files by chunks, with credit and resume. No sockets.

The receiver grants credit in payload bytes; the sender never has more under way than was granted. A file is known by
its SHA-256 and size; what arrived stays in a ``.part`` file, whose size is the offset from which a later transfer goes
on. The file appears at its place whole and verified, or not at all.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Optional

from rotomem_client.errors import ProtocolError, TransferError
from rotomem_client.messages import CHUNK_BYTES, Chunk

_READ_BYTES = 1 << 20


def hash_file(path: Path) -> tuple[str, int]:
    """Return a file's SHA-256 in hex and its size in bytes; raises ``OSError``."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb") as stream:
        while True:
            block = stream.read(_READ_BYTES)
            if not block:
                return digest.hexdigest(), size
            digest.update(block)
            size += len(block)


class CreditBalance:
    """The sender's side of credit: how many payload bytes the receiver will still take."""

    def __init__(self) -> None:
        self.available = 0

    def grant(self, granted: int) -> None:
        self.available += granted

    def spend(self, size: int) -> None:
        if size > self.available:
            raise TransferError(f"a chunk of {size} bytes exceeds the credit of {self.available}")
        self.available -= size

    def reset(self) -> None:
        """Forget everything: credit belongs to one connection."""
        self.available = 0


class CreditGrants:
    """The receiver's side of credit: keeps at most ``window_bytes`` granted and not yet consumed.

    Args:
        window_bytes: at least one chunk, or the sender could wait for ever.
        batch_bytes: consumed bytes are granted again in steps of this size, to save messages.
    """

    def __init__(self, window_bytes: int, batch_bytes: int = 2 * CHUNK_BYTES) -> None:
        self.window_bytes = window_bytes
        self._batch_bytes = min(batch_bytes, window_bytes - CHUNK_BYTES + 1)
        if self._batch_bytes < 1:
            raise TransferError(f"a window of {window_bytes} bytes is smaller than one chunk of {CHUNK_BYTES}")
        self._outstanding = 0
        self._consumed = 0

    def open(self) -> int:
        """Begin a connection; return the first grant, in bytes."""
        self._outstanding = self.window_bytes
        self._consumed = 0
        return self.window_bytes

    def receive(self, size: int) -> None:
        """Count a chunk that arrived; raises ``ProtocolError`` if it was not covered by credit."""
        if size > self._outstanding:
            raise ProtocolError(f"a chunk of {size} bytes exceeds the granted credit of {self._outstanding}")
        self._outstanding -= size

    def consume(self, size: int) -> int:
        """Count bytes that left memory; return how many to grant now, often 0."""
        self._consumed += size
        if self._consumed < self._batch_bytes:
            return 0
        granted, self._consumed = self._consumed, 0
        self._outstanding += granted
        return granted


class FileSender:
    """Reads one file in chunks, from ``offset`` on."""

    def __init__(self, path: Path, sha256: str, size: int, offset: int = 0, chunk_bytes: int = CHUNK_BYTES) -> None:
        if not 0 <= offset <= size:
            raise TransferError(f"cannot send {path} from byte {offset}: it has {size}")
        self.sha256 = sha256
        self.size = size
        self.offset = offset
        self._path = path
        self._chunk_bytes = chunk_bytes
        self._stream: Optional[BinaryIO] = None

    @property
    def done(self) -> bool:
        return self.offset == self.size

    @property
    def next_size(self) -> int:
        """Payload bytes of the next chunk; 0 when all is sent. A chunk is never cut to fit little credit."""
        return min(self._chunk_bytes, self.size - self.offset)

    def next_chunk(self, credit: CreditBalance) -> Optional[Chunk]:
        """Return the next chunk, paid from ``credit``; None when it does not suffice or all is sent.

        Raises:
            TransferError: as ``read_chunk``.
        """
        size = self.next_size
        if size == 0 or credit.available < size:
            return None
        credit.spend(size)
        return self.read_chunk()

    def read_chunk(self) -> Chunk:
        """Return the next chunk, for a caller that has spent its credit.

        Raises:
            TransferError: the file is shorter than it was, or cannot be read.
        """
        size = self.next_size
        try:
            if self._stream is None:
                self._stream = open(self._path, "rb")
                self._stream.seek(self.offset)
            payload = self._stream.read(size)
        except OSError as error:
            raise TransferError(f"cannot read {self._path}: {error.strerror}") from error
        if len(payload) != size:
            raise TransferError(f"{self._path} became shorter while it was sent; render it again")
        chunk = Chunk(sha256=self.sha256, offset=self.offset, payload=payload)
        self.offset += size
        return chunk

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


class FileReceiver:
    """Writes chunks to ``part``; when complete and verified, the file is at ``destination``.

    Args:
        part: the staging file, on the same file system as ``destination``; what it holds already is taken up.
        destination: replaced atomically.
    """

    def __init__(self, part: Path, destination: Path, sha256: str, size: int) -> None:
        self.sha256 = sha256
        self.size = size
        self._part = part
        self._destination = destination
        self._digest = hashlib.sha256()
        self.offset = self._take_up()
        self._stream: BinaryIO = open(part, "ab")

    def _take_up(self) -> int:
        """Hash what an earlier transfer left; return its size, 0 when there is nothing usable."""
        try:
            with open(self._part, "rb") as stream:
                if os.fstat(stream.fileno()).st_size <= self.size:
                    while True:
                        block = stream.read(_READ_BYTES)
                        if not block:
                            return stream.tell()
                        self._digest.update(block)
            self._part.unlink()
        except FileNotFoundError:
            pass
        return 0

    @property
    def done(self) -> bool:
        return self.offset == self.size

    def write(self, chunk: Chunk) -> None:
        """Append a chunk. Bytes that are there already are skipped, so that a repeated chunk does no harm.

        Raises:
            ProtocolError: it leaves a gap, or goes beyond the announced size.
            OSError: the disk is full, or the like.
        """
        if chunk.offset > self.offset:
            raise ProtocolError(f"a chunk at byte {chunk.offset} leaves a gap after byte {self.offset}")
        if chunk.offset + len(chunk.payload) > self.size:
            raise ProtocolError(f"a chunk at byte {chunk.offset} goes beyond the announced size of {self.size} bytes")
        fresh = chunk.payload[self.offset - chunk.offset :]
        if not fresh:
            return
        try:
            self._stream.write(fresh)
            self._stream.flush()
        except OSError:
            # A full disk may have taken some of the bytes: drop the stream, so that a retry reads what is really there.
            self.close()
            raise
        self._digest.update(fresh)
        self.offset += len(fresh)

    def finish(self) -> None:
        """Verify, sync, and move to the destination.

        Raises:
            TransferError: the bytes have another SHA-256; they are thrown away.
            OSError: from the file system.
        """
        if not self.done:
            raise TransferError(f"{self._destination} is not complete: {self.offset} of {self.size} bytes")
        if self._digest.hexdigest() != self.sha256:
            self.close()
            self._part.unlink()
            raise TransferError(f"{self._destination.name} arrived damaged (SHA-256 differs); it is sent again")
        os.fsync(self._stream.fileno())
        self.close()
        os.replace(self._part, self._destination)
        sync_folder(self._destination.parent)

    def close(self) -> None:
        try:
            self._stream.close()
        except OSError:
            # Closing flushes what a full disk refused; the write has reported it.
            pass

    def __enter__(self) -> FileReceiver:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut; a no-op where folders cannot be opened (Windows)."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
