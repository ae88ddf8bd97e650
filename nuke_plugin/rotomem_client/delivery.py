"""Files up to the daemon and mattes down from it, across broken connections."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from rotomem_client.errors import RefusedError, TransferError
from rotomem_client.exchange import ConnectionLostError, Exchange
from rotomem_client.messages import (
    MAX_FILE_BYTES,
    FetchMatte,
    FrameOffer,
    FramesWanted,
    MatteReady,
    OfferFrames,
    WantedFile,
)
from rotomem_client.transfer import FileReceiver, FileSender, hash_file

log = logging.getLogger(__name__)

OnProgress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""
Cancelled = Callable[[], bool]

_MENDABLE = ("TRANSFER_DAMAGED", "UPLOAD")
"""Refusals of an upload that another offer mends: bytes damaged on the way, or no longer expected."""
_PAGE_FRAMES = 16
"""Frames hashed and offered at once: few, so that sending and progress begin soon; far below the protocol's limit."""
_MAX_DAMAGED = 3
_MAX_ATTEMPTS = 20


@dataclass(frozen=True)
class LocalFile:
    """A file to offer, with what identifies its content."""

    path: Path
    offer: FrameOffer


def describe_file(frame: int, path: Path) -> LocalFile:
    """Hash a file; raises ``TransferError`` naming frame and file."""
    try:
        sha256, size = hash_file(path)
    except OSError as error:
        raise TransferError(f"frame {frame}: cannot read {path}: {error.strerror}; render it again") from error
    if not 1 <= size <= MAX_FILE_BYTES:
        raise TransferError(f"frame {frame}: {path} has {size} bytes, so it is no image; render it again")
    suffix = path.suffix.lower()
    return LocalFile(path, FrameOffer(frame, sha256, size, suffix if len(suffix) > 1 else ".exr"))


class Upload:
    """Sends those of some files that the daemon lacks.

    Args:
        role: ``plate`` or ``alpha``, as in ``OfferFrames``.
        on_progress: called from the calling thread.
        cancelled: asked between chunks; then ``TransferError``, and the next upload goes on where this one stopped.
    """

    def __init__(
        self,
        exchange: Exchange,
        session_id: str,
        role: str,
        *,
        on_progress: Optional[OnProgress] = None,
        cancelled: Optional[Cancelled] = None,
    ) -> None:
        self.bytes_sent = 0
        self._exchange = exchange
        self._session_id = session_id
        self._role = role
        self._on_progress = on_progress or (lambda done, total: None)
        self._cancelled = cancelled or (lambda: False)
        self._damaged = 0

    def send(self, files: Mapping[int, Path]) -> int:
        """Return how many bytes were sent.

        Raises:
            TransferError, RefusedError, DaemonUnreachableError.
        """
        total = sum(_size_of(frame, path) for frame, path in files.items())
        done = 0
        frames = sorted(files)
        for start in range(0, len(frames), _PAGE_FRAMES):
            page = []
            for frame in frames[start : start + _PAGE_FRAMES]:
                self._require_not_cancelled()
                page.append(describe_file(frame, files[frame]))
            self._send_page(page, done, total)
            done += sum(file.offer.size for file in page)
        return self.bytes_sent

    def _send_page(self, page: Sequence[LocalFile], done_before: int, total: int) -> None:
        offer = OfferFrames(self._session_id, self._role, tuple(file.offer for file in page))
        by_hash = {file.offer.sha256: file for file in page}
        for _ in range(_MAX_ATTEMPTS):
            wanted = self._exchange.call(offer)
            if not isinstance(wanted, FramesWanted):
                raise TransferError(f"the daemon answered an offer of frames by {wanted.type_name}")
            missing = sum(by_hash[want.sha256].offer.size - want.offset for want in wanted.send)
            self._on_progress(done_before + sum(file.offer.size for file in page) - missing, total)
            if not wanted.send:
                return
            try:
                self._send_wanted(wanted.send, by_hash, done_before + sum(f.offer.size for f in page) - missing, total)
            except ConnectionLostError:
                log.info("the connection broke during an upload; it goes on where it stopped")
                self._exchange.wait_until_ready()
        raise TransferError(f"the upload did not get through in {_MAX_ATTEMPTS} attempts; check the network")

    def _send_wanted(
        self, wanted: Iterable[WantedFile], by_hash: Mapping[str, LocalFile], done: int, total: int
    ) -> None:
        uploads: list[str] = []
        generation = self._exchange.generation
        try:
            for want in wanted:
                file = by_hash[want.sha256]
                upload_id = self._exchange.begin_upload()
                uploads.append(upload_id)
                sender = FileSender(file.path, want.sha256, file.offer.size, want.offset)
                try:
                    done = self._send_chunks(sender, upload_id, generation, done, total)
                finally:
                    sender.close()
                if not sender.done:
                    # The daemon has answered early, so it refuses; this raises, or lets the next offer mend it.
                    uploads.remove(upload_id)
                    self._finish(upload_id)
            while uploads:
                self._finish(uploads[0])
                uploads.pop(0)
        finally:
            for upload_id in uploads:
                self._exchange.forget_upload(upload_id)

    def _send_chunks(self, sender: FileSender, upload_id: str, generation: int, done: int, total: int) -> int:
        while not sender.done:
            if not self._exchange.spend_credit(sender.next_size, upload_id, generation, self._require_not_cancelled):
                break
            chunk = sender.read_chunk()
            self._exchange.send_chunk(chunk, upload_id, generation)
            self.bytes_sent += len(chunk.payload)
            done += len(chunk.payload)
            self._on_progress(done, total)
        return done

    def _finish(self, upload_id: str) -> None:
        try:
            self._exchange.finish_upload(upload_id)
        except RefusedError as error:
            self._damaged += 1
            if error.code not in _MENDABLE or self._damaged > _MAX_DAMAGED:
                raise

    def _require_not_cancelled(self) -> None:
        if self._cancelled():
            raise TransferError("the upload was cancelled; what was sent is kept, and the next one goes on from there")


def fetch_matte(exchange: Exchange, ready: MatteReady, destination: Path) -> Path:
    """Bring one matte to ``destination``, whole and verified; what an earlier attempt left is taken up."""
    part = destination.with_name(f".{destination.name}.{ready.sha256[:12]}.part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_MAX_DAMAGED):
            with _open_receiver(exchange, ready, part, destination) as receiver:
                try:
                    receiver.finish()
                    return destination
                except TransferError as error:
                    log.warning("%s", error)
    except OSError as error:
        raise TransferError(
            f"cannot write the matte of frame {ready.frame} to {destination}: {error.strerror}; "
            "the daemon keeps it, so free some space or choose another folder and fetch it again"
        ) from error
    raise TransferError(f"the matte of frame {ready.frame} arrived damaged {_MAX_DAMAGED} times; check the network")


def write_whole(destination: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all; raises ``TransferError``."""
    part = destination.with_name(f".{destination.name}.part")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, destination)
    except OSError as error:
        raise TransferError(
            f"cannot write {destination}: {error.strerror}; free some space or choose another folder"
        ) from error


def _open_receiver(exchange: Exchange, ready: MatteReady, part: Path, destination: Path) -> FileReceiver:
    """Return a receiver that holds all bytes, through however many connections it takes."""
    for _ in range(_MAX_ATTEMPTS):
        receiver = FileReceiver(part, destination, ready.sha256, ready.size)
        try:
            _receive(exchange, ready, receiver)
            return receiver
        except ConnectionLostError:
            receiver.close()
            exchange.wait_until_ready()
        except BaseException:
            receiver.close()
            raise
    raise TransferError(f"frame {ready.frame} did not arrive in {_MAX_ATTEMPTS} attempts; check the network")


def _receive(exchange: Exchange, ready: MatteReady, receiver: FileReceiver) -> None:
    if receiver.done:
        return
    download = exchange.begin_download(
        FetchMatte(ready.session_id, ready.revision, ready.frame, ready.sha256, receiver.offset)
    )
    try:
        while not receiver.done:
            receiver.write(exchange.next_chunk(download))
    finally:
        exchange.end_download(download)


def _size_of(frame: int, path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise TransferError(f"frame {frame}: cannot read {path}: {error.strerror}; render it again") from error
