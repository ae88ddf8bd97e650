"""What one connection may offer and send, without sockets: the real store on a real disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from rotomem.daemon import transfers
from rotomem.daemon.refusals import UploadError
from rotomem.daemon.store import Store
from rotomem.daemon.transfers import PeerTransfers
from rotomem_client.messages import (
    Chunk,
    Credit,
    ErrorReply,
    FileStored,
    FrameOffer,
    Message,
    OfferFrames,
    OpenSession,
    Plate,
)

LIMIT = 4


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    made.open_session(OpenSession("sh010", Plate(1, 100), ("hero",)))
    yield made
    made.close()


@pytest.fixture
def told() -> list[tuple[Message, str]]:
    return []


@pytest.fixture
def peer(store: Store, told: list[tuple[Message, str]], monkeypatch: pytest.MonkeyPatch) -> PeerTransfers:
    monkeypatch.setattr(transfers, "MAX_OPEN_OFFERS", LIMIT)
    made = PeerTransfers(store, lambda message, request_id: told.append((message, request_id)))
    made.open()
    return made


def content_of(frame: int) -> bytes:
    return b"frame %d" % frame


def offer_of(frame: int) -> FrameOffer:
    content = content_of(frame)
    return FrameOffer(frame, hashlib.sha256(content).hexdigest(), len(content), ".exr")


def offer(peer: PeerTransfers, *frames: int) -> None:
    peer.offer(OfferFrames("sh010", "plate", tuple(offer_of(frame) for frame in frames)))


def send(peer: PeerTransfers, frame: int, upload_id: str = "0a") -> None:
    peer.take_chunk(Chunk(offer_of(frame).sha256, 0, content_of(frame)), upload_id)


def test_only_files_that_are_not_sent_yet_count_as_open_offers(peer: PeerTransfers) -> None:
    for frame in range(1, 3 * LIMIT + 1):
        offer(peer, frame)
        send(peer, frame, f"{frame:x}")
    offer(peer, *range(20, 20 + LIMIT))
    offer(peer, *range(20, 20 + LIMIT))
    with pytest.raises(UploadError, match=f"more than {LIMIT} files were offered and not sent"):
        offer(peer, 50)
    send(peer, 20, "a0")
    offer(peer, 50)


def test_what_another_client_has_sent_meanwhile_is_no_open_offer(peer: PeerTransfers, store: Store) -> None:
    offer(peer, *range(1, LIMIT + 1))
    for frame in range(1, LIMIT + 1):
        assert store.write_chunk(Chunk(offer_of(frame).sha256, 0, content_of(frame)), offer_of(frame))
    offer(peer, *range(1, LIMIT + 1))
    offer(peer, *range(20, 20 + LIMIT))


def test_a_file_sent_twice_is_answered_twice(peer: PeerTransfers, told: list[tuple[Message, str]]) -> None:
    offer(peer, 1)
    send(peer, 1, "0a")
    send(peer, 1, "0b")
    stored = FileStored(offer_of(1).sha256, offer_of(1).size)
    assert [entry for entry in told if not isinstance(entry[0], Credit)] == [(stored, "0a"), (stored, "0b")]


def test_what_was_never_offered_is_refused_once_per_upload(
    peer: PeerTransfers, told: list[tuple[Message, str]]
) -> None:
    send(peer, 1, "0a")
    send(peer, 1, "0a")
    (refusal, upload_id) = next(entry for entry in told if not isinstance(entry[0], Credit))
    assert isinstance(refusal, ErrorReply)
    assert (refusal.code, upload_id) == ("UPLOAD", "0a")
    assert sum(isinstance(message, ErrorReply) for message, _ in told) == 1
