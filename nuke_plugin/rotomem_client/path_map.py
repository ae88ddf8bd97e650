"""The same storage under two names: ``Z:/shows`` for an artist on Windows, ``/mnt/shows`` for a farm on Linux."""

from __future__ import annotations

from collections.abc import Iterable

from rotomem_client.errors import InvalidValueError

PathMap = tuple[tuple[str, str], ...]


def parse_path_map(entries: Iterable[str]) -> PathMap:
    """Read ``FROM=TO`` entries.

    Raises:
        InvalidValueError: an entry without both sides.
    """
    pairs = []
    for entry in entries:
        source, separator, target = entry.partition("=")
        if not separator or not source.strip() or not target.strip():
            raise InvalidValueError(f"the path mapping {entry!r} must be FROM=TO, such as Z:/shows=/mnt/shows")
        pairs.append((_normal(source), _normal(target)))
    return tuple(pairs)


def map_path(path: str, mapping: PathMap) -> str:
    """Return ``path`` with the longest matching folder replaced, forward slashes throughout.

    Only whole folder names match: ``/mnt/a`` is no part of ``/mnt/ab``. Windows paths match in either case.
    """
    plain = path.replace("\\", "/")
    for source, target in sorted(mapping, key=lambda pair: -len(pair[0])):
        head, rest = plain[: len(source)], plain[len(source) :]
        same = head.lower() == source.lower() if source[1:2] == ":" or source.startswith("//") else head == source
        if same and (not rest or rest.startswith("/")):
            return target + rest
    return plain


def _normal(folder: str) -> str:
    return folder.strip().replace("\\", "/").rstrip("/") or "/"
