"""Files by chunks: credit, resume, repetition, damage. No sockets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotomem_client.errors import ProtocolError, TransferError
from rotomem_client.messages import CHUNK_BYTES, Chunk
from rotomem_client.transfer import CreditBalance, CreditGrants, FileReceiver, FileSender, hash_file

CONTENT = bytes(range(256)) * 40  # 10240 bytes
SHA = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "plate.1001.exr"
    path.write_bytes(CONTENT)
    return path


def receiver_in(folder: Path, sha256: str = SHA, size: int = len(CONTENT)) -> FileReceiver:
    return FileReceiver(folder / "x.part", folder / "x.exr", sha256, size)


def chunks_of(path: Path, chunk_bytes: int, offset: int = 0) -> Iterator[Chunk]:
    sender = FileSender(path, SHA, len(CONTENT), offset, chunk_bytes)
    while not sender.done:
        yield sender.read_chunk()
    sender.close()


def test_a_file_arrives_whole_and_only_then_has_its_name(source: Path, tmp_path: Path) -> None:
    receiver = receiver_in(tmp_path)
    for chunk in chunks_of(source, 4096):
        assert not (tmp_path / "x.exr").exists()
        receiver.write(chunk)
    assert receiver.done
    receiver.finish()
    assert (tmp_path / "x.exr").read_bytes() == CONTENT
    assert not (tmp_path / "x.part").exists()


def test_a_transfer_goes_on_where_an_earlier_one_stopped(source: Path, tmp_path: Path) -> None:
    first = receiver_in(tmp_path)
    first.write(next(chunks_of(source, 4096)))
    first.close()

    second = receiver_in(tmp_path)
    assert second.offset == 4096
    sent = list(chunks_of(source, 4096, second.offset))
    assert [chunk.offset for chunk in sent] == [4096, 8192]
    for chunk in sent:
        second.write(chunk)
    second.finish()
    assert hash_file(tmp_path / "x.exr") == (SHA, 10240)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 10_240), st.integers(1, 5000)), max_size=12),
    st.integers(500, 6000),
)
def test_repeated_and_overlapping_chunks_do_no_harm(
    source: Path, tmp_path: Path, repeated: list[tuple[int, int]], chunk_bytes: int
) -> None:
    receiver = receiver_in(tmp_path)
    repetitions = iter(repeated)
    for chunk in chunks_of(source, chunk_bytes):
        receiver.write(chunk)
        start, length = next(repetitions, (0, 1))
        start = min(start, receiver.offset - 1)
        receiver.write(Chunk(SHA, start, CONTENT[start : start + length]))
    receiver.finish()
    assert (tmp_path / "x.exr").read_bytes() == CONTENT


def test_a_gap_and_bytes_beyond_the_end_are_refused(tmp_path: Path) -> None:
    with receiver_in(tmp_path) as receiver:
        with pytest.raises(ProtocolError, match="leaves a gap after byte 0"):
            receiver.write(Chunk(SHA, 1, b"x"))
        with pytest.raises(ProtocolError, match="beyond the announced size of 10240"):
            receiver.write(Chunk(SHA, 0, CONTENT + b"x"))
        assert receiver.offset == 0


def test_damaged_bytes_never_get_the_name_and_are_thrown_away(source: Path, tmp_path: Path) -> None:
    receiver = receiver_in(tmp_path)
    for chunk in chunks_of(source, 4096):
        payload = b"\xff" + chunk.payload[1:] if chunk.offset == 4096 else chunk.payload
        receiver.write(Chunk(SHA, chunk.offset, payload))
    with pytest.raises(TransferError, match=r"x\.exr arrived damaged"):
        receiver.finish()
    assert not (tmp_path / "x.exr").exists()
    assert receiver_in(tmp_path).offset == 0


def test_a_part_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "x.part").write_bytes(CONTENT + b"x")
    assert receiver_in(tmp_path).offset == 0


def test_a_file_that_became_shorter_is_named(source: Path) -> None:
    sender = FileSender(source, SHA, len(CONTENT), chunk_bytes=8192)
    sender.read_chunk()
    source.write_bytes(CONTENT[:9000])
    with pytest.raises(TransferError, match=r"plate\.1001\.exr became shorter"):
        sender.read_chunk()
    sender.close()


def test_a_sender_waits_for_credit_and_never_cuts_a_chunk(source: Path) -> None:
    sender = FileSender(source, SHA, len(CONTENT), chunk_bytes=4096)
    credit = CreditBalance()
    assert sender.next_chunk(credit) is None
    credit.grant(4095)
    assert sender.next_chunk(credit) is None
    credit.grant(1)
    chunk = sender.next_chunk(credit)
    assert chunk is not None
    assert len(chunk.payload) == 4096
    assert credit.available == 0
    sender.close()


@settings(max_examples=200, deadline=None)
@given(
    window=st.integers(CHUNK_BYTES, 4 * CHUNK_BYTES),
    batch=st.integers(1, 8 * CHUNK_BYTES),
    sizes=st.lists(st.integers(1, CHUNK_BYTES), min_size=1, max_size=30),
    consume_late=st.lists(st.booleans(), max_size=60),
)
def test_credit_is_never_exceeded_and_never_runs_dry(
    window: int, batch: int, sizes: list[int], consume_late: list[bool]
) -> None:
    """The receiver holds at most its window; once it has consumed all, the sender can always send a chunk."""
    grants, balance = CreditGrants(window, batch), CreditBalance()
    balance.grant(grants.open())
    held: list[int] = []
    late = iter(consume_late)
    for size in sizes:
        while balance.available < size:
            assert held, "a sender without credit and a receiver with nothing to consume would wait for ever"
            balance.grant(grants.consume(held.pop(0)))
        balance.spend(size)
        grants.receive(size)
        held.append(size)
        assert sum(held) <= window
        if not next(late, False):
            balance.grant(grants.consume(held.pop(0)))


def test_chunks_beyond_the_credit_are_noticed_on_both_sides() -> None:
    grants, balance = CreditGrants(CHUNK_BYTES), CreditBalance()
    balance.grant(grants.open())
    balance.spend(CHUNK_BYTES)
    grants.receive(CHUNK_BYTES)
    with pytest.raises(TransferError, match="exceeds the credit of 0"):
        balance.spend(1)
    with pytest.raises(ProtocolError, match="exceeds the granted credit of 0"):
        grants.receive(1)


def test_credit_ends_with_its_connection() -> None:
    grants, balance = CreditGrants(2 * CHUNK_BYTES), CreditBalance()
    balance.grant(grants.open())
    grants.receive(CHUNK_BYTES)
    balance.reset()
    assert balance.available == 0
    assert grants.open() == 2 * CHUNK_BYTES


def test_a_window_smaller_than_a_chunk_is_refused() -> None:
    with pytest.raises(TransferError, match="smaller than one chunk"):
        CreditGrants(CHUNK_BYTES - 1)
