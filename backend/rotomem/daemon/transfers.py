"""Files to and from one client: what it offered, what it is being sent, and both sides' credit. No sockets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rotomem.daemon.refusals import MatteGoneError, UploadError
from rotomem.daemon.store import Store
from rotomem.errors import RotomemError
from rotomem_client.errors import ProtocolError, TransferError
from rotomem_client.messages import (
    WINDOW_BYTES,
    Chunk,
    Credit,
    ErrorReply,
    FetchMatte,
    FileStored,
    FrameOffer,
    FramesWanted,
    Message,
    OfferFrames,
    WantedFile,
    sentence,
)
from rotomem_client.transfer import CreditBalance, CreditGrants, FileSender

MAX_OPEN_OFFERS = 4096
MAX_DOWNLOADS = 64


@dataclass
class _Download:
    request_id: str
    sender: FileSender


class PeerTransfers:
    """The transfers of one connection. Credit is the connection's; what arrived is the store's, and stays.

    Args:
        send: queues a message, with the id that it answers, for this client.
    """

    def __init__(self, store: Store, send: Callable[[Message, str], None]) -> None:
        self.offers: dict[str, FrameOffer] = {}
        """What was offered and is not complete yet, by its SHA-256."""
        self._store = store
        self._send = send
        self._grants = CreditGrants(WINDOW_BYTES)
        self._credit = CreditBalance()
        self._answered: set[str] = set()
        """Uploads whose answer, good or bad, has been given."""
        self._downloads: list[_Download] = []
        self._opened = 0

    def open(self) -> None:
        """The client has (again) said hello: everything begins anew."""
        self.close()
        self._credit.reset()
        self._send(Credit(self._grants.open()), "")

    def close(self) -> None:
        """Forget what was under way."""
        for download in self._downloads:
            download.sender.close()
        self._downloads.clear()
        self._opened += 1
        self.offers.clear()
        self._answered.clear()

    def offer(self, request: OfferFrames) -> FramesWanted:
        """Say which offered files are wanted.

        Raises:
            DiskFullError: they would not fit.
            UploadError: too many were offered and never sent.
        """
        self._store.session(request.session_id)
        if request.role == "plate":
            self._store.bind_frames(request)
        have: list[int] = []
        wanted: dict[str, WantedFile] = {}
        missing = 0
        for offer in request.frames:
            offset = self._store.uploads.offset(offer)
            if offset == offer.size:
                have.append(offer.frame)
                self.offers.pop(offer.sha256, None)
            elif offer.sha256 not in wanted:
                wanted[offer.sha256] = WantedFile(offer.sha256, offset)
                missing += offer.size - offset
        if len(self.offers.keys() | wanted.keys()) > MAX_OPEN_OFFERS:
            raise UploadError(f"more than {MAX_OPEN_OFFERS} files were offered and not sent; send those first")
        self._store.uploads.require_space(missing)
        self.offers.update((offer.sha256, offer) for offer in request.frames if offer.sha256 in wanted)
        return FramesWanted(tuple(have), tuple(wanted.values()))

    def take_chunk(self, chunk: Chunk, upload_id: str) -> None:
        """Store a chunk; answer the upload when its file is complete, or cannot be."""
        try:
            self._grants.receive(len(chunk.payload))
        except ProtocolError as error:
            self._send(ErrorReply(UploadError.code, sentence(str(error))), upload_id)
            return
        try:
            self._store_chunk(chunk, upload_id)
        finally:
            granted = self._grants.consume(len(chunk.payload))
            if granted:
                self._send(Credit(granted), "")

    def _store_chunk(self, chunk: Chunk, upload_id: str) -> None:
        if upload_id in self._answered:
            # Under way already when the answer left.
            return
        try:
            self._write(chunk, upload_id)
        except RotomemError as error:
            self._answer(upload_id, error)

    def _write(self, chunk: Chunk, upload_id: str) -> None:
        """Write a chunk; the upload is answered once its file is complete."""
        blob = self._store.index.blob(chunk.sha256)
        if blob is not None:
            # Complete already: its chunks were under way a second time, or another client was faster.
            self.offers.pop(chunk.sha256, None)
            self._answer(upload_id, FileStored(blob.sha256, blob.size))
            return
        offer = self.offers.get(chunk.sha256)
        if offer is None:
            raise UploadError("these bytes were not offered on this connection; offer the frames again")
        if self._store.uploads.write(chunk, offer):
            opened = self._opened
            self._store.uploads.end(offer, lambda error: self._ended(offer, upload_id, error, opened))

    def _ended(self, offer: FrameOffer, upload_id: str, error: RotomemError | None, opened: int) -> None:
        if opened != self._opened:
            # The client has said hello again meanwhile, and offers anew.
            return
        if error is None:
            self.offers.pop(offer.sha256, None)
        self._answer(upload_id, error or FileStored(offer.sha256, offer.size))

    def _answer(self, upload_id: str, outcome: FileStored | RotomemError) -> None:
        if upload_id not in self._answered:
            self._answered.add(upload_id)
            answer = ErrorReply(outcome.code, sentence(str(outcome))) if isinstance(outcome, RotomemError) else outcome
            self._send(answer, upload_id)

    def take_credit(self, granted: int) -> None:
        """The client will take more of its downloads."""
        self._credit.grant(granted)
        self._pump()

    def fetch(self, request: FetchMatte, request_id: str) -> None:
        """Begin to send a matte, as chunks with the request's id; raises ``MatteGoneError``."""
        matte = self._store.matte(request.session_id, request.revision, request.frame, request.sha256)
        if len(self._downloads) >= MAX_DOWNLOADS:
            raise UploadError(f"{MAX_DOWNLOADS} mattes are being fetched already; wait for one")
        if request.offset >= matte.size:
            raise MatteGoneError(f"the matte of frame {request.frame} has {matte.size} bytes; nothing is left to send")
        sender = FileSender(Path(matte.path), matte.sha256, matte.size, request.offset)
        self._downloads.append(_Download(request_id, sender))
        self._pump()

    def _pump(self) -> None:
        """Send as many chunks as credit allows, one file after the other."""
        while self._downloads:
            download = self._downloads[0]
            try:
                chunk = download.sender.next_chunk(self._credit)
            except TransferError as error:
                self._send(ErrorReply(MatteGoneError.code, sentence(str(error))), download.request_id)
                download.sender.close()
                self._downloads.pop(0)
                continue
            if chunk is None:
                return
            self._send(chunk, download.request_id)
            if download.sender.done:
                download.sender.close()
                self._downloads.pop(0)
