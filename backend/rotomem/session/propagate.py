"""One propagation, from a plate and annotations on disk to matte files."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from rotomem.config import Settings
from rotomem.engine_names import default_engine
from rotomem.errors import CancelledError, PlateError
from rotomem.plates import FramePattern, PlateSource, read_matte_metadata
from rotomem.propagation import make_engine
from rotomem.propagation.engine import Engine
from rotomem.propagation.feature_folder import FeatureFolder, KeepsFeatures
from rotomem.propagation.gaps import distance_from
from rotomem.propagation.shot_tuning import Previews, ShotTuning, TunedToShot
from rotomem.session.annotated_mattes import rasterize_annotations
from rotomem.session.matte_writer import MatteWriter
from rotomem.session.motion_uses import second_opinion
from rotomem.session.seams import SeamMeter
from rotomem.session.shot import MatteWritten, Progress, PropagationSummary, PropagationTask
from rotomem.session.task_checks import check_overwriting, check_task

__all__ = ["engine_of", "propagate_shot", "rasterize_annotations"]

log = logging.getLogger(__name__)

AS_GOOD_AS_TUNED = 0.995
"""Share of the tuning that is told as all of it."""


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
        on_matte: called after each file is in place, in the order the engine finishes frames; with previews too.
        on_progress: called before the first frame and after each one.
        cancelled: asked between frames.
        engine: used instead of the one that ``task`` names; for benchmarks, which time a given engine.

    Raises:
        RotomemError: one sentence; mattes written until then stay. ``CancelledError`` when asked to stop.
    """
    check_task(task)
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

    check_overwriting(task, source, frames)

    kept = [frame for frame in frames if _is_kept(task, frame)]
    teller = _Teller(on_progress, kept=len(kept), total=len(frames))
    teller.phase("preparing")
    annotations = rasterize_annotations(task.annotations, size=source.size)
    engine = engine or engine_of(task)
    # Whoever said which mattes are current may have looked before other weights were installed.
    kept = [frame for frame in kept if _made_with(engine, task, frame)]
    teller.done = len(kept)
    if isinstance(engine, TunedToShot):
        engine.tuning = _tuning_of(task, teller, engine.name)
    if isinstance(engine, KeepsFeatures):
        folder = task.feature_dir
        engine.feature_folder = None if folder is None else FeatureFolder(folder, task.feature_bytes)
    log.info("propagating frames %d-%d with engine %s, %d of them kept", first, last, engine.name, len(kept))

    started = time.monotonic()
    engine = second_opinion(task, source, engine, annotations, tell=teller.phase, cancelled=cancelled)
    writer = MatteWriter(task, source, engine)
    seams = SeamMeter(source, annotated, frames)
    teller.restart_clock()
    for run in _runs(frames, kept, task.focus):
        for result in engine.propagate(source, annotations, task.objects, run, cancelled=cancelled, focus=task.focus):
            on_matte(writer.write(result))
            if not result.preview_by:
                seams.add(result.frame, result.mattes)
                teller.frame()
        if cancelled():
            break
    if teller.done < len(frames):
        raise CancelledError(f"cancelled after {teller.done} of {len(frames)} frames; the finished mattes are kept")
    return PropagationSummary(
        frames=tuple(frames),
        engine=engine.name,
        weights_sha256=engine.weights_sha256,
        seconds=time.monotonic() - started,
        warnings=tuple(source.warnings),
        kept=tuple(kept),
        seams=seams.finish(FramePattern.parse(task.output_pattern)),
    )


class _Teller:
    """What a run tells of itself. Frames per second are those made since the last phase other than propagating."""

    def __init__(self, on_progress: Callable[[Progress], None], *, kept: int, total: int) -> None:
        self.done = kept
        self._on_progress = on_progress
        self._total = total
        self.restart_clock()

    def restart_clock(self) -> None:
        self._since, self._done_then = time.monotonic(), self.done

    def phase(self, phase: str) -> None:
        self.restart_clock()
        self._on_progress(Progress(self.done, self._total, phase, 0.0))

    def frame(self) -> None:
        self.done += 1
        rate = (self.done - self._done_then) / max(time.monotonic() - self._since, 1e-9)
        self._on_progress(Progress(self.done, self._total, "propagating", rate))


def _tuning_of(task: PropagationTask, teller: _Teller, engine: str) -> ShotTuning:
    """Return how the engine is to be tuned to the shot; ``teller`` hears of every tenth of the way."""
    last = -1

    def is_better_known(frame: int) -> bool:
        return frame in task.shown or _engine_on_disk(task, frame) == engine

    def on_progress(share: float) -> None:
        nonlocal last
        teller.restart_clock()
        tenth = 10 if share >= AS_GOOD_AS_TUNED else int(10 * share)
        if tenth > last:
            last = tenth
            teller.phase(f"tuning to the shot, {10 * tenth} %")

    return ShotTuning(
        enabled=task.tune,
        folder=task.tuning_dir,
        shot=task.shot_id,
        revision=task.revision,
        previews=None if task.focus is None else Previews(is_better_known, lambda: teller.phase("previewing")),
        on_progress=on_progress,
    )


def _engine_on_disk(task: PropagationTask, frame: int) -> str:
    """Return what made the matte that a new one would replace; empty where there is none."""
    try:
        return read_matte_metadata(FramePattern.parse(task.output_pattern).path(frame)).engine
    except PlateError:
        return ""


def _is_kept(task: PropagationTask, frame: int) -> bool:
    return frame in task.current and FramePattern.parse(task.output_pattern).path(frame).is_file()


def _made_with(engine: Engine, task: PropagationTask, frame: int) -> bool:
    """Return whether a matte on disk is finished, and made with the engine's weights; true for engines without."""
    if not engine.weights_sha256:
        return True
    try:
        metadata = read_matte_metadata(FramePattern.parse(task.output_pattern).path(frame))
    except PlateError:
        return False
    return metadata.weights_sha256 == engine.weights_sha256 and not metadata.preview


def _runs(frames: range, kept: Sequence[int], focus: int | None) -> list[range]:
    """Return the stretches of ``frames`` that are not kept, the nearest to ``focus`` first."""
    runs = []
    starts, ends = [frames[0], *(frame + 1 for frame in kept)], [*kept, frames[-1] + 1]
    for first, end in zip(starts, ends, strict=True):
        if first < end:
            runs.append(range(first, end))
    return runs if focus is None else sorted(runs, key=lambda run: distance_from(run, focus))


class NamesEngine(Protocol):
    """A task that says what engine it wants."""

    @property
    def engine(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def weights(self) -> str: ...
    @property
    def weights_dir(self) -> Path | None: ...
    @property
    def refine_edges(self) -> bool: ...
    @property
    def processing_size(self) -> int: ...
    @property
    def tune(self) -> bool: ...


def engine_of(task: NamesEngine) -> Engine:
    """Return the engine that ``task`` names, the last job's if nothing that matters to it changed.

    Raises:
        SettingError, WeightsError: as :func:`rotomem.propagation.make_engine`.
    """
    weights_dir = task.weights_dir or Settings.load().weights_dir
    candidates = [*weights_dir.glob("*"), Path(task.weights)] if task.weights else weights_dir.glob("*")
    files = sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in candidates if path.is_file())
    name = task.engine
    if name == "auto" and not task.weights:
        name = default_engine(weights_dir, tune=task.tune)
    return _kept_engine(
        name,
        task.device,
        task.weights,
        weights_dir,
        refine_edges=task.refine_edges,
        processing_size=task.processing_size,
        weights_files=tuple(files),
    )


@functools.lru_cache(maxsize=1)
def _kept_engine(
    name: str,
    device: str,
    weights: str,
    weights_dir: Path,
    *,
    refine_edges: bool,
    processing_size: int,
    weights_files: tuple[tuple[str, int, int], ...],
) -> Engine:
    """Keep the last engine for the next job of this process: its weights are loaded and its frames are encoded.

    Args:
        weights_files: path, modification time and size of what is installed; another file means another engine.
    """
    del weights_files
    return make_engine(
        name,
        device=device,
        weights=weights,
        weights_dir=weights_dir,
        refine_edges=refine_edges,
        processing_size=processing_size,
    )
