"""Which frames of a shot to draw next, from its mattes on disk or from the network's keys."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.errors import AnnotationRangeError, CancelledError, SettingError
from rotomem.session.shot import PlateReference, Progress

if TYPE_CHECKING:
    from rotomem.session.matte_signs import MatteSigns
    from rotomem.suggestion import RankedFrame

log = logging.getLogger(__name__)

AUTO, LIKENESS, SPREAD, MOTION = "auto", "likeness", "spread", "motion"
SCORINGS = (AUTO, "need", "confidence", "disagreement", "instability", "combined", SPREAD, LIKENESS, MOTION)
"""What ``SuggestionTask.scoring`` takes; backend/docs/suggestion.md says what each looks at."""


@dataclass(frozen=True)
class SuggestionTask:
    """What a suggestion is made from, as plain picklable data.

    Args:
        plate: read for ``likeness`` alone.
        annotated: frames already drawn.
        first, last: frames to choose from, inclusive.
        matte_pattern: of the mattes of the last propagation, ``/cache/hero.%04d.exr``; empty where there are none.
        matte_files: frame to matte file; used before the pattern. Frames without a file are allowed.
        count: how many frames.
        scoring: one of ``SCORINGS``; ``auto`` is ``need``.
        alpha: for ``likeness``: weight of the object against the whole picture, in [0, 1].
        device, weights, weights_dir: for ``likeness``, as in ``PropagationTask``.
        processing_size: for ``likeness``: shorter side in pixels at which the network looks; 0 is 480.
        cache_dir: for ``likeness``: keys are kept here between calls; None keeps none.
    """

    plate: PlateReference
    annotated: tuple[int, ...]
    first: int
    last: int
    matte_pattern: str = ""
    matte_files: dict[int, Path] = field(default_factory=dict)
    count: int = 5
    scoring: str = AUTO
    alpha: float = 0.5
    device: str = "auto"
    weights: str = ""
    weights_dir: Path | None = None
    processing_size: int = 0
    cache_dir: Path | None = None


@dataclass(frozen=True)
class Suggestion:
    """A frame worth drawing.

    Args:
        frame: Nuke frame number.
        score: >= 0, higher is better; comparable within one call. For ``likeness`` the distance to what is drawn, for
            ``motion`` the predicted relative error times the distance in frames to the nearest drawn one, else
            the share of the shot's expected error that drawing this frame takes away.
        reason: for the artist.
    """

    frame: int
    score: float
    reason: str


def suggest_shot(
    task: SuggestionTask,
    *,
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> tuple[Suggestion, ...]:
    """Return at most ``task.count`` frames to draw, best first; none is annotated already, and none comes twice.

    Args:
        on_progress: told before the first frame and after each one that was looked at.
        cancelled: asked between frames.

    Raises:
        SettingError: an empty range, an unknown scoring, a count below 1.
        AnnotationRangeError: an annotated frame outside the plate.
        PlateError: a matte cannot be read, or for ``likeness`` the plate.
        WeightsError: ``likeness`` without weights.
        CancelledError: asked to stop.
    """
    _check_task(task)
    from rotomem.session.matte_signs import read_matte_signs

    # Frames drawn outside the range count as drawn, and are never suggested.
    frames = (
        range(min(task.first, *task.annotated), max(task.last, *task.annotated) + 1)
        if task.annotated
        else (range(task.first, task.last + 1))
    )
    steps = _Steps(on_progress, cancelled)
    signs = read_matte_signs(task.matte_pattern, task.matte_files, frames, step=steps.counter(len(frames), "reading"))
    annotated = [frame - frames[0] for frame in task.annotated]
    outside = sum(not task.first <= frame <= task.last for frame in frames)
    rank = {LIKENESS: _by_likeness, MOTION: _by_motion}.get(task.scoring, _by_need)
    ranked = rank(task, frames, signs, annotated, outside, steps)
    found = [
        Suggestion(frames[0] + choice.index, choice.score, choice.reason.value)
        for choice in ranked
        if task.first <= frames[0] + choice.index <= task.last
    ]
    return tuple(found[: task.count])


class _Steps:
    """Reports and asks between frames."""

    def __init__(self, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]) -> None:
        self._on_progress, self.cancelled = on_progress, cancelled

    def counter(self, total: int, phase: str) -> Callable[[], None]:
        """Return what to call after each of ``total`` frames."""
        started, done = time.monotonic(), 0
        self._on_progress(Progress(0, total, phase, 0.0))

        def step() -> None:
            nonlocal done
            if self.cancelled():
                raise CancelledError(f"cancelled after {done} of {total} frames; nothing was changed")
            done += 1
            rate = done / max(time.monotonic() - started, 1e-9)
            self._on_progress(Progress(done, total, phase, rate))

        return step


def _by_need(
    task: SuggestionTask, frames: range, signs: MatteSigns, annotated: list[int], outside: int, steps: _Steps
) -> list[RankedFrame]:
    from rotomem.suggestion import SCORINGS as WEIGHTS
    from rotomem.suggestion import rank_by_need

    del steps
    weights = WEIGHTS["need" if task.scoring == AUTO else task.scoring]
    return rank_by_need(signs.figures(task.first, task.last, annotated), annotated, task.count + outside, weights)


def _by_motion(
    task: SuggestionTask, frames: range, signs: MatteSigns, annotated: list[int], outside: int, steps: _Steps
) -> list[RankedFrame]:
    import numpy as np

    from rotomem.suggestion import rank_by_motion_error

    del frames, steps
    errors = signs.motion_errors()
    if np.isnan(errors).all():
        raise SettingError(
            "no matte says how far motion takes it for wrong; propagate with --motion errors, or choose another scoring"
        )
    return rank_by_motion_error(errors, annotated, task.count + outside)


def _by_likeness(
    task: SuggestionTask, frames: range, signs: MatteSigns, annotated: list[int], outside: int, steps: _Steps
) -> list[RankedFrame]:
    import torch

    from rotomem.plates import PlateSource
    from rotomem.session.frame_keys import KeyReader, prune_keys
    from rotomem.suggestion import rank_frames

    plate = task.plate
    source = PlateSource(
        pattern=plate.pattern, files=plate.files, first=plate.first, last=plate.last, colourspace=plate.colourspace
    )
    with contextlib.closing(source):
        reader = KeyReader(
            source,
            colourspace=plate.colourspace,
            weights=task.weights,
            weights_dir=task.weights_dir,
            device=task.device,
            processing_size=task.processing_size,
            cache_dir=task.cache_dir,
        )
        step = steps.counter(len(frames), "encoding")
        encoded = []
        for frame in frames:
            encoded.append(reader.read(frame))
            step()
    if task.cache_dir is not None:
        prune_keys(task.cache_dir)
    keys, shrinkages, selections = (torch.stack(parts) for parts in zip(*encoded, strict=True))
    masks = signs.masks(reader.size)
    for index, frame in enumerate(frames):
        if not task.first <= frame <= task.last and index not in annotated:
            masks[index] = 0  # never compared
    return rank_frames(
        keys, shrinkages, selections, masks, annotated, task.count + outside, task.alpha, cancelled=steps.cancelled
    )


def _check_task(task: SuggestionTask) -> None:
    if task.scoring not in SCORINGS:
        raise SettingError(f"there is no scoring {task.scoring!r}; choose one of {', '.join(SCORINGS)}")
    if task.first > task.last:
        raise SettingError(
            f"the frame range {task.first}-{task.last} is empty; the first frame must not be after the last"
        )
    if task.first < task.plate.first or task.last > task.plate.last:
        raise SettingError(
            f"the frame range {task.first}-{task.last} reaches outside the plate, which has frames "
            f"{task.plate.first}-{task.plate.last}; shorten the range"
        )
    for frame in task.annotated:
        if not task.plate.first <= frame <= task.plate.last:
            raise AnnotationRangeError(
                f"frame {frame} is annotated but the plate has frames {task.plate.first}-{task.plate.last}; "
                "remove that annotation or extend the plate's range"
            )
