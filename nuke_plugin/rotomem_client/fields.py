"""What one field of a message may hold: checked when a message is made, and packed to plain msgpack values.

A field declares its kind in its dataclass metadata::

    frame: int = field(metadata=kind(Integer(-10, 10)))

Whatever passes ``check`` can be packed, and whatever unpacks has passed ``check``. A field with ``since=2`` travels
only where both sides speak protocol 2; to and from an older client it is left out, and has its default.
"""

from __future__ import annotations

import dataclasses
import math
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional

from rotomem_client.errors import ClientError, InvalidValueError, ProtocolError
from rotomem_client.shapes import MAX_POINTS, ControlPoint, Outline, Shape

_KIND = "rotomem.kind"
_SINCE = "rotomem.since"
_POINT = struct.Struct("<12d")
_OUTLINE_POINT = struct.Struct("<6d")
MAX_OUTLINE_FRAMES = 256


class Bulk(list[bytes]):
    """The parts behind the header, as bytes, of a message in one protocol version."""

    def __init__(self, parts: Sequence[bytes], protocol: int) -> None:
        super().__init__(parts)
        self.protocol = protocol


class Kind:
    """One kind of value. ``label`` is for sentences, such as ``propagate.first``."""

    def check(self, label: str, value: Any) -> Any:
        """Return the value in its normal form, or raise ``InvalidValueError``."""
        raise NotImplementedError

    def pack(self, value: Any, parts: Bulk) -> Any:
        """Return msgpack's form of a checked value; bulk bytes are appended to ``parts`` instead."""
        return value

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        """Undo ``pack``, taking bulk bytes from the front of ``parts``; the result is not checked yet."""
        return plain


def kind(value: Kind, *, since: int = 1) -> dict[str, Any]:
    """Return the dataclass metadata that declares a field's kind, and the first protocol that has the field."""
    return {_KIND: value, _SINCE: since}


def kind_of(field: dataclasses.Field[Any]) -> Kind:
    found: Kind = field.metadata[_KIND]
    return found


class Record:
    """Base of the frozen dataclasses that travel: checks each field when an instance is made."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            label = f"{type(self).__name__}.{field.name}"
            object.__setattr__(self, field.name, kind_of(field).check(label, getattr(self, field.name)))


class Text(Kind):
    """UTF-8 text of at most ``limit`` bytes; ``pattern``, if there is one, must match all of it."""

    def __init__(self, limit: int, *, pattern: str = "", rule: str = "") -> None:
        self.limit = limit
        self.pattern = re.compile(pattern) if pattern else None
        self.rule = rule

    def check(self, label: str, value: Any) -> str:
        if type(value) is not str:
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be text")
        try:
            size = len(value.encode("utf-8"))
        except UnicodeEncodeError:
            raise InvalidValueError(f"{label} is {_shorten(value)}, which is not valid Unicode") from None
        if size > self.limit:
            raise InvalidValueError(f"{label} has {size} bytes; at most {self.limit} are allowed")
        if self.pattern is not None and not self.pattern.fullmatch(value):
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be {self.rule}")
        return value


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *values: str) -> None:
        self.values = values

    def check(self, label: str, value: Any) -> str:
        if type(value) is not str or value not in self.values:
            raise InvalidValueError("{} is {}; it must be {}".format(label, _shorten(value), " or ".join(self.values)))
        return value


class Integer(Kind):
    """A whole number in [low, high]; ``True`` is none."""

    def __init__(self, low: int, high: int) -> None:
        self.low = low
        self.high = high

    def check(self, label: str, value: Any) -> int:
        if type(value) is not int:
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be a whole number")
        if not self.low <= value <= self.high:
            raise InvalidValueError(f"{label} is {value}; it must be in [{self.low}, {self.high}]")
        return value


class Number(Kind):
    """A finite number in [low, high]; travels as float64."""

    def __init__(self, low: float, high: float) -> None:
        self.low = low
        self.high = high

    def check(self, label: str, value: Any) -> float:
        if type(value) not in (int, float):
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be a number")
        if not (math.isfinite(value) and self.low <= value <= self.high):
            raise InvalidValueError(f"{label} is {value}; it must be in [{self.low}, {self.high}]")
        return float(value)

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        if type(plain) is not float:
            raise ProtocolError(f"{label} is {_shorten(plain)}; it must be a float64")
        return plain


class Flag(Kind):
    """True or false."""

    def check(self, label: str, value: Any) -> bool:
        if type(value) is not bool:
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be true or false")
        return value


class OptionalOf(Kind):
    """A value of another kind, or None; nil on the wire."""

    def __init__(self, item: Kind) -> None:
        self.item = item

    def check(self, label: str, value: Any) -> Any:
        return None if value is None else self.item.check(label, value)

    def pack(self, value: Any, parts: Bulk) -> Any:
        return None if value is None else self.item.pack(value, parts)

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        return None if plain is None else self.item.unpack(label, plain, parts)


class ListOf(Kind):
    """At most ``limit`` values of one kind; a tuple here, an array on the wire."""

    def __init__(self, item: Kind, limit: int) -> None:
        self.item = item
        self.limit = limit

    def check(self, label: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be a list")
        if len(value) > self.limit:
            raise InvalidValueError(f"{label} has {len(value)} entries; at most {self.limit} are allowed")
        return tuple(self.item.check(label, entry) for entry in value)

    def pack(self, value: Any, parts: Bulk) -> Any:
        return [self.item.pack(entry, parts) for entry in value]

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        if type(plain) is not list or len(plain) > self.limit:
            raise ProtocolError(f"{label} must be a list of at most {self.limit} entries")
        return tuple(self.item.unpack(label, entry, parts) for entry in plain)


class RecordOf(Kind):
    """A nested record; a map on the wire."""

    def __init__(self, record: Callable[..., Any]) -> None:
        self.record = record

    def check(self, label: str, value: Any) -> Any:
        if type(value) is not self.record:
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be a {self.record.__name__}")
        return value

    def pack(self, value: Any, parts: Bulk) -> Any:
        return pack_fields(value, parts)

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        return unpack_fields(self.record, label, plain, parts)


class Frames(Kind):
    """A set of frame numbers: an ascending tuple here, ``[first, last, first, last, …]`` on the wire."""

    def __init__(self, item: Integer, limit: int) -> None:
        self.item = item
        self.limit = limit

    def check(self, label: str, value: Any) -> tuple[int, ...]:
        if not isinstance(value, (list, tuple, set, frozenset, range)):
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be frame numbers")
        if len(value) > self.limit:
            raise InvalidValueError(f"{label} has {len(value)} frames; at most {self.limit} are allowed")
        return tuple(sorted({self.item.check(label, frame) for frame in value}))

    def pack(self, value: Any, parts: Bulk) -> Any:
        ends: list[int] = []
        for frame in value:
            if ends and ends[-1] == frame - 1:
                ends[-1] = frame
            else:
                ends += [frame, frame]
        return ends

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        if type(plain) is not list or len(plain) % 2 or any(type(end) is not int for end in plain):
            raise ProtocolError(f"{label} must be first and last frames in pairs")
        frames: list[int] = []
        for first, last in zip(plain[::2], plain[1::2]):
            if last < first or (frames and first <= frames[-1] + 1):
                raise ProtocolError(f"{label} must be ascending ranges that do not touch")
            if len(frames) + last - first + 1 > self.limit:
                raise ProtocolError(f"{label} has more than {self.limit} frames")
            frames.extend(range(first, last + 1))
        return tuple(frames)


class Payload(Kind):
    """1 to ``limit`` raw bytes: the header holds their count, the bytes travel as one part of their own."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def check(self, label: str, value: Any) -> bytes:
        if type(value) is not bytes:
            raise InvalidValueError(f"{label} is {_shorten(value)}; it must be bytes")
        if not 1 <= len(value) <= self.limit:
            raise InvalidValueError(f"{label} has {len(value)} bytes; it must have 1 to {self.limit}")
        return value

    def pack(self, value: Any, parts: Bulk) -> Any:
        parts.append(value)
        return len(value)

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        return _take_part(label, plain, parts)


class Shapes(Kind):
    """Roto shapes. The header lists each shape without its points; all points travel as one part.

    The part holds 12 little-endian float64 per point, in the order of ``ControlPoint``'s fields, shape after shape:
    nothing in it needs parsing, so a hostile one costs no more than its size. No shapes, no part.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def check(self, label: str, value: Any) -> tuple[Shape, ...]:
        if not isinstance(value, (list, tuple)) or any(type(shape) is not Shape for shape in value):
            raise InvalidValueError(f"{label} must be a list of shapes")
        size = sum(len(shape.points) for shape in value) * _POINT.size
        if size > self.limit:
            raise InvalidValueError(
                f"{label} has {size // _POINT.size} control points; at most {self.limit // _POINT.size} fit into one "
                "annotation: render it to an alpha instead"
            )
        for shape in value:
            _ShapeHead.of(shape)
        return tuple(value)

    def pack(self, value: Any, parts: Bulk) -> Any:
        if value:
            parts.append(b"".join(_pack_point(point) for shape in value for point in shape.points))
        return [pack_fields(_ShapeHead.of(shape), parts) for shape in value]

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        if type(plain) is not list:
            raise ProtocolError(f"{label} must be a list of shapes")
        if not plain:
            return ()
        heads = [unpack_fields(_ShapeHead, label, entry, parts) for entry in plain]
        packed = _take_part(label, sum(head.points for head in heads) * _POINT.size, parts)
        points = (_unpack_point(numbers) for numbers in _POINT.iter_unpack(packed))
        return tuple(head.with_points([next(points) for _ in range(head.points)]) for head in heads)


class Outlines(Kind):
    """Outlines over time. The header lists each without its points; all points travel as one part.

    The part holds 6 little-endian float64 per point - centre, left, right - point after point, frame after frame,
    outline after outline. No outlines, no part.

    Args:
        limit: of the part, in bytes.
        count: of outlines.
    """

    def __init__(self, limit: int, count: int) -> None:
        self.limit = limit
        self.count = count

    def check(self, label: str, value: Any) -> tuple[Outline, ...]:
        if not isinstance(value, (list, tuple)) or any(type(outline) is not Outline for outline in value):
            raise InvalidValueError(f"{label} must be a list of outlines")
        size = sum(len(outline.frames) * len(outline.points[0]) for outline in value) * _OUTLINE_POINT.size
        if size > self.limit or len(value) > self.count:
            raise InvalidValueError(
                f"{label} has {len(value)} outlines with {size // _OUTLINE_POINT.size} points in all; at most "
                f"{self.count} with {self.limit // _OUTLINE_POINT.size} fit: raise the tolerance, or ask for fewer "
                "frames"
            )
        for outline in value:
            _OutlineHead.of(outline)
        return tuple(value)

    def pack(self, value: Any, parts: Bulk) -> Any:
        if value:
            points = (point for outline in value for row in outline.points for point in row)
            parts.append(b"".join(_OUTLINE_POINT.pack(*p.center, *p.left, *p.right) for p in points))
        return [pack_fields(_OutlineHead.of(outline), parts) for outline in value]

    def unpack(self, label: str, plain: Any, parts: Bulk) -> Any:
        if type(plain) is not list or len(plain) > self.count:
            raise ProtocolError(f"{label} must be a list of at most {self.count} outlines")
        heads = [unpack_fields(_OutlineHead, label, entry, parts) for entry in plain]
        if not heads:
            return ()
        size = sum(len(head.frames) * head.points for head in heads) * _OUTLINE_POINT.size
        numbers = _OUTLINE_POINT.iter_unpack(_take_part(label, size, parts))
        return tuple(head.with_points(numbers) for head in heads)


@dataclasses.dataclass(frozen=True)
class _OutlineHead(Record):
    name: str = dataclasses.field(metadata=kind(Text(128)))
    hole: bool = dataclasses.field(metadata=kind(Flag()))
    frames: tuple[int, ...] = dataclasses.field(
        metadata=kind(Frames(Integer(-10_000_000, 10_000_000), MAX_OUTLINE_FRAMES))
    )
    points: int = dataclasses.field(metadata=kind(Integer(2, MAX_POINTS)))

    @classmethod
    def of(cls, outline: Outline) -> _OutlineHead:
        return cls(outline.name, outline.hole, outline.frames, len(outline.points[0]))

    def with_points(self, numbers: Iterator[Sequence[float]]) -> Outline:
        try:
            rows = tuple(
                tuple(_outline_point(next(numbers)) for _ in range(self.points)) for _ in range(len(self.frames))
            )
            return Outline(self.name, self.hole, self.frames, rows)
        except ClientError as error:
            raise ProtocolError(str(error)) from None


@dataclasses.dataclass(frozen=True)
class _ShapeHead(Record):
    name: str = dataclasses.field(metadata=kind(Text(128)))
    points: int = dataclasses.field(metadata=kind(Integer(2, MAX_POINTS)))
    opacity: float = dataclasses.field(metadata=kind(Number(0.0, 1.0)))
    inverted: bool = dataclasses.field(metadata=kind(Flag()))
    blend_mode: str = dataclasses.field(metadata=kind(Text(16)))
    feather_falloff: float = dataclasses.field(metadata=kind(Number(0.0, 1e6)))

    @classmethod
    def of(cls, shape: Shape) -> _ShapeHead:
        return cls(
            name=shape.name,
            points=len(shape.points),
            opacity=shape.opacity,
            inverted=shape.inverted,
            blend_mode=shape.blend_mode,
            feather_falloff=shape.feather_falloff,
        )

    def with_points(self, points: Sequence[ControlPoint]) -> Shape:
        return Shape(
            name=self.name,
            points=tuple(points),
            opacity=self.opacity,
            inverted=self.inverted,
            blend_mode=self.blend_mode,
            feather_falloff=self.feather_falloff,
        )


def pack_fields(record: Any, parts: Bulk) -> dict[str, Any]:
    """Return a record's fields as a map, in their order of declaration; bulk bytes go to ``parts``."""
    return {
        field.name: kind_of(field).pack(getattr(record, field.name), parts) for field in _fields(record, parts.protocol)
    }


def unpack_fields(record: Callable[..., Any], label: str, plain: Any, parts: Bulk) -> Any:
    """Make a record of a map that holds exactly its fields.

    Raises:
        ProtocolError: a field is missing, unknown or not what it must be.
    """
    fields = _fields(record, parts.protocol)
    names = {field.name for field in fields}
    if type(plain) is not dict:
        raise ProtocolError(f"{label} must be a map")
    if set(plain) != names:
        wrong = ", ".join(sorted(_shorten(name) for name in set(plain) ^ names))
        raise ProtocolError(f"{label}: fields missing or unknown: {wrong[:200]}")
    values = {field.name: kind_of(field).unpack(f"{label}.{field.name}", plain[field.name], parts) for field in fields}
    try:
        return record(**values)
    except ClientError as error:
        raise ProtocolError(str(error)) from None


def _fields(record: Any, protocol: int) -> list[dataclasses.Field[Any]]:
    """Return the fields that a record has in one protocol, in their order of declaration."""
    return [field for field in dataclasses.fields(record) if field.metadata[_SINCE] <= protocol]


def clip_text(text: str, limit: int) -> str:
    """Return ``text`` cut to ``limit`` bytes of UTF-8 at a whole character, unpaired surrogates replaced."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def _take_part(label: str, size: Any, parts: Bulk) -> bytes:
    part: Optional[bytes] = parts.pop(0) if parts else None
    if part is None or type(size) is not int or len(part) != size:
        raise ProtocolError("{} announces {} bytes, its part has {}".format(label, _shorten(size), len(part or b"")))
    return part


def _pack_point(point: ControlPoint) -> bytes:
    return _POINT.pack(
        *point.center, *point.left, *point.right, *point.feather, *point.feather_left, *point.feather_right
    )


def _outline_point(numbers: Sequence[float]) -> ControlPoint:
    return ControlPoint((numbers[0], numbers[1]), (numbers[2], numbers[3]), (numbers[4], numbers[5]))


def _unpack_point(numbers: Sequence[float]) -> ControlPoint:
    try:
        return ControlPoint(*((numbers[i], numbers[i + 1]) for i in range(0, 12, 2)))
    except ClientError as error:
        raise ProtocolError(str(error)) from None


def _shorten(value: Any) -> str:
    if isinstance(value, (dict, list, tuple, set)):
        return f"a {type(value).__name__} of {len(value)} entries"
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
