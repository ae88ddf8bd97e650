"""One propagation, from a plate and annotations on disk to matte files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from rotomem import __version__
from rotomem.config import Settings
from rotomem.errors import (
    AnnotationError,
    AnnotationRangeError,
    AnnotationSizeError,
    CancelledError,
    EmptyAnnotationError,
    OutputUnwritableError,
    PlateError,
    SettingError,
)
from rotomem.matte import rasterize_shapes
from rotomem.plates import (
    FramePattern,
    MatteMetadata,
    PlateSource,
    check_object_name,
    read_alpha,
    write_mattes,
)
from rotomem.propagation import make_engine
from rotomem.propagation.engine import Engine, Image, PropagatedFrame
from rotomem.session.shot import (
    MatteWritten,
    Progress,
    PropagationSummary,
    PropagationTask,
    ShotAnnotation,
)

log = logging.getLogger(__name__)

DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")
EMPTY_BELOW = 0.5 / 255
"""A matte whose maximum is below half an 8-bit step covers nothing."""


def propagate_shot(
    task: PropagationTask,
    *,
    on_matte: Callable[[MatteWritten], None],
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    engine: Engine | None = None,
) -> PropagationSummary:
    """Make the mattes of ``task`` and report each one once it is complete on disk.

    Args:
        on_matte: called after each file is in place, in the order the engine finishes frames.
        on_progress: called before the first frame and after each one.
        cancelled: asked between frames.
        engine: used instead of the one that ``task`` names; for benchmarks, which time a given engine.

    Raises:
        RotomemError: one sentence; mattes written until then stay. ``CancelledError`` when asked to stop.
    """
    _check_task(task)
    source = PlateSource(
        pattern=task.plate.pattern,
        files=task.plate.files,
        first=task.plate.first,
        last=task.plate.last,
        colourspace=task.plate.colourspace,
    )
    with contextlib.closing(source):
        return _propagate(task, source, engine, on_matte=on_matte, on_progress=on_progress, cancelled=cancelled)


def _propagate(
    task: PropagationTask,
    source: PlateSource,
    engine: Engine | None,
    *,
    on_matte: Callable[[MatteWritten], None],
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> PropagationSummary:
    first = max(task.plate.first, task.first - task.handles)
    last = min(task.plate.last, task.last + task.handles)
    frames = range(first, last + 1)
    annotated = sorted({annotation.frame for annotation in task.annotations})
    source.check_frames(range(min(first, annotated[0]), max(last, annotated[-1]) + 1))

    _check_overwriting(task, source, frames)

    on_progress(Progress(0, len(frames), "preparing", 0.0))
    annotations = rasterize_annotations(task.annotations, size=source.size)
    engine = engine or engine_of(task)
    log.info("propagating frames %d-%d with engine %s", first, last, engine.name)

    started = time.monotonic()
    done: list[int] = []
    writer = _MatteWriter(task, source, engine)
    for result in engine.propagate(source, annotations, task.objects, frames, cancelled=cancelled):
        on_matte(writer.write(result))
        done.append(result.frame)
        on_progress(Progress(len(done), len(frames), "propagating", len(done) / (time.monotonic() - started)))
    if len(done) < len(frames):
        raise CancelledError(f"cancelled after {len(done)} of {len(frames)} frames; the finished mattes are kept")
    return PropagationSummary(
        frames=tuple(sorted(done)),
        engine=engine.name,
        weights_sha256=engine.weights_sha256,
        seconds=time.monotonic() - started,
        warnings=tuple(source.warnings),
    )


def engine_of(task: PropagationTask) -> Engine:
    """Return the engine that ``task`` names, the last job's if nothing that matters to it changed.

    Raises:
        SettingError, WeightsError: as :func:`rotomem.propagation.make_engine`.
    """
    weights_dir = task.weights_dir or Settings.load().weights_dir
    candidates = [*weights_dir.glob("*"), Path(task.weights)] if task.weights else weights_dir.glob("*")
    files = sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in candidates if path.is_file())
    return _kept_engine(
        task.engine, task.device, task.weights, weights_dir, refine_edges=task.refine_edges, weights_files=tuple(files)
    )


@functools.lru_cache(maxsize=1)
def _kept_engine(
    name: str,
    device: str,
    weights: str,
    weights_dir: Path,
    *,
    refine_edges: bool,
    weights_files: tuple[tuple[str, int, int], ...],
) -> Engine:
    """Keep the last engine for the next job of this process: its weights are loaded and its frames are encoded.

    Args:
        weights_files: path, modification time and size of what is installed; another file means another engine.
    """
    del weights_files
    return make_engine(name, device=device, weights=weights, weights_dir=weights_dir, refine_edges=refine_edges)


def rasterize_annotations(
    annotations: tuple[ShotAnnotation, ...], *, size: tuple[int, int]
) -> dict[int, dict[str, Image]]:
    """Turn every annotation into a matte.

    Args:
        size: (height, width) of the plate's display window, pixels.

    Returns:
        frame to object to matte (H, W) in [0, 1].

    Raises:
        EmptyAnnotationError: a shape or alpha covers nothing and is not said to be absent.
        AnnotationSizeError: an alpha file of another size than the plate.
    """
    height, width = size
    mattes: dict[int, dict[str, Image]] = {}
    for annotation in annotations:
        where = f"frame {annotation.frame}, object {annotation.object_name!r}"
        if annotation.absent:
            matte = np.zeros(size, np.float32)
        elif annotation.alpha is not None:
            try:
                matte = read_alpha(annotation.alpha, annotation.frame)
            except PlateError as error:
                raise AnnotationError(f"{where}: the annotation cannot be read: {error}") from error
            if matte.shape != size:
                raise AnnotationSizeError(
                    f"{where}: the alpha {annotation.alpha} is {matte.shape[1]}x{matte.shape[0]} but the plate is "
                    f"{width}x{height}; render it at the plate's size"
                )
        else:
            matte = rasterize_shapes(annotation.shapes, width=width, height=height)
        if not annotation.absent and float(matte.max(initial=0.0)) < EMPTY_BELOW:
            raise EmptyAnnotationError(
                f"{where}: the annotation covers no pixel of the plate; draw the object, "
                "or mark it absent on this frame"
            )
        mattes.setdefault(annotation.frame, {})[annotation.object_name] = matte
    return mattes


def _check_task(task: PropagationTask) -> None:
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
    output = FramePattern.parse(task.output_pattern)
    if not output.is_sequence:
        raise SettingError(f"the output {task.output_pattern} has no frame number; write it like hero.%04d.exr")
    if output.path(task.first).suffix.lower() != ".exr":
        raise SettingError(f"the output {task.output_pattern} must end in .exr: mattes are half-float EXR files")
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


def _check_overwriting(task: PropagationTask, source: PlateSource, frames: range) -> None:
    """Refuse an output that is one of the job's own inputs: the artist's plate must survive a typing error."""
    inputs = {source.path(frame).resolve(): "the plate's" for frame in frames}
    inputs |= {
        annotation.alpha.resolve(): f"the annotation of frame {annotation.frame}'s"
        for annotation in task.annotations
        if annotation.alpha is not None
    }
    output = FramePattern.parse(task.output_pattern)
    for frame in frames:
        owner = inputs.get(output.path(frame).resolve())
        if owner:
            raise OutputUnwritableError(
                f"frame {frame}: the output {output.path(frame)} is {owner} own file; choose another output"
            )


class _MatteWriter:
    """Writes results with the plate's windows and the metadata that every matte carries."""

    def __init__(self, task: PropagationTask, source: PlateSource, engine: Engine) -> None:
        self._objects = task.objects
        self._pattern = FramePattern.parse(task.output_pattern)
        self._plate = source.plate_frame(task.annotations[0].frame)
        self._metadata = MatteMetadata(
            engine=engine.name,
            weights_sha256=engine.weights_sha256,
            revision=task.revision,
            project_version=__version__,
            frame=task.first,
            annotated=False,
        )
        folder = self._pattern.path(task.first).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputUnwritableError(
                f"the output folder {folder} cannot be made: {error.strerror}; choose another output"
            ) from error

    def write(self, result: PropagatedFrame) -> MatteWritten:
        mattes: Mapping[str, Image] = dict(zip(self._objects, result.mattes, strict=True))
        path: Path = self._pattern.path(result.frame)
        written = write_mattes(
            path,
            mattes,
            display_window=self._plate.display_window,
            pixel_aspect=self._plate.pixel_aspect,
            metadata=dataclasses.replace(self._metadata, frame=result.frame, annotated=result.annotated),
        )
        return MatteWritten(
            frame=result.frame,
            path=written.path,
            sha256=written.sha256,
            size=written.size,
            annotated=result.annotated,
            engine=self._metadata.engine,
        )
