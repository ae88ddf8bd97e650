"""Roto shapes of a shot as one JSON file, for batches and the command line.

.. code-block:: json

    {"rotomem_shapes": 1,
     "annotations": [
       {"frame": 1001, "object": "hero", "shapes": [{"name": "body", "points": [[100, 80], [160, 80], [130, 140]]}]},
       {"frame": 1024, "object": "hero", "absent": true}]}

A shape is as ``rotomem_client.shapes.shape_from_plain`` reads it: pixels, origin top-left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rotomem.errors import AnnotationError
from rotomem.session.shot import ShotAnnotation
from rotomem_client.errors import InvalidValueError
from rotomem_client.shapes import shape_from_plain, shape_to_plain

VERSION = 1


def read_shape_file(path: Path) -> tuple[ShotAnnotation, ...]:
    """Read annotations.

    Raises:
        AnnotationError: the file is missing, is no such JSON, or a frame, object or shape in it is wrong.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AnnotationError(f"the shapes file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise AnnotationError(f"the shapes file {path} is not valid JSON: {error}") from error
    if not isinstance(content, dict) or content.get("rotomem_shapes") != VERSION:
        raise AnnotationError(f'the shapes file {path} must hold "rotomem_shapes": {VERSION}; export it again')
    entries = content.get("annotations")
    if not isinstance(entries, list):
        raise AnnotationError(f'the shapes file {path} needs a list "annotations"')
    return tuple(_annotation(path, index, entry) for index, entry in enumerate(entries))


def write_shape_file(path: Path, annotations: Iterable[ShotAnnotation]) -> None:
    """Write annotations that are shapes or absences; alphas travel as images and are refused."""
    entries: list[dict[str, Any]] = []
    for annotation in annotations:
        entry: dict[str, Any] = {"frame": annotation.frame, "object": annotation.object_name}
        if annotation.absent:
            entry["absent"] = True
        elif annotation.alpha is not None:
            raise AnnotationError(f"frame {annotation.frame} is annotated by an image, which a shapes file cannot hold")
        else:
            entry["shapes"] = [shape_to_plain(shape) for shape in annotation.shapes]
        entries.append(entry)
    path.write_text(json.dumps({"rotomem_shapes": VERSION, "annotations": entries}, indent=1), encoding="utf-8")


def _annotation(path: Path, index: int, entry: Any) -> ShotAnnotation:
    where = f"{path}, annotation {index + 1}"
    if not isinstance(entry, dict):
        raise AnnotationError(f"{where}: must be an object with frame, object and shapes")
    frame, name = entry.get("frame"), entry.get("object")
    if isinstance(frame, bool) or not isinstance(frame, int):
        raise AnnotationError(f"{where}: frame is {frame!r}; it must be a whole number")
    if not isinstance(name, str):
        raise AnnotationError(f"{where}: object is {name!r}; it must be a name")
    if entry.get("absent") is True:
        return ShotAnnotation(frame=frame, object_name=name, absent=True)
    shapes = entry.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise AnnotationError(f'{where} (frame {frame}): needs a list "shapes", or "absent": true')
    try:
        return ShotAnnotation(frame=frame, object_name=name, shapes=tuple(shape_from_plain(shape) for shape in shapes))
    except InvalidValueError as error:
        raise AnnotationError(f"{where} (frame {frame}): {error}") from error
