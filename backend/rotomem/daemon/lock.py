"""One daemon per store."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

from rotomem.errors import StoreError


class StoreLock:
    """An exclusive lock on a file, held until ``release`` or the end of the process, however it ends.

    Raises:
        StoreError: another process holds it; the sentence names its process id.
    """

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = open(path, "a+", encoding="utf-8")
        try:
            _lock(self._file)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise StoreError(
                f"the store {path.parent} is in use by another daemon (process {holder}): stop that one, "
                "or give this one a store of its own"
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.close()


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        # A byte far behind the process id, so that others can still read that.
        file.seek(1 << 20)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
