"""What one connection may offer and send, without sockets: the real store on a real disk."""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import threading
from collections.abc import Callable, Iterator
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
        assert store.uploads.write(Chunk(offer_of(frame).sha256, 0, content_of(frame)), offer_of(frame))
        store.uploads.end(offer_of(frame), lambda error: None)
    offer(peer, *range(1, LIMIT + 1))
    offer(peer, *range(20, 20 + LIMIT))


class SlowDisk:
    """Syncs nothing until it is released; what the store's thread is to do waits in ``actions``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.released = threading.Event()
        self.actions: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        monkeypatch.setattr(os, "fsync", lambda handle: self.released.wait(20) or None)

    def act(self) -> None:
        """Release the disk, and do the next action of the store's thread."""
        self.released.set()
        self.actions.get(timeout=20)()


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SlowDisk, Store]]:
    disk = SlowDisk(monkeypatch)
    store = Store(tmp_path / "store", act=disk.actions.put)
    store.open_session(OpenSession("sh010", Plate(1, 100), ("hero",)))
    yield disk, store
    disk.released.set()
    store.close()


def test_others_are_served_while_a_file_is_synced(slow: tuple[SlowDisk, Store]) -> None:
    disk, store = slow
    told: list[tuple[Message, str]] = []
    peers = [PeerTransfers(store, lambda message, request_id: told.append((message, request_id))) for _ in range(2)]
    for peer in peers:
        peer.open()
    offer(peers[0], 1)
    send(peers[0], 1, "0a")  # returns, though the disk does not
    offer(peers[1], 2)
    assert not any(isinstance(message, FileStored) for message, _ in told)
    assert store.index.blob(offer_of(1).sha256) is None
    disk.act()
    assert (FileStored(offer_of(1).sha256, offer_of(1).size), "0a") in told
    assert store.plate_files("sh010")[1].read_bytes() == content_of(1)


def test_a_file_offered_again_while_it_is_synced_is_not_sent_twice(slow: tuple[SlowDisk, Store]) -> None:
    disk, store = slow
    told: list[tuple[Message, str]] = []
    peer = PeerTransfers(store, lambda message, request_id: told.append((message, request_id)))
    peer.open()
    offer(peer, 1)
    send(peer, 1, "0a")
    send(peer, 1, "0b")
    peer.open()  # the client was cut off, and is back
    disk.released.set()
    assert peer.offer(OfferFrames("sh010", "plate", (offer_of(1),))).have == (1,)
    disk.act()
    disk.act()
    assert not any(isinstance(message, FileStored) for message, _ in told)  # its requests of before are forgotten


def test_a_disk_that_refuses_to_sync_refuses_the_upload(
    slow: tuple[SlowDisk, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, store = slow
    told: list[tuple[Message, str]] = []
    peer = PeerTransfers(store, lambda message, request_id: told.append((message, request_id)))
    peer.open()
    offer(peer, 1)

    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", refuse)
        send(peer, 1, "0a")
        disk.act()
    ((refusal, _),) = [entry for entry in told if entry[1] == "0a"]
    assert isinstance(refusal, ErrorReply)
    assert refusal.code == "DISK_FULL"
    assert store.index.blob(offer_of(1).sha256) is None
    send(peer, 1, "0b")  # what arrived was kept
    disk.act()
    assert (FileStored(offer_of(1).sha256, offer_of(1).size), "0b") in told


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
