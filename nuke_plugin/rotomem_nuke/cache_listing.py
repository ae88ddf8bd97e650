"""What lies in a node's cache folder, and clearing old versions away, for scripts. Main thread."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rotomem_nuke import cache
from rotomem_nuke.collection import views_of
from rotomem_nuke.node import RotomemNode


@dataclass(frozen=True)
class Cached:
    """The mattes of one version (and view) of one node on disk.

    Args:
        node_uuid: of the node that they belong to.
        view: empty in a script with a single view.
        folder: that they are in.
        frames: ascending.
        size: in bytes, of the mattes.
        complete: every frame asked for is there.
        frozen: locked by the artist.
    """

    node_uuid: str
    version: int
    view: str
    folder: Path
    frames: tuple[int, ...]
    size: int
    complete: bool
    frozen: bool


def list_caches(rotomem: RotomemNode) -> tuple[Cached, ...]:
    """Return what lies in the cache folder that the node uses, of every node and version that is in there."""
    pattern = rotomem.settings(views_of(rotomem.settings())[0]).mattes
    inside_view = 1 if views_of(rotomem.settings()) != [""] else 0
    return tuple(_cached(found) for found in cache.version_folders(Path(pattern).parents[2 + inside_view]))


def clean_caches(rotomem: RotomemNode, *, keep: int, dry_run: bool) -> tuple[Cached, ...]:
    """Delete the mattes of the node's older versions; return what was, or with ``dry_run`` would be, deleted.

    Never deleted: frozen versions, the version that the node shows, and other nodes' mattes.

    Args:
        keep: how many of the newest versions stay.

    Raises:
        CacheError: a file cannot be deleted.
    """
    settings = rotomem.settings()
    mine = [entry for entry in list_caches(rotomem) if entry.node_uuid == settings.node_uuid]
    versions = sorted({entry.version for entry in mine}, reverse=True)
    kept = {settings.version, *versions[: max(0, keep)]}
    old = tuple(entry for entry in mine if entry.version not in kept and not entry.frozen)
    if not dry_run:
        for entry in old:
            cache.clear_mattes(str(entry.folder / "matte.%04d.exr"))
            _remove_empty(entry.folder)
    return old


def _cached(found: cache.VersionFolder) -> Cached:
    pattern = str(found.folder / "matte.%04d.exr")
    frames = tuple(cache.frames_on_disk(pattern))
    manifest = cache.read_manifest(pattern) or cache.Manifest()
    size = sum(cache.matte_file(pattern, frame).stat().st_size for frame in frames)
    return Cached(
        found.node_uuid, found.version, found.view, found.folder, frames, size, manifest.complete, manifest.frozen
    )


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        shutil.rmtree(str(folder), ignore_errors=True)
