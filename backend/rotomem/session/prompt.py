"""A click or a box on one frame of a plate, to a matte: a start for an annotation."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.config import Settings
from rotomem.errors import SettingError
from rotomem.session.shot import PlateReference

if TYPE_CHECKING:
    from rotomem.propagation.sam import SamPrompter

ENGINE = "sam"


@dataclass(frozen=True)
class PromptTask:
    """What is asked, as plain picklable data.

    Args:
        points: x, y in pixels of the plate, origin top-left, and whether the point is on the object.
        box: left, top, right, bottom around the object, likewise; or None.
        object_name: the layer of the matte.
        device: ``auto``, ``cpu`` or ``cuda``.
        weights_dir: where segment-anything's weights are; None takes the setting's.
        refine_edges: snap the matte's edges to the plate.
    """

    plate: PlateReference
    frame: int
    points: tuple[tuple[float, float, bool], ...] = ()
    box: tuple[float, float, float, float] | None = None
    object_name: str = "matte"
    device: str = "auto"
    weights_dir: Path | None = None
    refine_edges: bool = True


def prompt_frame(task: PromptTask, output: Path) -> float:
    """Write the matte that is meant to ``output``, an EXR file; return the network's score of it, in [0, 1].

    The network, and the frames that it has looked at last, are kept for the next prompt of this process.

    Raises:
        SettingError: the frame, a point or the box lies outside the plate; no point is on the object.
        PlateError: the frame cannot be read.
        WeightsError: segment-anything or its weights are not there.
        OutputError: the matte cannot be written.
    """
    from rotomem.plates import MatteMetadata, PlateSource, check_object_name, write_mattes
    from rotomem.propagation.sam import PointPrompt, check_prompt

    plate = task.plate
    check_object_name(task.object_name)
    if not plate.first <= task.frame <= plate.last:
        raise SettingError(f"frame {task.frame} is outside the plate, which has frames {plate.first}-{plate.last}")
    points = [PointPrompt(*point) for point in task.points]
    source = PlateSource(
        pattern=plate.pattern, files=plate.files, first=plate.first, last=plate.last, colourspace=plate.colourspace
    )
    with contextlib.closing(source):
        check_prompt(points, task.box, source.size)
        prompter = _needed_prompter(task.weights_dir, task.device)
        path = source.path(task.frame)
        found = prompter.prompt(
            source.image(task.frame),
            frame=(str(path), path.stat().st_mtime_ns, plate.colourspace),
            points=points,
            box=task.box,
            refine_edges=task.refine_edges,
        )
        shown = source.plate_frame(task.frame)
        write_mattes(
            output,
            {task.object_name: found.matte},
            display_window=shown.display_window,
            pixel_aspect=shown.pixel_aspect,
            metadata=MatteMetadata(
                engine=ENGINE, frame=task.frame, weights_sha256=prompter.weights_sha256, confidence=found.score
            ),
        )
    return found.score


def kept_prompter(weights_dir: Path | None, device: str) -> SamPrompter | None:
    """Return segment-anything with the weights of a folder; None where the folder has none."""
    from rotomem.propagation.sam_weights import has_sam_weights

    folder = weights_dir or Settings.load().weights_dir
    return _needed_prompter(folder, device) if has_sam_weights(folder) else None


def _needed_prompter(weights_dir: Path | None, device: str) -> SamPrompter:
    from rotomem.propagation.sam_weights import find_sam_weights
    from rotomem.propagation.xmem_engine import choose_device

    path = find_sam_weights(weights_dir or Settings.load().weights_dir)
    return _loaded(path, path.stat().st_mtime_ns, str(choose_device(device)))


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, modified_ns: int, device: str) -> SamPrompter:
    from rotomem.propagation.sam import SamPrompter

    del modified_ns
    return SamPrompter.from_weights(path, device=device)
