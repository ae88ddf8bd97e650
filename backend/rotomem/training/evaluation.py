"""Measuring engines on footage with ground truth.

Protocol: n evenly spaced frames are annotated with the truth, first and last included (one lies in the first frame);
J and F are the means over all other frames of a clip and over its objects, T over the pairs of neighbouring frames of
which at least one is not annotated; overall is the mean over clips. The truth enters nowhere else. Clips and held-out
synthetic shots are never averaged together.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from rotomem.errors import SettingError
from rotomem.propagation import Engine, Image, make_engine
from rotomem.propagation.shot_tuning import TunedToShot
from rotomem.training.footage import Footage, FootageSource, find_clips
from rotomem.training.matte_samples import sampled_frames, save_samples
from rotomem.training.measurement_log import MeasurementLog
from rotomem.training.metrics import Mask, binarise, boundary_f, region_j, temporal_stability
from rotomem.training.scores import ClipScore, Condition, EvaluationReport

MEASUREMENTS = "measurements.jsonl"
SAMPLES_FOLDER = "mattes"


@dataclass(frozen=True)
class EngineSettings:
    """What engines are made with.

    Args:
        weights_dir: folder of installed weights.
        device: for the network.
        weights: name of installed weights or a path; empty takes the engine's own choice.
        tune: let engines with weights tune to the shot.
    """

    weights_dir: Path
    device: str = "auto"
    weights: str = ""
    tune: bool = True

    def make(self, name: str) -> Engine:
        """Make an engine that is tuned to a shot by its number of steps alone: a busy machine must not show in scores.

        Raises what ``make_engine`` raises.
        """
        engine = make_engine(
            name, weights_dir=self.weights_dir, device=self.device, weights=self.weights, tune=self.tune
        )
        if isinstance(engine, TunedToShot):
            engine.tuning = replace(engine.tuning, seconds=math.inf)
        return engine


def annotated_frames(count: int, total: int) -> list[int]:
    """Return ``count`` evenly spaced positions of ``total``, the first and the last included; all if there are fewer.

    One annotation lies in the first frame.
    """
    return sorted({round(position) for position in np.linspace(0, total - 1, count).tolist()})


def evaluate_footage(
    footage: Sequence[FootageSource],
    engines: Sequence[str],
    counts: Sequence[int],
    *,
    settings: EngineSettings,
    jobs: int = 1,
    out: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Measure every engine on all footage with every number of annotations.

    Args:
        engines: names for ``make_engine``.
        counts: numbers of annotated frames.
        jobs: processes at once.
        out: folder that keeps each measurement as soon as it is finished, and a few of its mattes; what it holds is
            not measured again.
        on_progress: told (done, total) measurements, before the first and after each.

    Raises:
        SettingError: a count below 1, or nothing to measure on.
        OutputUnwritableError: ``out`` cannot be written.
        RotomemError: what an engine or a clip raises.
    """
    if min(counts, default=0) < 1:
        raise SettingError(f"annotations {list(counts)}: give at least one number, each 1 or more")
    if jobs < 1:
        raise SettingError(f"jobs is {jobs}; give 1 or more")
    if not footage:
        raise SettingError("there is nothing to measure on; give --clips CLIPS, or --synthetic with 1 or more")
    samples = out / SAMPLES_FOLDER if out is not None else None
    tasks = _plan(footage, _check_engines(engines, settings), counts, settings, samples)
    log = MeasurementLog(out / MEASUREMENTS) if out is not None else None
    scores = _recall(tasks, log)
    tell = on_progress or (lambda done, total: None)
    tell(len(scores), len(tasks))
    for task, score in _run([task for task in tasks if task not in scores], jobs):
        if log is not None:
            log.add(score, task.fingerprint)
        scores[task] = score
        tell(len(scores), len(tasks))
    return EvaluationReport(tuple(scores[task] for task in tasks))


def evaluate_clips(
    clips_dir: Path,
    engines: Sequence[str],
    counts: Sequence[int],
    *,
    settings: EngineSettings,
    only: Sequence[str] | None = None,
    jobs: int = 1,
) -> EvaluationReport:
    """Measure on a folder of clips, or ``only`` some of them; see :func:`evaluate_footage` and ``find_clips``."""
    return evaluate_footage(find_clips(clips_dir, only), engines, counts, settings=settings, jobs=jobs)


@dataclass(frozen=True)
class _Measurement:
    source: FootageSource
    fingerprint: str
    condition: Condition
    settings: EngineSettings
    samples: Path | None


def _check_engines(engines: Sequence[str], settings: EngineSettings) -> dict[str, str]:
    """Make each engine once, so that a typo fails now and not after hours; returns their weights' SHA-256."""
    return {name: settings.make(name).weights_sha256 for name in dict.fromkeys(engines)}


def _plan(
    footage: Sequence[FootageSource],
    engines: dict[str, str],
    counts: Sequence[int],
    settings: EngineSettings,
    samples: Path | None,
) -> list[_Measurement]:
    """Order by set of footage, then number of annotations: what is finished first can be compared."""
    tasks = []
    identified = [(source, source.fingerprint) for source in footage]
    for footage_set in dict.fromkeys(source.set for source in footage):
        members = [(source, fingerprint) for source, fingerprint in identified if source.set == footage_set]
        for count, engine, (source, fingerprint) in product(counts, engines, members):
            sha256 = engines[engine]
            tuned = settings.tune if sha256 else None
            condition = Condition(source.set, source.name, engine, count, sha256, tuned)
            tasks.append(_Measurement(source, fingerprint, condition, settings, samples))
    return tasks


def _recall(tasks: Sequence[_Measurement], log: MeasurementLog | None) -> dict[_Measurement, ClipScore]:
    if log is None:
        return {}
    found = {task: log.find(task.condition, task.fingerprint) for task in tasks}
    return {task: score for task, score in found.items() if score is not None}


def _run(tasks: Sequence[_Measurement], jobs: int) -> Iterator[tuple[_Measurement, ClipScore]]:
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            yield task, _measure(task)
        return
    # Spawned, since torch and OpenCV hold threads that a fork would break.
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=_limit_threads, initargs=(threads,)) as pool:
        for index, score in pool.imap_unordered(_measure_indexed, list(enumerate(tasks))):
            yield tasks[index], score


def _limit_threads(count: int) -> None:
    """Share the cores between processes; torch, not loaded yet, reads the variable, and the user's setting wins."""
    os.environ.setdefault("OMP_NUM_THREADS", str(count))
    cv2.setNumThreads(count)


def _measure_indexed(numbered: tuple[int, _Measurement]) -> tuple[int, ClipScore]:
    index, task = numbered
    return index, _measure(task)


def _measure(task: _Measurement) -> ClipScore:
    footage = task.source.open()
    engine = task.settings.make(task.condition.engine)
    truth = footage.truth
    given = annotated_frames(task.condition.annotations, len(truth))
    started = time.perf_counter()
    mattes = _propagate(engine, footage, truth, given)
    seconds = time.perf_counter() - started
    if task.samples is not None:
        unions: Mask = np.asarray(mattes[sampled_frames(given, len(mattes))].any(axis=1))
        save_samples(task.samples, task.condition, unions)
    return replace(score_mattes(mattes, binarise(truth), given, task.condition), seconds=seconds)


def _propagate(engine: Engine, footage: Footage, truth: Image, given: Sequence[int]) -> Mask:
    """Return (T, K, H, W), the mattes cut at 0.5; of the truth, only the ``given`` frames are used."""
    objects = [f"object {index + 1}" for index in range(truth.shape[1])]
    annotations = {frame: dict(zip(objects, truth[frame], strict=True)) for frame in given}
    mattes = np.zeros(truth.shape, dtype=np.bool_)
    for result in engine.propagate(footage, annotations, objects, range(len(truth)), cancelled=lambda: False):
        mattes[result.frame] = binarise(result.mattes)
    return mattes


def score_mattes(mattes: Mask, truth: Mask, given: Sequence[int], condition: Condition) -> ClipScore:
    """Score a clip.

    With every frame annotated nothing is left to measure: the artist's mattes are the result, and right.

    Args:
        mattes: (T, K, H, W).
        truth: likewise.
        given: the annotated frames.
    """
    frames, objects = [frame for frame in range(len(truth)) if frame not in given], range(truth.shape[1])
    pairs = [frame for frame in range(1, len(truth)) if frame not in given or frame - 1 not in given]
    places = list(product(frames, objects))
    j = [region_j(mattes[place], truth[place]) for place in places]
    f = [boundary_f(mattes[place], truth[place]) for place in places]
    t = [
        temporal_stability(mattes[frame - 1 : frame + 1, k], truth[frame - 1 : frame + 1, k])
        for frame, k in product(pairs, objects)
    ]
    return ClipScore(
        condition,
        frames=len(frames),
        j=float(np.mean(j)) if j else 1.0,
        f=float(np.mean(f)) if f else 1.0,
        t=float(np.mean(t)) if t else 1.0,
        seconds=0.0,
    )
