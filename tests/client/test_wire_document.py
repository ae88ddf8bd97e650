"""``backend/docs/wire-protocol.md`` says what the code does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from rotomem_client import messages
from rotomem_client.messages import MESSAGE_TYPES

DOCUMENT = (Path(__file__).resolve().parents[2] / "backend" / "docs" / "wire-protocol.md").read_text(encoding="utf-8")
ROWS = {row.group(1): row.group(0) for row in re.finditer(r"^\| `([a-z_]+)` \|.*$", DOCUMENT, re.MULTILINE)}


def test_the_document_has_a_row_for_each_message_and_for_nothing_else() -> None:
    assert set(ROWS) == set(MESSAGE_TYPES)


@pytest.mark.parametrize("type_name", sorted(MESSAGE_TYPES))
def test_a_row_names_every_field(type_name: str) -> None:
    missing = [
        field.name for field in dataclasses.fields(MESSAGE_TYPES[type_name]) if f"`{field.name}`" not in ROWS[type_name]
    ]
    assert missing == []


@pytest.mark.parametrize("record", [messages.Plate, messages.Limits, messages.FrameOffer])
def test_nested_records_are_described(record: type) -> None:
    missing = [field.name for field in dataclasses.fields(record) if f"`{field.name}`" not in DOCUMENT]
    assert missing == []


def test_every_error_code_of_the_backend_is_listed() -> None:
    from rotomem import errors
    from rotomem.daemon import refusals

    codes = {
        value.code
        for module in (errors, refusals)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, errors.RotomemError)
    }
    # These never answer a request: the daemon does not start, has no such job, or calls it cancelled.
    codes -= {"PORT_TAKEN", "DAEMON", "CANCELLED"}
    listed = set(re.findall(r"`([A-Z_]{4,})`", DOCUMENT.split("## Error codes")[1].split("## Versions")[0]))
    assert codes <= listed


def test_the_limits_are_those_of_the_code() -> None:
    limits = messages.Limits()
    assert "at most 65,536 bytes" in DOCUMENT
    assert limits.header_bytes == 65_536
    assert "`window_bytes`\n(8 MiB" in DOCUMENT
    assert limits.window_bytes == 8 * 2**20
    assert "`payload`, at most 1 MiB" in DOCUMENT
    assert limits.chunk_bytes == 2**20
    assert "at most 4 MiB each" in DOCUMENT
    assert limits.part_bytes == 4 * 2**20
