"""Which frames to draw next, by how much of the expected error each would take away.

A frame's need is read from the signs that its propagation left. Drawing a frame brings its neighbours nearer to a drawn
frame, and their error is taken to shrink as their distance does; so a frame's score is the need that it takes away from
the whole stretch around it. Picks so lie where the need is and do not cluster. Figures: ``docs/suggestion.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotomem.errors import SettingError
from rotomem.suggestion.checks import check_annotated, check_count
from rotomem.suggestion.selection import RankedFrame, Reason
from rotomem.suggestion.signs import Figures, FrameSigns

MOST_CANDIDATES = 128
"""Longer shots are judged at evenly spaced frames: pairs of all would take minutes at a thousand frames."""
SIGNS = ("distance", "uncertainty", "disagreement", "instability")
TINY = 1e-9


@dataclass(frozen=True)
class NeedWeights:
    """Shares of what makes up a frame's need; each sign counts relative to its own mean over the shot.

    Args:
        distance: to the drawn frames, in time; the only one that needs no propagation.
        uncertainty, disagreement, instability: see :class:`FrameSigns`.
        ahead: judge each frame together with the best one to draw after it, so that the first picks leave room for
            the next ones.
    """

    distance: float = 0.0
    uncertainty: float = 0.0
    disagreement: float = 0.0
    instability: float = 0.0
    ahead: bool = False

    def __post_init__(self) -> None:
        values = tuple(getattr(self, name) for name in SIGNS)
        if not (min(values) >= 0 and 0 < sum(values) < np.inf):
            raise SettingError(f"the weights of a frame's need are {values}; give 0 or more, and one above 0")


DEFAULT_WEIGHTS = NeedWeights(uncertainty=1, ahead=True)

SCORINGS = {
    "need": DEFAULT_WEIGHTS,
    "confidence": NeedWeights(uncertainty=1),
    "disagreement": NeedWeights(disagreement=1),
    "instability": NeedWeights(instability=1),
    "combined": NeedWeights(distance=1, uncertainty=1, disagreement=1, instability=1),
    "spread": NeedWeights(distance=1),
}
"""Weights by name; ``docs/suggestion.md`` has how each did on the evaluation clips."""

_REASONS = {
    "distance": Reason.FAR,
    "uncertainty": Reason.UNSURE,
    "disagreement": Reason.PASSES_DISAGREE,
    "instability": Reason.UNSTEADY,
}


def rank_by_need(
    signs: FrameSigns, annotated: Sequence[int], count: int = 5, weights: NeedWeights = DEFAULT_WEIGHTS
) -> list[RankedFrame]:
    """Choose frames to annotate, best first; frames without the object come last, no frame twice.

    Of equals the lowest frame is taken; where fewer frames are left than ``count``, all of them come. A sign that was
    measured nowhere counts for nothing; where that leaves none, distance counts.

    Args:
        signs: of T frames.
        annotated: indices of the frames already drawn.
        count: how many frames to choose.

    Returns:
        At most ``count`` frames; ``score`` is the share of the shot's need that drawing the frame takes away, in
        [0, 1], each pick after the ones before it; ``reason`` is what speaks for it more than for other frames.

    Raises:
        SettingError: figures of different lengths, negative or infinite, an index or count out of range.
    """
    total = len(signs.visible)
    _check_signs(signs)
    taken = check_annotated(annotated, total)
    check_count(count)
    terms = _terms(signs, taken)
    weighted = {name: getattr(weights, name) * term for name, term in terms.items() if getattr(weights, name)}
    need = np.asarray(sum(weighted.values())) if weighted else terms["distance"]
    whole = max(float(need.sum()), TINY)
    ahead = weights.ahead and bool(weighted)  # in time alone, one by one is better
    chosen: list[RankedFrame] = []
    while len(chosen) < count and len(taken) < total:
        left = np.setdiff1d(np.arange(total), taken)
        candidates = _thinned(left[signs.visible[left]])
        if not len(candidates):
            chosen.append(RankedFrame(int(left[0]), 0.0, Reason.NO_OBJECT))
        else:
            relief = _relief(candidates, taken, total)
            best = _best_of_pairs(candidates, taken, need) if ahead else _first_largest(relief @ need)
            reason = _reason({name: relief @ term for name, term in terms.items()}, best)
            if signs.lost[candidates[best]]:
                reason = Reason.LOST
            score = float(relief[best] @ need) / whole
            chosen.append(RankedFrame(int(candidates[best]), score, reason if taken else Reason.NOTHING_DRAWN))
            need = need * (1.0 - relief[best])
            terms = {name: term * (1.0 - relief[best]) for name, term in terms.items()}
        taken.append(chosen[-1].index)
    return chosen


def travel(annotated: Sequence[int], total: int) -> Figures:
    """Return (T,): how far the drawn mattes have come at each frame.

    Between two drawn frames the distances to both combine as the variances of both passes do, l r / (l + r); beyond the
    last one there is one distance. 0 on drawn frames; ``total`` everywhere where none is drawn.
    """
    return _combined(*_sides(annotated, total), total)


def _sides(annotated: Sequence[int], total: int) -> tuple[Figures, Figures]:
    """Return the nearest drawn frame at or before each frame and at or after it, infinite where there is none."""
    drawn = np.array([-np.inf, *sorted(annotated), np.inf])
    frames = np.arange(total, dtype=float)
    before = drawn[np.searchsorted(drawn, frames, side="right") - 1]
    after = drawn[np.searchsorted(drawn, frames, side="left")]
    return before, after


def _combined(before: Figures, after: Figures, total: int) -> Figures:
    frames = np.arange(total, dtype=float)
    closeness = 1.0 / np.maximum(frames - before, TINY) + 1.0 / np.maximum(after - frames, TINY)
    distance = 1.0 / np.maximum(closeness, 1.0 / max(total, 1))
    return np.asarray(np.where(distance < 2 * TINY, 0.0, distance))


def _relief(candidates: NDArray[np.intp], taken: Sequence[int], total: int) -> Figures:
    """Return (N, T): the share of each frame's error that goes once a candidate is drawn too, in [0, 1]."""
    before, after = _extended(*_sides(taken, total), candidates)
    return _relieved(before, after, travel(taken, total))


def _extended(before: Figures, after: Figures, candidates: NDArray[np.intp]) -> tuple[Figures, Figures]:
    """Return both sides (N, T) with one candidate each drawn too."""
    frames, drawn = np.arange(before.shape[-1], dtype=float), candidates[:, None].astype(float)
    return (
        np.where(drawn <= frames, np.maximum(drawn, before), before),
        np.where(drawn >= frames, np.minimum(drawn, after), after),
    )


def _relieved(before: Figures, after: Figures, held: Figures) -> Figures:
    now = _combined(before, after, held.shape[-1])
    return np.asarray(1.0 - now / np.maximum(held, TINY))


def _best_of_pairs(candidates: NDArray[np.intp], taken: Sequence[int], need: Figures) -> int:
    """Return the better one, by position, of the two candidates that take most need away together."""
    total = len(need)
    held = travel(taken, total)
    before, after = _extended(*_sides(taken, total), candidates)
    alone = np.round(_relieved(before, after, held) @ need, 9)
    best, pair = -1.0, (0, 0)
    for first in range(len(candidates) - 1):
        both = np.maximum(before[first], before[first + 1 :]), np.minimum(after[first], after[first + 1 :])
        together = _relieved(*both, held) @ need
        second = _first_largest(together)
        if together[second] > best + TINY:
            best, pair = float(together[second]), (first, first + 1 + second)
    return max(pair, key=lambda position: alone[position])


def _first_largest(values: Figures) -> int:
    """Return the position of the largest value; rounding noise does not tell equals apart."""
    return int(np.argmax(np.round(values, 9)))


def _thinned(frames: NDArray[np.intp]) -> NDArray[np.intp]:
    if len(frames) <= MOST_CANDIDATES:
        return frames
    spaced = np.linspace(0, len(frames) - 1, MOST_CANDIDATES).round().astype(int)
    return np.asarray(frames[spaced])


def _terms(signs: FrameSigns, drawn: Sequence[int]) -> dict[str, Figures]:
    """Return each measured sign (T,) relative to its mean over the frames that may be drawn; 0 on the others."""
    total = len(signs.visible)
    wanted = signs.visible.copy()
    wanted[list(drawn)] = False
    distance = travel(drawn, total)
    terms = {"distance": np.where(wanted, distance, 0.0)}
    for name in SIGNS:
        figures: Figures = distance if name == "distance" else getattr(signs, name)
        measured = wanted & ~np.isnan(figures)
        mean = float(figures[measured].mean()) if measured.any() else 0.0
        if mean > 0:
            # Where a sign was not measured, it speaks neither for a frame nor against it.
            terms[name] = np.where(wanted, np.where(np.isnan(figures), 1.0, figures / mean), 0.0)
    return terms


def _reason(gains: dict[str, Figures], best: int) -> Reason:
    lead = {name: float(gain[best] / max(gain.mean(), TINY)) for name, gain in gains.items()}
    return _REASONS[max(lead, key=lambda name: lead[name])]


def _check_signs(signs: FrameSigns) -> None:
    total = len(signs.visible)
    for name in SIGNS[1:]:
        figures = getattr(signs, name)
        if figures.shape != (total,):
            raise SettingError(f"{name} has shape {figures.shape}; give one figure for each of the {total} frames")
        wrong = np.isinf(figures) | (figures < 0)
        if wrong.any():
            raise SettingError(f"{name} of frame {int(np.argmax(wrong))} is {figures[wrong][0]}; give 0 or more")
