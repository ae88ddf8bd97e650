"""What is trained on, and how fast, as training goes on. All of it depends on progress alone, from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rotomem.errors import SettingError


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    Args:
        until: progress at which it ends.
        side: pixels; frames: of a clip, the least and the most.
        most_annotated: 1 in the first stage, then up to 3, anywhere in the clip.
        batch: clips in a step.
    """

    until: float
    side: int
    frames: tuple[int, int]
    most_annotated: int
    batch: int


CPU_STAGES = (
    Stage(0.15, side=96, frames=(2, 3), most_annotated=1, batch=12),
    Stage(0.35, side=96, frames=(4, 6), most_annotated=3, batch=8),
    Stage(0.80, side=128, frames=(4, 6), most_annotated=3, batch=6),
    Stage(1.00, side=192, frames=(4, 5), most_annotated=3, batch=4),
)
CUDA_STAGES = (
    Stage(0.12, side=128, frames=(3, 3), most_annotated=1, batch=64),
    Stage(0.50, side=192, frames=(5, 5), most_annotated=3, batch=32),
    Stage(0.80, side=256, frames=(6, 6), most_annotated=3, batch=24),
    Stage(1.00, side=320, frames=(8, 8), most_annotated=3, batch=12),
)
"""One clip length per stage: torch.compile makes kernels anew for every shape."""

WARM_UP = 0.02
LEAST_RATE = 0.02
HARD_FROM, HARD_UNTIL, HARD_SHARE = 0.05, 0.4, 0.15
CORRESPONDENCE_FROM, CORRESPONDENCE_TO = 0.3, 0.05


def stage_at(stages: tuple[Stage, ...], progress: float) -> Stage:
    """The stage that ``progress`` lies in; the last one beyond 1."""
    return next((stage for stage in stages if progress < stage.until), stages[-1])


def learning_rate(peak: float, progress: float) -> float:
    """Linear warm-up, then a cosine down to 2 % of the peak."""
    if progress < WARM_UP:
        return peak * (0.05 + 0.95 * progress / WARM_UP)
    fall = min(1.0, (progress - WARM_UP) / (1 - WARM_UP))
    return peak * (LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * fall)))


def hard_share(progress: float) -> float:
    """Of the pixels, those that the mask loss counts: all at first, then fewer and fewer, the hardest."""
    way = min(1.0, max(0.0, (progress - HARD_FROM) / (HARD_UNTIL - HARD_FROM)))
    return 1 + (HARD_SHARE - 1) * way


def correspondence_weight(progress: float) -> float:
    """Strong while keys are being found, weak once masks steer them."""
    return CORRESPONDENCE_FROM + (CORRESPONDENCE_TO - CORRESPONDENCE_FROM) * min(1.0, progress / 0.5)


def difficulty_at(progress: float) -> float:
    """Of the shots: slow and clean at first, everything from a fifth of the way on."""
    return min(1.0, 0.4 + 3 * progress)


@dataclass(frozen=True)
class Horizon:
    """How long training is to last in all, over however many pieces; exactly one of the two is given.

    With ``steps`` training is reproducible; with ``minutes`` it fits the time that there is.
    """

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None) or (self.minutes or self.steps or 0) <= 0:
            raise SettingError("give the length of the training either in minutes or in steps, above 0")

    def progress(self, *, steps: int, minutes: float) -> float:
        """From 0 to 1, after so many steps and minutes."""
        done = steps / self.steps if self.steps is not None else minutes / (self.minutes or 1.0)
        return min(1.0, done)
