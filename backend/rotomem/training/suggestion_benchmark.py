"""Which way of choosing frames to draw gives the best mattes, with the truth standing in for the artist.

Protocol: the first frame is drawn at k = 1, by every method. Each round propagates, a method sees what an artist's
session would show it (never the truth) and names one frame, which is drawn with its truth. J and F are the means over
all frames that are not drawn, J&F their mean; overall is the mean over clips. ``uniform`` is told k beforehand and
draws ``annotated_frames(k)`` anew for each k; all others keep what they drew.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from rotomem.errors import SettingError
from rotomem.propagation.engine import Engine
from rotomem.suggestion import SCORINGS, FrameSigns, frame_signs, rank_by_need
from rotomem.training.evaluation import annotated_frames
from rotomem.training.footage import ClipFolder
from rotomem.training.suggestion_runs import ReducedFootage, StretchResult, StretchRuns

UNIFORM, BISECTION, RANDOM = "uniform", "bisection", "random"
METHODS = (UNIFORM, BISECTION, RANDOM, *SCORINGS)
RANDOM_SEEDS = (0, 1)
DEVELOPMENT_SEED, DEVELOPMENT_SHARE = 4, 3
"""Scorings were chosen on a third of the clips, drawn with this seed from the clips in alphabetical order."""


@dataclass(frozen=True)
class SuggestionScore:
    """One method on one clip with k drawn frames; ``random`` is the mean over its seeds."""

    clip: str
    method: str
    k: int
    j: float
    f: float
    annotated: tuple[int, ...]

    @property
    def j_and_f(self) -> float:
        return (self.j + self.f) / 2


def measure_suggestions(
    clips: Sequence[ClipFolder],
    engine: Engine,
    log_file: Path,
    *,
    methods: Sequence[str] = METHODS,
    most_drawn: int = 8,
    step: int = 1,
    scale: float = 1.0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[SuggestionScore]:
    """Measure every method on every clip for k = 1 to ``most_drawn``.

    Args:
        log_file: propagations made, as JSON lines; those in it are not made again.
        step: takes every ``step``-th frame.
        scale: of the frames' size.
        on_progress: told (done, total) of clips and methods.

    Raises:
        SettingError: no such method, or a step, scale or number of frames out of range.
    """
    for method in methods:
        if method not in METHODS:
            raise SettingError(f"there is no method {method!r}; choose from {', '.join(METHODS)}")
    if step < 1 or not 0 < scale <= 1 or most_drawn < 1:
        raise SettingError(
            f"step {step}, scale {scale}, {most_drawn} frames: give 1 or more, above 0 to 1, and 1 or more"
        )
    scores: list[SuggestionScore] = []
    done, total = 0, len(clips) * len(methods)
    on_progress(done, total)
    for clip in clips:
        footage = ReducedFootage(clip.open(), step=step, scale=scale)
        runs = StretchRuns(footage, engine, log_file, f"{clip.name} {clip.fingerprint} step {step} scale {scale}")
        for method in methods:
            scores += _measure(clip.name, method, runs, footage, most_drawn)
            done += 1
            on_progress(done, total)
    return scores


def development_clips(names: Sequence[str]) -> frozenset[str]:
    """Return the clips that scorings are chosen on; the others are for reporting alone."""
    ordered = sorted(names)
    return frozenset(random.Random(DEVELOPMENT_SEED).sample(ordered, len(ordered) // DEVELOPMENT_SHARE))


def _measure(
    clip: str, method: str, runs: StretchRuns, footage: ReducedFootage, most_drawn: int
) -> list[SuggestionScore]:
    total = len(footage)
    most = min(most_drawn, total - 1)
    if method == RANDOM:
        orders = [_random_order(f"{clip}{seed}", total) for seed in RANDOM_SEEDS]
        rounds = [[_mean_scores(runs.stretches(sorted(order[:k]))) for order in orders] for k in range(1, most + 1)]
        means = [np.mean(scores, axis=0) for scores in rounds]
        return [SuggestionScore(clip, method, k, float(j), float(f), ()) for k, (j, f) in enumerate(means, start=1)]
    scores = []
    drawn = [0]
    for k in range(1, most + 1):
        if method == UNIFORM:
            drawn = annotated_frames(k, total)
        stretches = runs.stretches(drawn)
        scores.append(SuggestionScore(clip, method, k, *_mean_scores(stretches), tuple(drawn)))
        if method != UNIFORM and k < most:
            drawn = sorted(
                [*drawn, _next_frame(method, stretches, {frame: footage.area(frame) for frame in drawn}, total)]
            )
    return scores


def _next_frame(method: str, stretches: Sequence[StretchResult], drawn: dict[int, float], total: int) -> int:
    if method == BISECTION:
        return halve_largest_gap(list(drawn), total)
    return rank_by_need(signs_of(stretches, drawn, total), list(drawn), 1, SCORINGS[method])[0].index


def halve_largest_gap(drawn: Sequence[int], total: int) -> int:
    """Return the last frame if it is not drawn, else the middle of the largest gap, of equals the first one."""
    if drawn[-1] != total - 1:
        return total - 1
    gaps = [(after - before, -before) for before, after in pairwise(drawn)]
    length, negative = max(gaps)
    return -negative + length // 2


def signs_of(stretches: Sequence[StretchResult], drawn: dict[int, float], total: int) -> FrameSigns:
    """Return what an artist's session would know after that propagation.

    Args:
        drawn: frame to the area of its drawn matte.
    """
    area = np.full(total, np.nan)
    area[list(drawn)] = list(drawn.values())
    uncertainty, instability, disagreement = np.zeros(total), np.zeros(total), np.full(total, np.nan)
    disagreement[list(drawn)] = 0
    for stretch in stretches:
        first = 0 if stretch.left is None else stretch.left + 1
        where = slice(first, first + len(stretch.j))
        area[where] = stretch.area
        uncertainty[where] = 1 - np.array(stretch.confidence)
        instability[where] = stretch.instability
        disagreement[where] = [np.nan if value is None else value for value in stretch.disagreement]
    return frame_signs(area, list(drawn), uncertainty=uncertainty, disagreement=disagreement, instability=instability)


def _random_order(seed: str, total: int) -> list[int]:
    others = list(range(1, total))
    random.Random(seed).shuffle(others)
    return [0, *others]


def _mean_scores(stretches: Sequence[StretchResult]) -> tuple[float, float]:
    return (
        float(np.mean([value for stretch in stretches for value in stretch.j])),
        float(np.mean([value for stretch in stretches for value in stretch.f])),
    )


def write_scores(scores: Sequence[SuggestionScore], path: Path) -> None:
    """Write the scores as JSON: ``overall`` by set of clips, method and k, and ``clips``."""
    clips = [
        {"clip": s.clip, "method": s.method, "k": s.k, "J": round(s.j, 4), "F": round(s.f, 4),
         "J&F": round(s.j_and_f, 4), "annotated": list(s.annotated)}
        for s in scores
    ]  # fmt: skip
    overall = {
        name: {method: [round(value, 4) for value in curve] for method, curve in curves.items()}
        for name, curves in overall_curves(scores).items()
    }
    path.write_text(json.dumps({"overall": overall, "clips": clips}, indent=1), encoding="utf-8")


def overall_curves(scores: Sequence[SuggestionScore]) -> dict[str, dict[str, list[float]]]:
    """Return mean J&F for k = 1, 2, ... by set of clips (all, development, reported) and method."""
    clips = list(dict.fromkeys(score.clip for score in scores))
    development = development_clips(clips)
    sets = {"all": clips, "development": [c for c in clips if c in development]}
    sets["reported"] = [c for c in clips if c not in development]
    methods = list(dict.fromkeys(score.method for score in scores))
    most = max(score.k for score in scores)
    by_place = {(score.clip, score.method, score.k): score.j_and_f for score in scores}

    def mean(chosen: list[str], method: str, k: int) -> float:
        return float(np.mean([by_place[c, method, k] for c in chosen if (c, method, k) in by_place]))

    return {
        name: {method: [mean(chosen, method, k) for k in range(1, most + 1)] for method in methods}
        for name, chosen in sets.items()
        if chosen
    }


def format_scores(scores: Sequence[SuggestionScore]) -> str:
    """Lay out mean J&F in percent, a block per set of clips, a row per method, a column per k."""
    blocks = []
    for name, curves in overall_curves(scores).items():
        most = len(next(iter(curves.values())))
        clips = {score.clip for score in scores}
        chosen = {"all": clips, "development": development_clips(list(clips))}.get(name)
        count = len(chosen if chosen is not None else clips - development_clips(list(clips)))
        header = f"{f'{name}, {count} clips':24}" + "".join(f"{f'k={k}':>7}" for k in range(1, most + 1))
        rows = [f"{method:24}" + "".join(f"{100 * x:7.1f}" for x in curve) for method, curve in curves.items()]
        blocks.append("\n".join([header, *rows]))
    return "\n\n".join(blocks)
