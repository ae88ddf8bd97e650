"""What is wrong with a task, said before any work is done."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rotomem.errors import AnnotationError, AnnotationRangeError, OutputUnwritableError, SettingError
from rotomem.plates import FramePattern, PlateSource, check_object_name
from rotomem.session.shot import PropagationTask

MOTION_USES = ("off", "errors", "correct", "exemplars", "all")
DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def check_task(task: PropagationTask) -> None:
    """Refuse what can be seen to be wrong before any file is opened.

    Raises:
        RotomemError: one sentence about the first thing that is wrong.
    """
    for name in task.objects:
        check_object_name(name)
    if task.first > task.last:
        raise SettingError(
            f"the frame range {task.first}-{task.last} is empty; the first frame must not be after the last"
        )
    if task.first < task.plate.first or task.last > task.plate.last:
        raise SettingError(
            f"the frame range {task.first}-{task.last} reaches outside the plate, which has frames "
            f"{task.plate.first}-{task.plate.last}; shorten the range"
        )
    if task.handles < 0:
        raise SettingError(f"handles is {task.handles}; it must be 0 or more")
    check_output(task.output_pattern, task.first)
    if task.processing_size < 0:
        raise SettingError(f"the processing size is {task.processing_size}; give pixels, or 0 for the engine's own")
    if task.motion not in MOTION_USES:
        raise SettingError(f"there is no use of motion {task.motion!r}; choose one of {', '.join(MOTION_USES)}")
    if not DEVICE.fullmatch(task.device):
        raise SettingError(f"device is {task.device!r}; give auto, cpu, cuda or cuda:N")
    if not task.annotations:
        raise AnnotationError("nothing is annotated; draw the object on at least one frame")
    for annotation in task.annotations:
        if not task.plate.first <= annotation.frame <= task.plate.last:
            raise AnnotationRangeError(
                f"frame {annotation.frame} is annotated but the plate has frames {task.plate.first}-{task.plate.last}; "
                "remove that annotation or extend the plate's range"
            )
        if annotation.object_name not in task.objects:
            raise AnnotationError(
                f"frame {annotation.frame} annotates {annotation.object_name!r}, which is not among the objects "
                f"{', '.join(task.objects)}"
            )
    drawn = Counter((annotation.frame, annotation.object_name) for annotation in task.annotations)
    for (frame, name), count in drawn.items():
        if count > 1:
            raise AnnotationError(f"frame {frame} annotates {name!r} {count} times; keep one of them")
    for name in task.objects:
        if not any(annotation.object_name == name for annotation in task.annotations):
            raise AnnotationError(
                f"object {name!r} is annotated on no frame; draw it on at least one frame or remove it"
            )


def check_output(pattern: str, frame: int) -> None:
    """Refuse an output that is no sequence of EXR files.

    Raises:
        SettingError: says what to write.
    """
    output = FramePattern.parse(pattern)
    if not output.is_sequence:
        raise SettingError(f"the output {pattern} has no frame number; write it like hero.%04d.exr")
    if output.path(frame).suffix.lower() != ".exr":
        raise SettingError(f"the output {pattern} must end in .exr: mattes are half-float EXR files")


def check_overwriting(task: PropagationTask, source: PlateSource, frames: range) -> None:
    """Refuse an output that is one of the job's own inputs: the artist's plate must survive a typing error.

    Raises:
        OutputUnwritableError: names the frame and whose file it is.
    """
    alphas = {
        annotation.alpha.resolve(): f"the annotation of frame {annotation.frame}'s"
        for annotation in task.annotations
        if annotation.alpha is not None
    }
    check_not_overwriting(task.output_pattern, source, frames, others=alphas)


def check_not_overwriting(
    output_pattern: str, source: PlateSource, frames: range, *, others: Mapping[Path, str] | None = None
) -> None:
    """Refuse an output that is the plate's own file, or one of ``others``: file to whose it is.

    Raises:
        OutputUnwritableError: names the frame and whose file it is.
    """
    inputs = {source.path(frame).resolve(): "the plate's" for frame in frames} | dict(others or {})
    output = FramePattern.parse(output_pattern)
    for frame in frames:
        owner = inputs.get(output.path(frame).resolve())
        if owner:
            raise OutputUnwritableError(
                f"frame {frame}: the output {output.path(frame)} is {owner} own file; choose another output"
            )
