"""What messages refuse when they are made, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rotomem_client.errors import InvalidValueError
from rotomem_client.messages import (
    Chunk,
    ErrorReply,
    FrameOffer,
    Hello,
    JobFinished,
    OpenSession,
    Plate,
    Progress,
    Propagate,
    PutAnnotation,
    ResumeJob,
    sentence,
)
from rotomem_client.shapes import ControlPoint, Shape

JOB = "0" * 32
SHA = "a" * 64
TRIANGLE = Shape("t", (ControlPoint((0.0, 0.0)), ControlPoint((4.0, 0.0)), ControlPoint((0.0, 4.0))))
PLATE = Plate(1001, 1010)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Plate(10, 9), "frame range 10-9 ends before it begins"),
        (lambda: Plate(1.0, 9), "Plate.first is 1.0; it must be a whole number"),
        (lambda: Plate(True, 9), "Plate.first is True; it must be a whole number"),
        (lambda: Plate(1, 9, pixel_aspect=float("nan")), "Plate.pixel_aspect is nan"),
        (lambda: Plate(1, 9, pattern="x" * 1025), "Plate.pattern has 1025 bytes; at most 1024"),
        (lambda: Plate(1, 9, pattern="\udc80"), "not valid Unicode"),
        (lambda: OpenSession("../etc", PLATE, ("hero",)), "OpenSession.session_id is '../etc'"),
        (lambda: OpenSession("", PLATE, ("hero",)), "OpenSession.session_id is ''"),
        (lambda: OpenSession("s", PLATE, ()), "needs at least one object"),
        (lambda: OpenSession("s", PLATE, ("hero", "hero")), "each named once"),
        (lambda: OpenSession("s", PLATE, ("1st",)), "no digit first"),
        (lambda: OpenSession("s", PLATE, ("a.b",)), "a layer name"),
        (lambda: OpenSession("s", {"first": 1}, ("hero",)), "OpenSession.plate is a dict"),
        (lambda: PutAnnotation("s", 1, "hero"), "'hero' on frame 1 must hold shapes"),
        (lambda: PutAnnotation("s", 1, "hero", (TRIANGLE,), SHA), "must hold shapes, or an alpha"),
        (lambda: PutAnnotation("s", 1, "hero", (TRIANGLE,), absent=True), "say that the object is not in this frame"),
        (lambda: PutAnnotation("s", 1, "hero", (TRIANGLE, None)), "must be a list of shapes"),
        (lambda: PutAnnotation("s", 1, "hero", (TRIANGLE,) * 20_000), "render it to an alpha instead"),
        (lambda: Propagate("s", 5, 4), "frame range 5-4 ends before it begins"),
        (lambda: Propagate("s", 1, 4, handles=-1), "Propagate.handles is -1; it must be in [0, 100000]"),
        (lambda: Propagate("s", 1, 4, device="gpu"), "auto, cpu, cuda or cuda:1"),
        (lambda: Propagate("s", 1, 4, engine="../x"), "an engine's name"),
        (lambda: Propagate("s", 1, 4, refine_edges=1), "must be true or false"),
        (lambda: FrameOffer(1, SHA.upper(), 10, ".exr"), "lower-case hex"),
        (lambda: FrameOffer(1, SHA, 0, ".exr"), "FrameOffer.size is 0"),
        (lambda: FrameOffer(1, SHA, 10, "/../x"), "a file suffix"),
        (lambda: Chunk(SHA, 0, b""), "has 0 bytes; it must have 1 to 1048576"),
        (lambda: Chunk(SHA, 0, bytes(1048577)), "has 1048577 bytes"),
        (lambda: Chunk(SHA, 0, "text"), "must be bytes"),
        (lambda: Hello(2, 1, "nuke", "1"), "protocols 2 to 1, an empty range"),
        (lambda: Progress(JOB, 1, 2, "x", float("inf")), "frames_per_second is inf"),
        (lambda: ResumeJob(JOB, range(100_001)), "at most 100000"),
        (lambda: ResumeJob("xyz"), "32 hex digits"),
        (lambda: ErrorReply("lower", "text"), "an error code in capitals"),
    ],
)
def test_a_message_refuses_what_it_must_not_hold(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        make()
    assert words in str(caught.value)


def test_frames_are_kept_ascending_and_once() -> None:
    assert JobFinished(JOB, [3, 1, 2, 3], "warp", "", 1).frames == (1, 2, 3)


def test_whole_numbers_become_floats_where_floats_travel() -> None:
    seconds = JobFinished(JOB, (), "warp", "", 2).seconds
    assert type(seconds) is float
    assert seconds == 2.0


def test_a_long_sentence_is_cut_at_a_whole_character() -> None:
    assert sentence("é" * 1000) == "é" * 750
    assert sentence("short") == "short"
