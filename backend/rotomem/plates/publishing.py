"""Putting a file in place: whole and durable, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rotomem.errors import DiskFullError, OutputError, OutputUnwritableError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class WrittenFile:
    """A complete file. ``sha256`` is of its bytes, in hexadecimal; ``size`` is in bytes."""

    path: Path
    sha256: str
    size: int


def publish_file(path: Path, write: Callable[[Path], str]) -> WrittenFile:
    """Let ``write`` fill a temporary file in the same folder, sync it, rename it to ``path`` and sync the folder.

    Whoever looks sees the old file, or none, and then the new one; also after a power cut.

    Args:
        write: is given the temporary path; returns what went wrong, or an empty string.

    Raises:
        DiskFullError: no space or quota left.
        OutputUnwritableError: the folder cannot be made or written. In both cases the temporary file is gone.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Open all the while, so that fsync also reports what the system failed to write in between.
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        raise _output_error(path, error) from error
    try:
        try:
            problem = write(temporary)
            if problem:
                _probe_disk(descriptor)
                raise OutputUnwritableError(
                    f"{path} cannot be written: {problem}; check the disk or choose another output"
                )
            os.fsync(descriptor)
            digest = _hash_file(descriptor)
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return WrittenFile(path, digest, size)


def _hash_file(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    digest = hashlib.sha256()
    while block := os.read(descriptor, _BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _probe_disk(descriptor: int) -> None:
    """Ask the operating system itself, because image libraries do not pass its error number on.

    Raises:
        OSError: no more can be written.
    """
    os.lseek(descriptor, 0, os.SEEK_END)
    remaining = _BLOCK_BYTES
    while remaining > 0:
        remaining -= os.write(descriptor, bytes(remaining))
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open folders, and makes renames durable without it.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _output_error(path: Path, error: OSError) -> OutputError:
    if error.errno in _FULL:
        return DiskFullError(
            f"{path} cannot be written because the disk is full ({error.strerror}); free some space and "
            "propagate again: the mattes that are finished are kept"
        )
    return OutputUnwritableError(
        f"{path} cannot be written: {error.strerror}; choose another output or change its permissions"
    )
