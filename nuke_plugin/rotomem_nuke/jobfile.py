"""A node's propagation as a file: what ``rotomem job run`` needs to make the mattes without Nuke and its licence.

Pixels that only Nuke can make - a plate that is no plain Read, an alpha that no shape expresses - are rendered to EXR
beside the file, and named relative to it: the two can be moved together. ``backend/docs/farm.md`` describes the format.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, Callable

from rotomem_client.path_map import PathMap, map_path
from rotomem_client.shapes import shape_to_plain
from rotomem_client.version import VERSION
from rotomem_nuke import host
from rotomem_nuke.annotation import Annotation
from rotomem_nuke.collection import PropagationRequest, read_graph
from rotomem_nuke.errors import CacheError, GraphError
from rotomem_nuke.fingerprint import fingerprint
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.plate import frame_chunks
from rotomem_nuke.settings import processing_size

FORMAT = 1
Say = Callable[[str], None]


def export_job(rotomem: RotomemNode, path: Path, *, path_map: PathMap = (), say: Say = lambda _: None) -> Path:
    """Write what the node would propagate now; return the file. Main thread, as Nuke may have to render.

    An older file of that name stays until the new one is whole.

    Args:
        path: such as ``/show/sh010/hero.rotomem.json``.
        path_map: paths as the farm sees them.
        say: told what is being rendered.

    Raises:
        GraphError: the node cannot be propagated, or its version is frozen.
        CacheError: the file cannot be written.
        PluginError: Nuke could not render.
    """
    requests = read_graph(rotomem)
    settings = requests[0].settings
    if settings.frozen:
        raise GraphError(
            f"{settings.name} v{settings.version:03d} is frozen; press 'version up' before you export a job"
        )
    path = Path(path)
    folder = path.with_name(f"{_stem(path)}.files-{fingerprint(requests[0])[:8]}")
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(str(part), ignore_errors=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        shots = [_shot(request, part, folder.name, path_map, say) for request in requests]
        _replace_folder(part, folder)
        _write(path, _job(settings.name, settings.node_uuid, shots))
    except OSError as error:
        raise CacheError(
            f"cannot write the job {path}: {error.strerror or error}; free space or choose another folder"
        ) from error
    finally:
        shutil.rmtree(str(part), ignore_errors=True)
    for older in path.parent.glob(f"{_stem(path)}.files-*"):
        if older != folder:
            shutil.rmtree(str(older), ignore_errors=True)
    return path


def _job(name: str, node_uuid: str, shots: list[dict[str, Any]]) -> dict[str, Any]:
    script = host.value("root.name")
    return {
        "rotomem_job": FORMAT,
        "made_by": VERSION,
        "script": "" if script == "Root" else script,
        "node": name,
        "node_uuid": node_uuid,
        "shots": shots,
    }


def _shot(request: PropagationRequest, part: Path, folder: str, path_map: PathMap, say: Say) -> dict[str, Any]:
    settings, plate = request.settings, request.plate
    inside = part / settings.view if settings.view else part
    relative = f"{folder}/{settings.view}" if settings.view else folder
    pattern = map_path(plate.pattern, path_map)
    if plate.extracted_because:
        _render_plate(request, inside, say)
        pattern = f"{relative}/plate.%04d.exr"
    return {
        "view": settings.view,
        "plate": {
            "pattern": pattern,
            "first": plate.first,
            "last": plate.last,
            "colourspace": plate.colourspace,
            "width": plate.format.width,
            "height": plate.format.height,
            "pixel_aspect": plate.format.pixel_aspect,
        },
        "objects": list(request.objects),
        "annotations": [_annotation(request, entry, inside, relative, say) for entry in request.annotations],
        "first": request.first,
        "last": request.last,
        "handles": settings.handles,
        "shown_first": request.shown_first,
        "shown_last": request.shown_last,
        "engine": settings.engine,
        "weights": settings.weights,
        "refine_edges": settings.refine_edges,
        "tune": settings.tune,
        "processing_size": processing_size(settings.process_at, plate.format),
        "motion": settings.second_opinion,
        "mattes": map_path(settings.mattes, path_map),
        "fingerprint": fingerprint(request),
    }


def _render_plate(request: PropagationRequest, folder: Path, say: Say) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plate = request.plate
    for first, last in frame_chunks(plate.first, plate.last):
        say(f"rendering the plate, frame {first} of {plate.first}-{plate.last}: {plate.extracted_because}")
        request.extract(folder, first, last)


def _annotation(
    request: PropagationRequest, annotation: Annotation, folder: Path, relative: str, say: Say
) -> dict[str, Any]:
    entry: dict[str, Any] = {"frame": annotation.frame, "object": annotation.object_name}
    if annotation.absent:
        entry["absent"] = True
    elif annotation.rendered_because:
        say(f"rendering {annotation.object_name} on frame {annotation.frame}: {annotation.rendered_because}")
        folder.mkdir(parents=True, exist_ok=True)
        entry["alpha"] = f"{relative}/{request.render_alpha(folder, annotation).name}"
    else:
        entry["shapes"] = [shape_to_plain(shape) for shape in annotation.shapes]
    return entry


def _replace_folder(part: Path, folder: Path) -> None:
    shutil.rmtree(str(folder), ignore_errors=True)
    if part.is_dir():
        os.replace(str(part), str(folder))


def _write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(str(part), str(path))
    finally:
        if part.exists():
            part.unlink()


def _stem(path: Path) -> str:
    return path.name[: -len(path.suffix)] if path.suffix else path.name
