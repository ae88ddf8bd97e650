"""Frames' features in a folder: what memory has no room for, and what outlives the process."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

log = logging.getLogger(__name__)

SUFFIX = ".features"
UNFINISHED = ".unfinished"
UNFINISHED_AGE_S = 600.0
"""A file that was not finished for so long never will be: its writer was killed."""
CHECK_BYTES = 4


class DiskTier:
    """Named sets of tensors, bounded in bytes; the least recently used go first.

    Tensors keep their type: float32 on a CPU, so that what is read is bit for bit what was computed. Files appear
    whole or not at all, carry a checksum, and are made again when missing or damaged. A folder that cannot be written
    costs speed, never a result. Several processes may share it.

    Args:
        folder: made when first written to.
        max_bytes: of all files together; 0 keeps nothing.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._byte_count: int | None = None
        self._warned = False

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def load(self, name: str) -> dict[str, Tensor] | None:
        """Return what was saved under ``name``, None if it is missing or damaged."""
        path = self._path(name)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        body = memoryview(content)[CHECK_BYTES:]
        try:
            if content[:CHECK_BYTES] != _checksum(body):
                raise SafetensorError("the checksum differs")
            return safetensors.torch.load(bytes(body))
        except SafetensorError as error:
            log.warning("cached features %s are damaged (%s); they are computed again", path, error)
            self.remove(name)
            return None

    def remove(self, name: str) -> None:
        """Forget what was saved under ``name``, if anything was."""
        with contextlib.suppress(OSError):
            self._path(name).unlink()

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep ``tensors`` unless they are there already; the least recently used files make room."""
        size = sum(tensor.nbytes for tensor in tensors.values())
        if size > self.max_bytes or name in self:
            return
        body = safetensors.torch.save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()})
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(body) + CHECK_BYTES)
            self._write_whole(self._path(name), body)
        except OSError as error:
            if not self._warned:
                log.warning("features cannot be kept in %s: %s; they are computed again", self.folder, error)
            self._warned = True

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{SUFFIX}"

    def _write_whole(self, path: Path, body: bytes) -> None:
        handle, unfinished = tempfile.mkstemp(dir=self.folder, suffix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_checksum(body))
                file.write(body)
            Path(unfinished).replace(path)
        except BaseException:
            Path(unfinished).unlink(missing_ok=True)
            raise

    def _make_room(self, needed: int) -> None:
        """Remove the least recently used files until ``needed`` more bytes fit."""
        if self._byte_count is not None and self._byte_count + needed <= self.max_bytes:
            self._byte_count += needed
            return
        # Counted anew, since other processes write and remove files too.
        files = self._files()
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total + needed <= self.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
        self._byte_count = total + needed

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return (time of last use, bytes, path) of every file, least recently used first; clears what was killed."""
        found = []
        for path in self.folder.iterdir():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if path.suffix == SUFFIX:
                found.append((status.st_mtime, status.st_size, path))
            elif path.suffix == UNFINISHED and time.time() - status.st_mtime > UNFINISHED_AGE_S:
                path.unlink(missing_ok=True)
        return sorted(found)


def _checksum(body: bytes | memoryview) -> bytes:
    return zlib.crc32(body).to_bytes(CHECK_BYTES, "little")
