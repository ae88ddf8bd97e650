"""A message as bytes: ``[b"RM1", header, part, …]``. No sockets.

The header is a msgpack map of at most 64 KiB: ``type``, ``id``, then exactly the message's fields. Pixels and control
points travel in the parts behind it. Whatever the bytes are, ``decode`` returns an ``Envelope`` or raises
``ProtocolError``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from rotomem_client.errors import InvalidValueError, ProtocolError
from rotomem_client.fields import Bulk, pack_fields, unpack_fields
from rotomem_client.messages import (
    MAX_HEADER_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
    MESSAGE_TYPES,
    PROTOCOL_MAX,
    Message,
)

MAGIC = b"RM1"

_REQUEST_ID = re.compile("[0-9a-f]{0,32}")


@dataclass(frozen=True)
class Envelope:
    """A message with the id of the request that it is, or answers; empty for events and credit."""

    message: Message
    request_id: str = ""


def encode(message: Message, request_id: str = "", protocol: int = PROTOCOL_MAX) -> list[bytes]:
    """Return the parts of one message, as the given protocol has it.

    Raises:
        InvalidValueError: the header would exceed 64 KiB, or that protocol has no such message.
    """
    if message.since > protocol:
        raise InvalidValueError(f"protocol {protocol} has no message {message.type_name}: update the other side")
    bulk = Bulk((), protocol)
    header = {"type": message.type_name, "id": request_id, **pack_fields(message, bulk)}
    packed: bytes = msgpack.packb(header, use_bin_type=True)
    if len(packed) > MAX_HEADER_BYTES:
        raise InvalidValueError(
            f"the header of {message.type_name} has {len(packed)} bytes; at most {MAX_HEADER_BYTES} are allowed: "
            "send fewer entries at once, or render the shapes to an alpha"
        )
    return [MAGIC, packed, *bulk]


def decode(parts: Sequence[bytes], protocol: int = PROTOCOL_MAX) -> Envelope:
    """Read one message of the given protocol.

    Raises:
        ProtocolError: the bytes are no message, or break a limit. Nothing else is ever raised.
    """
    if not 2 <= len(parts) <= MAX_PARTS:
        raise ProtocolError(f"a message has 2 to {MAX_PARTS} parts, this one has {len(parts)}")
    if parts[0] != MAGIC:
        raise ProtocolError("this is not a Rotomem message: it does not begin with RM1")
    if len(parts[1]) > MAX_HEADER_BYTES:
        raise ProtocolError(f"the header has {len(parts[1])} bytes; at most {MAX_HEADER_BYTES} are allowed")
    bulk = Bulk(parts[2:], protocol)
    for part in bulk:
        if len(part) > MAX_PART_BYTES:
            raise ProtocolError(f"a part has {len(part)} bytes; at most {MAX_PART_BYTES} are allowed")
    header = _read_header(parts[1])
    type_name = header.pop("type", None)
    request_id = header.pop("id", None)
    if type(request_id) is not str or not _REQUEST_ID.fullmatch(request_id):
        raise ProtocolError("the header's id must be at most 32 hex digits")
    known = type(type_name) is str and type_name in MESSAGE_TYPES
    if not known or MESSAGE_TYPES[type_name].since > protocol:
        raise ProtocolError(f"there is no message of type {str(type_name)[:40]!r}")
    message = unpack_fields(MESSAGE_TYPES[type_name], type_name, header, bulk)
    if bulk:
        raise ProtocolError(f"{type_name} is followed by {len(bulk)} parts that it does not announce")
    return Envelope(message, request_id)


def peek_request_id(parts: Sequence[bytes]) -> str:
    """Return the id in a message's header as far as one can be read, so that a refusal reaches whoever waits."""
    if len(parts) < 2 or len(parts[1]) > MAX_HEADER_BYTES:
        return ""
    try:
        request_id = _read_header(parts[1]).get("id")
    except ProtocolError:
        return ""
    return request_id if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id) else ""


def _read_header(packed: bytes) -> dict[str, Any]:
    try:
        header = msgpack.unpackb(
            packed, raw=False, strict_map_key=True, object_pairs_hook=_unique_keys, ext_hook=_refuse_extension
        )
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ProtocolError(f"the header is not valid msgpack: {type(error).__name__} {error}"[:300]) from None
    if type(header) is not dict:
        raise ProtocolError("the header must be a map")
    return header


def _unique_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise ValueError("a key occurs twice")
    return plain


def _refuse_extension(code: int, payload: bytes) -> Any:
    raise ValueError(f"extension type {code}")
