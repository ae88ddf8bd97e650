"""The node's cache folder from the farm's side: what is there, which of it is current, and what the node is told.

The node reads ``rotomem.json`` beside the mattes when a script is opened (``rotomem_nuke/cache.py``): its fields are in
``backend/docs/farm.md``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rotomem.errors import OutputUnwritableError, PlateError
from rotomem.plates import FramePattern, read_matte_metadata
from rotomem.propagation.engine import Engine
from rotomem.session.job_file import JobShot

NOTE = "rotomem.json"


def current_frames(shot: JobShot, engine: Engine) -> frozenset[int]:
    """Return the frames whose mattes on disk this job would make again just so.

    A matte says so itself (its revision is the job's recipe, its engine and weights are ``engine``'s); or the node's
    note does: a finished propagation of the same fingerprint.
    """
    task = shot.task
    there = [frame for frame in FramePattern.parse(task.output_pattern).frames_on_disk() if frame in shot.wanted]
    note = read_note(task.output_pattern)
    made_by = [engine.name, engine.weights_sha256]
    if shot.fingerprint and note.get("fingerprint") == shot.fingerprint:
        whole = note.get("complete") is True and not note.get("older")
        if whole and [note.get("engine"), note.get("weights_sha256")] == made_by:
            return frozenset(there)
    return frozenset(frame for frame in there if _made_by(task.output_pattern, frame) == [task.revision, *made_by])


def refuse_frozen(shot: JobShot) -> None:
    """Raises ``OutputUnwritableError`` where the artist has locked the mattes."""
    if read_note(shot.task.output_pattern).get("frozen") is True:
        folder = Path(shot.task.output_pattern).parent
        raise OutputUnwritableError(
            f"the mattes in {folder} are frozen; press 'version up' in Nuke and export the job again"
        )


def read_note(pattern: str) -> dict[str, Any]:
    """Return what lies beside the mattes; empty where nothing does, or nothing that can be read."""
    try:
        content = json.loads((Path(pattern).parent / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_note(shot: JobShot, engine: Engine) -> bool:
    """Tell the node what the folder holds now; return whether every wanted frame has its matte.

    Raises:
        OutputUnwritableError: the folder cannot be written.
    """
    task = shot.task
    there = FramePattern.parse(task.output_pattern).frames_on_disk()
    current = current_frames(shot, engine)
    complete = all(frame in current for frame in shot.wanted)
    content = {
        "fingerprint": shot.fingerprint,
        "first": shot.wanted[0],
        "last": shot.wanted[-1],
        "shown_first": shot.shown_first,
        "shown_last": shot.shown_last,
        "annotated": len({annotation.frame for annotation in task.annotations}),
        "complete": complete,
        "older": len(there) - len(current),
        "job": "",
        "endpoint": "",
        "engine": engine.name,
        "weights_sha256": engine.weights_sha256,
        "objects": list(task.objects),
        "frozen": False,
    }
    path = Path(task.output_pattern).parent / NOTE
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise OutputUnwritableError(
            f"the cache folder {path.parent} cannot be written: {error.strerror}; change its permissions, or map the "
            "path with --map"
        ) from error
    return complete


def check_folder(shot: JobShot) -> None:
    """Raises ``OutputUnwritableError`` where the mattes' folder can neither be written nor made."""
    folder = Path(shot.task.output_pattern).parent
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise OutputUnwritableError(
            f"the mattes go to {folder}, and {existing} cannot be written; change its permissions, or map the path "
            "with --map"
        )


def _made_by(pattern: str, frame: int) -> list[Any]:
    try:
        metadata = read_matte_metadata(FramePattern.parse(pattern).path(frame))
    except PlateError:
        return []
    return [] if metadata.preview else [metadata.revision, metadata.engine, metadata.weights_sha256]
