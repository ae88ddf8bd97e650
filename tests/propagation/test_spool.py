"""Data that waits in bounded memory."""

from __future__ import annotations

from rotomem.propagation.spool import Spool


def test_what_goes_beyond_the_bound_lies_in_a_file_and_all_comes_back() -> None:
    spool = Spool(100)
    pieces = [bytes([number]) * 30 for number in range(10)]
    held = [spool.hold(piece) for piece in pieces]
    assert [one.in_memory for one in held] == [True] * 3 + [False] * 7
    assert [one.read() for one in reversed(held)] == pieces[::-1]


def test_memory_is_used_anew_once_it_is_let_go_of() -> None:
    spool = Spool(100)
    first = spool.hold(bytes(100))
    assert not spool.hold(b"x").in_memory
    del first
    assert spool.hold(bytes(100)).in_memory


def test_the_file_is_overwritten_only_when_nothing_in_it_is_held() -> None:
    spool = Spool(0)
    first, second = spool.hold(b"first"), spool.hold(b"second")
    del first
    third = spool.hold(b"third")
    assert (second.read(), third.read()) == (b"second", b"third")
    del second, third
    assert spool.hold(b"fourth").read() == b"fourth"
    assert spool.hold(b"").read() == b""
