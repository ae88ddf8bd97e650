"""One hash of everything that a matte depends on. It looks at the plate's files: worker threads only."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

from rotomem_client.shapes import shape_to_plain
from rotomem_nuke.annotation import Annotation
from rotomem_nuke.collection import PropagationRequest
from rotomem_nuke.plate import PlateSource, file_of


def fingerprint(request: PropagationRequest) -> str:
    """Return 64 hex digits that change with the plate's identity, the drawing, the settings and the weights' name.

    The range is not part of it: a matte made for one range is as right in another. Nor is what the weights hold: they
    lie on the daemon's machine, which tells of other ones when the next propagation ends.
    """
    settings = request.settings
    told: dict[str, Any] = {
        "plate": _plate(request),
        "objects": request.objects,
        "annotations": [_annotation(annotation) for annotation in request.annotations],
        "sources": request.sources,
        "settings": [settings.engine, settings.weights, settings.refine_edges, settings.tune, settings.process_at],
    }
    if settings.second_opinion != "off":  # else mattes from before there was such a knob would be stale
        told["second_opinion"] = settings.second_opinion
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _plate(request: PropagationRequest) -> list[Any]:
    plate = request.plate
    size = plate.format
    identity: list[Any] = [plate.pattern, plate.colourspace, size.width, size.height, size.pixel_aspect]
    if plate.pattern:
        identity += [_file(plate, frame) for frame in range(request.shown_first, request.shown_last + 1)]
    return identity


def _file(plate: PlateSource, frame: int) -> list[int]:
    """Return size and time of one frame, which change when the plate is rendered again under the same name."""
    try:
        status = os.stat(file_of(plate.pattern, frame))
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _annotation(annotation: Annotation) -> list[Any]:
    shapes = [shape_to_plain(shape) for shape in annotation.shapes]
    return [annotation.frame, annotation.object_name, annotation.absent, annotation.rendered_because, shapes]
