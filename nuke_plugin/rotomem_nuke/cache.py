"""The cache folder: matte files, and beside them what they were made from. It waits for disk: worker threads only."""

from __future__ import annotations

import json
import logging
import os
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Optional

from rotomem_nuke.errors import CacheError

log = logging.getLogger(__name__)

MANIFEST = "rotomem.json"


@dataclass(frozen=True)
class Manifest:
    """What the mattes of one version (and view) were made from.

    Args:
        fingerprint: of plate, annotations, settings and weights; another one in the graph means that they are stale.
        first: first frame wanted last, handles included.
        last: last one, inclusive.
        shown_first: first frame of the whole plate.
        shown_last: last one, inclusive.
        annotated: how many frames were.
        complete: every frame wanted has its matte.
        older: mattes beside them that an earlier fingerprint made.
        job: the daemon's job that is making them; empty when none is under way.
        endpoint: of that daemon.
        engine: that made them.
        weights_sha256: empty for engines without weights.
        objects: names of the layers, beside the union in the alpha.
        frozen: locked by the artist.
    """

    fingerprint: str = ""
    first: int = 0
    last: int = 0
    shown_first: int = 0
    shown_last: int = 0
    annotated: int = 0
    complete: bool = False
    older: int = 0
    job: str = ""
    endpoint: str = ""
    engine: str = ""
    weights_sha256: str = ""
    objects: tuple[str, ...] = ()
    frozen: bool = False


def manifest_path(pattern: str) -> Path:
    return Path(pattern).parent / MANIFEST


def read_manifest(pattern: str) -> Optional[Manifest]:
    """Return what lies beside the mattes; None where nothing does, or nothing that this version can read."""
    path = manifest_path(pattern)
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s); its mattes count as made from something else", path, error)
        return None
    if not isinstance(plain, dict):
        return None
    known = {field.name: plain[field.name] for field in fields(Manifest) if field.name in plain}
    known["objects"] = tuple(str(name) for name in known.get("objects", ()))
    return Manifest(**known)


def write_manifest(pattern: str, manifest: Manifest) -> None:
    """Replace what lies beside the mattes, whole or not at all.

    Raises:
        CacheError: the folder cannot be written.
    """
    path = manifest_path(pattern)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise CacheError(
            f"cannot write to the cache folder {path.parent}: {error.strerror}; choose another in 'cache folder'"
        ) from error


def frames_on_disk(pattern: str) -> list[int]:
    """Return the frames of a ``name.%04d.exr`` pattern that are files, ascending."""
    folder, name = os.path.split(pattern)
    if not os.path.isdir(folder):
        return []
    head, _, tail = name.partition("%04d")
    numbered = re.compile(re.escape(head) + r"(-?\d{4,})" + re.escape(tail) + "$")
    matches = (numbered.match(entry) for entry in os.listdir(folder))
    return sorted(int(match.group(1)) for match in matches if match)


def matte_file(pattern: str, frame: int) -> Path:
    return Path(pattern.replace("%04d", f"{frame:04d}"))


def next_version(pattern: str, version: int) -> int:
    """Return the first version after ``version`` and after every one that has a folder beside it."""
    versions = [version]
    for folder in Path(pattern).parents:
        if re.fullmatch(r"v\d{3,}", folder.name):
            if folder.parent.is_dir():
                names = (re.fullmatch(r"v(\d{3,})", entry) for entry in os.listdir(folder.parent))
                versions += [int(name.group(1)) for name in names if name]
            break
    return max(versions) + 1


@dataclass(frozen=True)
class VersionFolder:
    """Where the mattes of one version (and view) of one node lie."""

    folder: Path
    node_uuid: str
    version: int
    view: str


def version_folders(root: Path) -> list[VersionFolder]:
    """Return every folder below ``root`` that holds mattes, by node, version and view."""
    found = []
    for folder in sorted({path.parent for path in root.glob("*/v*/**/matte.*.exr")}):
        node_uuid, version, *view = folder.relative_to(root).parts
        if re.fullmatch(r"v\d{3,}", version) and len(view) <= 1:
            found.append(VersionFolder(folder, node_uuid, int(version[1:]), "".join(view)))
    return found


def clear_mattes(pattern: str) -> int:
    """Delete one version's mattes, and nothing else that lies there; return how many.

    Raises:
        CacheError: a file cannot be deleted.
    """
    frames = frames_on_disk(pattern)
    try:
        for frame in frames:
            matte_file(pattern, frame).unlink()
        if manifest_path(pattern).is_file():
            manifest_path(pattern).unlink()
    except OSError as error:
        raise CacheError(
            f"cannot delete {error.filename}: {error.strerror}; close what uses it, then clear again"
        ) from error
    return len(frames)
