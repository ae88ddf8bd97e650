"""Measuring engines on clips with ground truth.

Protocol: n evenly spaced frames are annotated with the truth, first and last included; J and F are the means over all
other frames of a clip, and overall the mean over clips. The truth enters nowhere else.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from rotomem.errors import PlateMissingError, PlateSizeError, PlateUnreadableError, SettingError
from rotomem.propagation import Image, make_engine
from rotomem.training.metrics import Mask, boundary_f, region_j
from rotomem.training.scores import ClipScore, EvaluationReport, format_table, to_json

__all__ = [
    "Clip",
    "ClipScore",
    "EvaluationReport",
    "annotated_frames",
    "evaluate_clips",
    "format_table",
    "load_clip",
    "to_json",
]

OBJECT = "object"
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})


@dataclass(frozen=True)
class Clip:
    """Frames and their truth, by position; satisfies ``FrameSource``.

    Args:
        frame_files: 8-bit display-encoded images.
        masks: (T, H, W).
    """

    name: str
    frame_files: tuple[Path, ...]
    masks: Mask

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.masks.shape[1], self.masks.shape[2]

    def image(self, frame: int) -> Image:
        """Return (H, W, 3) RGB in [0, 1].

        Raises:
            PlateUnreadableError: not an image.
            PlateSizeError: of another size than the clip's masks.
        """
        path = self.frame_files[frame]
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise PlateUnreadableError(f"clip {self.name}: {path} is not an image; restore it or leave the clip out")
        if pixels.shape[:2] != self.size:
            raise PlateSizeError(
                f"clip {self.name}: {path} is {pixels.shape[1]}x{pixels.shape[0]} but its mask is "
                f"{self.size[1]}x{self.size[0]}; they must be alike"
            )
        return np.asarray(pixels[..., ::-1], dtype=np.float32) / np.float32(255.0)


def annotated_frames(count: int, total: int) -> list[int]:
    """Return ``count`` evenly spaced positions of ``total``, the first and the last included; all if there are fewer.

    One annotation lies in the first frame.
    """
    return sorted({round(position) for position in np.linspace(0, total - 1, count).tolist()})


def load_clip(folder: Path) -> Clip:
    """Open a folder with ``frames/`` and ``masks/``, images of the same names; a mask counts above half grey.

    Raises:
        PlateMissingError: no frames, or a frame without a mask.
        PlateUnreadableError: a mask that is not an image.
        PlateSizeError: masks of different sizes.
    """
    frame_files = _images(folder / "frames")
    mask_files = {path.stem: path for path in _images(folder / "masks")}
    if not frame_files:
        raise PlateMissingError(f"clip {folder.name}: there are no images in {folder / 'frames'}; put its frames there")
    masks: list[Mask] = []
    for path in frame_files:
        if path.stem not in mask_files:
            raise PlateMissingError(f"clip {folder.name}: frame {path.name} has no mask in {folder / 'masks'}; add it")
        mask = cv2.imread(str(mask_files[path.stem]), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise PlateUnreadableError(
                f"clip {folder.name}: {mask_files[path.stem]} is not an image; restore it or leave the clip out"
            )
        if masks and mask.shape != masks[0].shape:
            raise PlateSizeError(
                f"clip {folder.name}: mask {path.stem} has another size than the first; make them alike"
            )
        masks.append(np.asarray(mask > 127))
    return Clip(folder.name, tuple(frame_files), np.stack(masks))


def evaluate_clips(
    clips_dir: Path,
    engines: Sequence[str] = ("copy", "warp"),
    counts: Sequence[int] = (3, 5, 10),
    *,
    weights_dir: Path,
    only: Sequence[str] | None = None,
    jobs: int = 1,
    device: str = "auto",
    weights: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Measure every engine on every clip with every number of annotations.

    Args:
        clips_dir: folder of clip folders, see :func:`load_clip`.
        engines: names for ``make_engine``.
        counts: numbers of annotated frames.
        weights_dir: folder of installed weights.
        only: names of clips; None takes all.
        jobs: processes at once.
        device: for the network.
        weights: likewise.
        on_progress: told (done, total) measurements, before the first and after each.

    Raises:
        SettingError: no such clip, a count below 1, or no clips at all.
        RotomemError: what an engine or a clip raises.
    """
    folders = _choose_clips(clips_dir, only)
    if min(counts, default=0) < 1:
        raise SettingError(f"annotations {list(counts)}: give at least one number, each 1 or more")
    if jobs < 1:
        raise SettingError(f"jobs is {jobs}; give 1 or more")
    for name in engines:
        make_engine(name, weights_dir=weights_dir, device=device, weights=weights)  # a typo fails now, not after hours
    tasks = [
        _Measurement(folder, engine, count, weights_dir, device, weights)
        for count, engine, folder in product(counts, engines, folders)
    ]
    scores: list[ClipScore] = []
    tell = on_progress or (lambda done, total: None)
    tell(0, len(tasks))
    for score in _run(tasks, jobs):
        scores.append(score)
        tell(len(scores), len(tasks))
    return EvaluationReport(tuple(scores))


@dataclass(frozen=True)
class _Measurement:
    folder: Path
    engine: str
    annotations: int
    weights_dir: Path
    device: str
    weights: str


def _run(tasks: Sequence[_Measurement], jobs: int) -> Iterator[ClipScore]:
    if jobs == 1:
        yield from map(_measure, tasks)
        return
    # Spawned, since torch and OpenCV hold threads that a fork would break.
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.imap(_measure, tasks)


def _measure(task: _Measurement) -> ClipScore:
    clip = load_clip(task.folder)
    engine = make_engine(task.engine, weights_dir=task.weights_dir, device=task.device, weights=task.weights)
    count = len(clip.frame_files)
    given = annotated_frames(task.annotations, count)
    annotations = {frame: {OBJECT: clip.masks[frame].astype(np.float32)} for frame in given}
    started = time.perf_counter()
    scores: dict[int, tuple[float, float]] = {}
    scoring_s = 0.0
    for result in engine.propagate(clip, annotations, [OBJECT], range(count), cancelled=lambda: False):
        if result.frame in annotations:
            continue
        scoring_started = time.perf_counter()
        truth = clip.masks[result.frame]
        scores[result.frame] = region_j(result.mattes[0], truth), boundary_f(result.mattes[0], truth)
        scoring_s += time.perf_counter() - scoring_started
    # With every frame annotated nothing is left to measure: the artist's mattes are the result.
    j, f = np.mean(list(scores.values()), axis=0) if scores else (1.0, 1.0)
    seconds = time.perf_counter() - started - scoring_s
    return ClipScore(clip.name, task.engine, task.annotations, len(scores), float(j), float(f), seconds)


def _choose_clips(clips_dir: Path, only: Sequence[str] | None) -> list[Path]:
    present = sorted(path for path in clips_dir.glob("*") if (path / "frames").is_dir())
    if not present:
        raise SettingError(f"there are no clips in {clips_dir}; a clip is a folder with frames/ and masks/")
    if only is None:
        return present
    by_name = {path.name: path for path in present}
    for name in only:
        if name not in by_name:
            raise SettingError(f"there is no clip {name!r} in {clips_dir}; there are {', '.join(by_name)}")
    return [by_name[name] for name in only]


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
