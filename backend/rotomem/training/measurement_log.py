"""Measurements as they are finished, on disk: an interrupted evaluation goes on where it stopped."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

from rotomem.errors import OutputUnwritableError, SettingError
from rotomem.training.scores import ClipScore, Condition

VERSION = 1
"""Of what is measured and how; measurements of another version count as missing."""


class MeasurementLog:
    """A file of JSON lines, one for each finished measurement, appended to and never rewritten.

    Raises:
        SettingError: the file holds something else.
        OutputUnwritableError: it cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scores: dict[tuple[Condition, str], ClipScore] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._read()
        except OSError as error:
            raise _unwritable(path, error) from error

    def find(self, condition: Condition, fingerprint: str) -> ClipScore | None:
        """Return what was measured under exactly this condition on exactly this footage."""
        return self._scores.get((condition, fingerprint))

    def add(self, score: ClipScore, fingerprint: str) -> None:
        """Append one measurement; it is on disk when this returns."""
        line = json.dumps({"version": VERSION, "fingerprint": fingerprint, **asdict(score)}) + "\n"
        try:
            with self._path.open("ab") as file:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._scores[score.condition, fingerprint] = score

    def _read(self) -> None:
        if not self._path.exists():
            return
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            # Killed in the middle of a line: that measurement is made again.
            os.truncate(self._path, whole)
        for number, line in enumerate(content[:whole].decode("utf-8", "replace").splitlines(), 1):
            try:
                entry = json.loads(line)
                version, fingerprint = entry.pop("version"), entry.pop("fingerprint")
                if version == VERSION:
                    score = ClipScore(condition=Condition(**entry.pop("condition")), **entry)
                    self._scores[score.condition, fingerprint] = score
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise SettingError(
                    f"line {number} of {self._path} is not a measurement; remove the line or choose another folder"
                ) from error


def _unwritable(path: Path, error: OSError) -> OutputUnwritableError:
    return OutputUnwritableError(f"measurements cannot be kept in {path}: {error.strerror}; choose another folder")
