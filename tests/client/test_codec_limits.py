"""What the codec refuses, and that it refuses everything by ``ProtocolError`` alone."""

from __future__ import annotations

import dataclasses
import string
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rotomem_client import fields
from rotomem_client.codec import Envelope, decode, encode, peek_request_id
from rotomem_client.errors import InvalidValueError, ProtocolError
from rotomem_client.messages import (
    MESSAGE_TYPES,
    AnnotationStored,
    Chunk,
    FramesWanted,
    Hello,
    Message,
    OpenSession,
    Ping,
    Plate,
    Propagate,
    PutAnnotation,
    SetObjects,
    WantedFile,
)
from rotomem_client.shapes import BLEND_MODES, ControlPoint, Outline, Shape

SHA = "0" * 64
TRIANGLE = Shape("t", (ControlPoint((0.0, 0.0)), ControlPoint((4.0, 0.0)), ControlPoint((0.0, 4.0))))
_FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)
_PAIR = st.tuples(_FINITE, _FINITE)
_POINT = st.builds(ControlPoint, _PAIR, _PAIR, _PAIR, _PAIR, _PAIR, _PAIR)
_SHAPE = st.builds(
    Shape,
    name=st.text(max_size=20),
    points=st.lists(_POINT, min_size=2, max_size=5).map(tuple),
    opacity=st.floats(0, 1),
    inverted=st.booleans(),
    blend_mode=st.sampled_from(BLEND_MODES),
    feather_falloff=st.floats(0.01, 100),
)
_FRAMES = st.sets(st.integers(-10_000_000, 10_000_000), min_size=1, max_size=4).map(sorted).map(tuple)
_OUTLINE_POINT = st.builds(ControlPoint, _PAIR, _PAIR, _PAIR)


@st.composite
def _outlines(draw: st.DrawFn) -> Outline:
    frames, count = draw(_FRAMES), draw(st.integers(2, 5))
    row = st.lists(_OUTLINE_POINT, min_size=count, max_size=count).map(tuple)
    rows = draw(st.lists(row, min_size=len(frames), max_size=len(frames)).map(tuple))
    return Outline(draw(st.text(max_size=20)), draw(st.booleans()), frames, rows)


def values_of(kind: fields.Kind) -> st.SearchStrategy[Any]:
    """Return a strategy for everything that a kind of field allows."""
    if isinstance(kind, fields.Text) and kind.pattern is not None:
        return st.from_regex(kind.pattern, fullmatch=True).filter(lambda text: len(text.encode()) <= kind.limit)
    if isinstance(kind, fields.Text):
        return st.text(max_size=kind.limit // 4)
    if isinstance(kind, fields.Choice):
        return st.sampled_from(kind.values)
    if isinstance(kind, fields.Integer):
        return st.integers(kind.low, kind.high)
    if isinstance(kind, fields.Number):
        return st.floats(kind.low, kind.high)
    if isinstance(kind, fields.Flag):
        return st.booleans()
    if isinstance(kind, fields.ListOf):
        return st.lists(values_of(kind.item), max_size=min(kind.limit, 4)).map(tuple)
    if isinstance(kind, fields.RecordOf):
        return records(kind.record)
    if isinstance(kind, fields.Frames):
        return st.frozensets(values_of(kind.item), max_size=20).map(lambda frames: tuple(sorted(frames)))
    if isinstance(kind, fields.Payload):
        return st.binary(min_size=1, max_size=200)
    if isinstance(kind, fields.OptionalOf):
        return st.none() | values_of(kind.item)
    if isinstance(kind, fields.Outlines):
        return st.lists(_outlines(), max_size=3).map(tuple)
    assert isinstance(kind, fields.Shapes)
    return st.lists(_SHAPE, max_size=3).map(tuple)


def records(record: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for a record; those that break a rule between fields are tried again."""
    columns = {field.name: values_of(fields.kind_of(field)) for field in dataclasses.fields(record)}

    def make(values: dict[str, Any]) -> Any:
        try:
            return record(**values)
        except InvalidValueError:
            return None

    made = st.fixed_dictionaries(columns).map(_obey_rules(record)).map(make)
    return made.filter(lambda value: value is not None)


def _obey_rules(record: Any) -> Any:
    def obey(values: dict[str, Any]) -> dict[str, Any]:
        for low, high in (("first", "last"), ("protocol_min", "protocol_max")):
            if low in values and high in values:
                values[low], values[high] = sorted((values[low], values[high]))
        if record in (OpenSession, SetObjects):
            values["objects"] = tuple(dict.fromkeys(values["objects"])) or ("hero",)
        if record is PutAnnotation:
            if values["shapes"]:
                values.update(alpha_sha256="", absent=False)
            else:
                values["absent"] = not values["alpha_sha256"]
        return values

    return obey


MESSAGES = st.one_of([records(cls) for cls in MESSAGE_TYPES.values()])
REQUEST_IDS = st.text("0123456789abcdef", max_size=32)


@settings(max_examples=150, deadline=None)
@given(MESSAGES, REQUEST_IDS)
def test_every_message_survives_the_wire(message: Message, request_id: str) -> None:
    parts = encode(message, request_id)
    assert decode(parts) == Envelope(message, request_id)
    assert encode(decode(parts).message, request_id) == parts
    assert peek_request_id(parts) == request_id


def _refused(parts: list[bytes]) -> str:
    with pytest.raises(ProtocolError) as caught:
        decode(parts)
    return str(caught.value)


def _pack(**header: Any) -> bytes:
    packed: bytes = msgpack.packb(header)
    return packed


def _changed(message: Message, **changes: Any) -> list[bytes]:
    parts = encode(message, "ab")
    header = msgpack.unpackb(parts[1])
    header.update(changes)
    return [parts[0], msgpack.packb(header), *parts[2:]]


def test_other_protocols_are_refused_by_their_first_part() -> None:
    assert "does not begin with RM1" in _refused([b"GET / HTTP/1.1", b"Host: x"])


def test_a_message_has_two_to_eight_parts() -> None:
    assert "2 to 8 parts, this one has 1" in _refused([b"RM1"])
    assert "2 to 8 parts, this one has 9" in _refused([b"RM1", *[b""] * 8])


def test_parts_that_the_header_does_not_announce_are_refused() -> None:
    assert "followed by 1 parts" in _refused([*encode(Ping(), "ab"), b"more"])


def test_a_part_of_another_length_than_announced_is_refused() -> None:
    parts = encode(Chunk(SHA, 0, b"12345"), "ab")
    assert "announces 5 bytes, its part has 4" in _refused([*parts[:2], b"1234"])
    assert "announces 5 bytes, its part has 0" in _refused(parts[:2])


def test_a_header_above_64_kib_is_refused_on_both_sides() -> None:
    assert "65537 bytes; at most 65536" in _refused([b"RM1", bytes(65537)])
    wanted = tuple(WantedFile(SHA, 2**31) for _ in range(256))
    far_apart = tuple(range(-10_000_000, -9_900_000, 3))
    with pytest.raises(InvalidValueError, match="send fewer entries"):
        encode(FramesWanted(far_apart, wanted))


def test_a_part_above_4_mib_is_refused() -> None:
    assert "4194305 bytes; at most 4194304" in _refused([*encode(Ping(), "ab"), bytes(4194305)])


def test_a_key_that_occurs_twice_is_refused() -> None:
    header = b"\x83\xa4type\xa4ping\xa2id\xa0\xa2id\xa2ab"
    assert "a key occurs twice" in _refused([b"RM1", header])


def test_missing_and_unknown_fields_are_refused_by_name() -> None:
    header = _pack(type="annotation_stored", id="ab", session_id="s", revison=3)
    text = _refused([b"RM1", header])
    assert "'revison'" in text
    assert "'revision'" in text


@pytest.mark.parametrize(
    ("message", "changes", "words"),
    [
        (AnnotationStored("s", 3), {"revision": True}, "must be a whole number"),
        (AnnotationStored("s", 3), {"revision": 3.0}, "must be a whole number"),
        (AnnotationStored("s", 3), {"revision": "3"}, "must be a whole number"),
        (AnnotationStored("s", 3), {"revision": 2**40}, "must be in [0, 2147483647]"),
        (AnnotationStored("s", 3), {"session_id": b"s"}, "must be text"),
        (AnnotationStored("s", 3), {"session_id": "../s"}, "letters, digits"),
        (AnnotationStored("s", 3), {"type": "no_such_type"}, "no message of type 'no_such_type'"),
        (AnnotationStored("s", 3), {"type": ["ping"]}, "no message of type"),
        (AnnotationStored("s", 3), {"id": "xyz"}, "32 hex digits"),
        (AnnotationStored("s", 3), {"id": None}, "32 hex digits"),
        (Propagate("s", 1, 2), {"first": 3}, "ends before it begins"),
        (OpenSession("s", Plate(1, 2), ("a",)), {"plate": []}, "must be a map"),
        (OpenSession("s", Plate(1, 2), ("a",)), {"objects": {"a": 1}}, "must be a list"),
        (OpenSession("s", Plate(1, 2), ("a",)), {"objects": ["a"] * 65}, "at most 64"),
        (PutAnnotation("s", 1, "a", (TRIANGLE,)), {"shapes": []}, "must hold shapes"),
        (PutAnnotation("s", 1, "a", (TRIANGLE,)), {"shapes": [[]]}, "must be a map"),
        (FramesWanted((1,), ()), {"have": [1, 2**31]}, "more than 100000 frames"),
        (FramesWanted((1,), ()), {"have": [1]}, "in pairs"),
        (FramesWanted((1,), ()), {"have": [1, 2, 2, 3]}, "ascending ranges"),
        (FramesWanted((1,), ()), {"have": [3, 1]}, "ascending ranges"),
    ],
)
def test_a_field_that_breaks_its_rule_is_refused(message: Message, changes: dict[str, Any], words: str) -> None:
    assert words in _refused(_changed(message, **changes))


def test_control_points_that_are_no_numbers_are_refused() -> None:
    parts = encode(PutAnnotation("s", 1, "hero", (TRIANGLE,)), "ab")
    nan = b"\x00\x00\x00\x00\x00\x00\xf8\x7f"
    assert "must be two finite numbers" in _refused([*parts[:2], nan + parts[2][8:]])


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\xc1",
        b"\x91" * 60_000,
        b"\x81" * 60_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x81\x01\x02",
        b"\x81\xa1\xff\x01",
        b"\x81\xa4type\xd4\x05\x00",
        b"\x81\xa4type\xc7\x0c\xff" + b"\xff" * 12,
        b"\x80trailing",
        b"\x90",
    ],
)
def test_headers_that_are_no_msgpack_map_are_refused(header: bytes) -> None:
    _refused([b"RM1", header])
    assert peek_request_id([b"RM1", header]) == ""


@settings(max_examples=250, deadline=None)
@given(MESSAGES, st.data())
def test_damaged_messages_are_refused_or_still_messages(message: Message, data: st.DataObject) -> None:
    parts = encode(message, "ab")
    which = data.draw(st.integers(0, len(parts) - 1))
    damaged = bytearray(parts[which])
    for _ in range(data.draw(st.integers(1, 4))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    parts[which] = bytes(damaged)
    _decode_or_refuse(parts)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(string.ascii_lowercase), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(MESSAGE_TYPES)), st.data())
def test_headers_with_wild_values_are_refused_or_messages(type_name: str, data: st.DataObject) -> None:
    names = [field.name for field in dataclasses.fields(MESSAGE_TYPES[type_name])]
    header = {"type": type_name, "id": "ab", **{name: data.draw(_PLAIN) for name in names}}
    _decode_or_refuse([b"RM1", msgpack.packb(header), data.draw(st.binary(max_size=200))])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=10), st.booleans())
def test_random_bytes_are_refused(parts: list[bytes], with_magic: bool) -> None:
    _decode_or_refuse([b"RM1", *parts] if with_magic else parts)


def _decode_or_refuse(parts: list[bytes]) -> None:
    peek_request_id(parts)
    try:
        envelope = decode(parts)
    except ProtocolError:
        return
    # What was accepted is a proper message: it can be sent again.
    assert decode(encode(envelope.message, envelope.request_id)) == envelope


def test_a_hello_of_a_later_version_is_understood() -> None:
    """The fields of hello never change, so that a refusal can name the versions."""
    message = decode(
        [
            b"RM1",
            _pack(
                type="hello",
                id="1",
                protocol_min=7,
                protocol_max=9,
                client="nuke",
                client_version="3.0",
                features=["new"],
            ),
        ]
    ).message
    assert message == Hello(7, 9, "nuke", "3.0", ("new",))
