"""Job files that the Nuke plugin exports: read, checked, turned into tasks. ``backend/docs/farm.md`` is the format."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from rotomem.errors import JobFileError
from rotomem.plates import FramePattern
from rotomem.session.shot import PlateReference, PropagationTask, ShotAnnotation
from rotomem_client.errors import InvalidValueError
from rotomem_client.path_map import PathMap, map_path
from rotomem_client.shapes import shape_from_plain, shape_to_plain

FORMAT = 1
TUNED = ".rotomem_tuned"
"""Folder beside the mattes, for networks that were tuned to the shot."""
_RECIPES_FROM = 2**30
_T = TypeVar("_T")


@dataclass(frozen=True)
class JobShot:
    """One view's work.

    Args:
        task: what to make; its ``revision`` is ``recipe_number``'s once ``with_recipe`` has been called.
        view: empty in a script with a single view.
        shown_first: first frame of the whole plate in Nuke.
        shown_last: last one, inclusive.
        fingerprint: the plugin's, of all that the mattes depend on.
    """

    task: PropagationTask
    view: str
    shown_first: int
    shown_last: int
    fingerprint: str

    @property
    def wanted(self) -> range:
        """The frames that the node wants, handles included."""
        task = self.task
        first = max(task.plate.first, task.first - task.handles)
        return range(first, min(task.plate.last, task.last + task.handles) + 1)


@dataclass(frozen=True)
class JobFile:
    """A whole job.

    Args:
        shots: one a view.
        frames: the only ones to make now; None takes all of the job.
    """

    path: Path
    node: str
    script: str
    shots: tuple[JobShot, ...]
    frames: range | None = None


def read_job_file(path: Path, *, path_map: PathMap = ()) -> JobFile:
    """Read a job.

    Raises:
        JobFileError: the file is missing, is no such JSON, or a field in it is missing or wrong: which, and what to do.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise JobFileError(f"the job {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise JobFileError(f"the job {path} is not valid JSON ({error}); export it again from Nuke") from error
    if not isinstance(content, dict) or content.get("rotomem_job") != FORMAT:
        found = content.get("rotomem_job") if isinstance(content, dict) else None
        raise JobFileError(
            f'the job {path} must hold "rotomem_job": {FORMAT}, and holds {found!r}; export it again with a plugin of '
            "this version"
        )
    fields = _Fields(content, f"the job {path}")
    plain = fields.get("shots", list)
    if not plain:
        raise JobFileError(f"the job {path} has no shot; export it again from Nuke")
    reader = _ShotReader(path.resolve().parent, path_map, fields.get("node_uuid", str))
    shots = tuple(reader.read(entry, f"the job {path}, shot {index + 1}") for index, entry in enumerate(plain))
    return JobFile(path, fields.get("node", str), fields.get("script", str), shots)


def recipe_number(task: PropagationTask) -> int:
    """Return a number that changes with the plate's files, the annotations and the settings, for ``task.revision``.

    Paths and the frame range are no part of it, so that a job on another mount and one of fewer frames agree. It lies
    above every revision that a daemon gives.

    Raises:
        JobFileError: an annotation's file cannot be read.
    """
    told: dict[str, Any] = {
        "plate": [task.plate.colourspace, *(_identity(task.plate, frame) for frame in _frames(task.plate))],
        "objects": task.objects,
        "annotations": [_told(annotation) for annotation in task.annotations],
        "settings": [task.engine, task.weights, task.refine_edges, task.tune, task.processing_size],
    }
    if task.motion != "off":  # else the number is that of jobs and mattes from before there was such a field
        told["motion"] = task.motion
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return _RECIPES_FROM + int(digest[:7], 16)


def with_frames(shot: JobShot, frames: range) -> JobShot:
    """Return the shot cut to ``frames``, without handles.

    Raises:
        JobFileError: they reach outside of what the job makes.
    """
    wanted = shot.wanted
    if frames[0] < wanted[0] or frames[-1] > wanted[-1]:
        raise JobFileError(
            f"--frames {frames[0]}-{frames[-1]} reaches outside of the job, which makes {wanted[0]}-{wanted[-1]}"
        )
    return replace(shot, task=replace(shot.task, first=frames[0], last=frames[-1], handles=0))


def _still_folder(pattern: str) -> Path:
    """Return the innermost folder of a pattern that is the same for every frame."""
    folder = Path(pattern).parent
    while folder.parent != folder and any(sign in str(folder) for sign in "%#"):
        folder = folder.parent
    return folder


class _Fields:
    """One JSON object, read field by field."""

    def __init__(self, content: Any, where: str) -> None:
        if not isinstance(content, dict):
            raise JobFileError(f"{where} must be an object; export it again from Nuke")
        self._content = content
        self.where = where

    def get(self, name: str, kind: type[_T], default: _T | None = None) -> _T:
        value = self._content.get(name, default)
        whole = kind is not int or not isinstance(value, bool)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or not whole:
            names = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
            what = "is missing" if value is None else f"is {value!r}"
            raise JobFileError(f"{self.where}: {name!r} {what} and must be {names[kind]}; export it again from Nuke")
        return value

    def has(self, name: str) -> bool:
        return name in self._content

    def inner(self, name: str) -> _Fields:
        return _Fields(self._content.get(name), f"{self.where}, {name!r}")


class _ShotReader:
    def __init__(self, folder: Path, path_map: PathMap, node_uuid: str) -> None:
        self._folder = folder
        self._path_map = path_map
        self._node_uuid = node_uuid

    def read(self, entry: Any, where: str) -> JobShot:
        fields = _Fields(entry, where)
        plate = fields.inner("plate")
        view = fields.get("view", str, "")
        objects = [str(name) for name in fields.get("objects", list)]
        annotations = [
            self._annotation(_Fields(plain, f"{where}, annotation {index + 1}"))
            for index, plain in enumerate(fields.get("annotations", list))
        ]
        output = self._path(fields.get("mattes", str))
        task = PropagationTask(
            plate=PlateReference(
                pattern=self._path(plate.get("pattern", str)),
                first=plate.get("first", int),
                last=plate.get("last", int),
                colourspace=plate.get("colourspace", str),
            ),
            annotations=tuple(annotations),
            objects=tuple(objects),
            first=fields.get("first", int),
            last=fields.get("last", int),
            handles=fields.get("handles", int),
            output_pattern=output,
            engine=fields.get("engine", str),
            weights=fields.get("weights", str),
            refine_edges=fields.get("refine_edges", bool),
            tune=fields.get("tune", bool),
            processing_size=fields.get("processing_size", int),
            motion=fields.get("motion", str, "off"),
            confidence=True,
            shot_id=f"{self._node_uuid}-{view}" if view else self._node_uuid,
            tuning_dir=_still_folder(output) / TUNED,
        )
        shown = fields.get("shown_first", int), fields.get("shown_last", int)
        return JobShot(task, view, shown[0], shown[1], fields.get("fingerprint", str))

    def _annotation(self, fields: _Fields) -> ShotAnnotation:
        frame, name = fields.get("frame", int), fields.get("object", str)
        if fields.get("absent", bool, False):
            return ShotAnnotation(frame=frame, object_name=name, absent=True)
        if fields.has("alpha"):
            alpha = Path(self._path(fields.get("alpha", str)))
            if not alpha.is_file():
                raise JobFileError(
                    f"{fields.where} (frame {frame}): its file {alpha} is not there; move it along with the job, or "
                    "export again"
                )
            return ShotAnnotation(frame=frame, object_name=name, alpha=alpha)
        try:
            shapes = tuple(shape_from_plain(_mapping(plain, fields)) for plain in fields.get("shapes", list))
        except InvalidValueError as error:
            raise JobFileError(f"{fields.where} (frame {frame}): {error}") from error
        return ShotAnnotation(frame=frame, object_name=name, shapes=shapes)

    def _path(self, text: str) -> str:
        """Return a path of this machine; a relative one starts at the job's folder."""
        mapped = map_path(text, self._path_map)
        return mapped if mapped.startswith("/") or mapped[1:2] == ":" else str(self._folder / mapped)


def _mapping(plain: Any, fields: _Fields) -> dict[str, Any]:
    if not isinstance(plain, dict):
        raise JobFileError(f"{fields.where}: a shape must be an object; export the job again from Nuke")
    return plain


def _frames(plate: PlateReference) -> range:
    return range(plate.first, plate.last + 1)


def _identity(plate: PlateReference, frame: int) -> list[int]:
    try:
        status = FramePattern.parse(plate.pattern).path(frame).stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _told(annotation: ShotAnnotation) -> list[Any]:
    alpha = ""
    if annotation.alpha is not None:
        try:
            alpha = hashlib.sha256(annotation.alpha.read_bytes()).hexdigest()
        except OSError as error:
            raise JobFileError(f"the annotation {annotation.alpha} cannot be read: {error.strerror}") from error
    shapes = [shape_to_plain(shape) for shape in annotation.shapes]
    return [annotation.frame, annotation.object_name, annotation.absent, alpha, shapes]
