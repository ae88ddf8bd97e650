"""Packed data that waits: in main memory up to a bound, beyond it in a temporary file."""

from __future__ import annotations

import tempfile
import weakref
from typing import IO


class Spool:
    """Holds byte strings until they are let go of.

    Args:
        max_bytes: held in main memory; what comes on top lies in a file that vanishes with the process. Its space is
            used anew once nothing in it is held any more.
    """

    def __init__(self, max_bytes: int) -> None:
        self._room = max_bytes
        self._file: IO[bytes] | None = None
        self._end = 0
        self._filed = 0

    def hold(self, data: bytes) -> Held:
        """Take ``data``; it is held as long as what is returned."""
        if len(data) <= self._room:
            self._room -= len(data)
            held = Held(data, None, 0, len(data))
            weakref.finalize(held, self._free_memory, len(data))
            return held
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="rotomem-waiting-")
        self._file.seek(self._end)
        self._file.write(data)
        held = Held(None, self._file, self._end, len(data))
        self._end += len(data)
        self._filed += 1
        weakref.finalize(held, self._free_filed)
        return held

    def _free_memory(self, size: int) -> None:
        self._room += size

    def _free_filed(self) -> None:
        self._filed -= 1
        if not self._filed:
            self._end = 0


class Held:
    """Bytes in a spool."""

    def __init__(self, data: bytes | None, file: IO[bytes] | None, start: int, size: int) -> None:
        self._data, self._file, self._start, self._size = data, file, start, size

    @property
    def in_memory(self) -> bool:
        """False where the bytes lie in the file."""
        return self._file is None

    def read(self) -> bytes:
        """Return the bytes."""
        if self._file is None:
            return self._data or b""
        self._file.seek(self._start)
        return self._file.read(self._size)
