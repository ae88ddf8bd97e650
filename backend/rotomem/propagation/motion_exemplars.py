"""Frames on which motion shows an object so well that they can stand beside what the artist has drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.classical_motion import MotionProposal
from rotomem.propagation.classical_motion.proposal import ProposedObject
from rotomem.propagation.engine import Annotations, Engine, FrameSource, Image
from rotomem.propagation.flow import PlateFlow, carry
from rotomem.propagation.motion_matching import Match, drawn_nearby, mask_iou, match_drawing, still_matches

Mask = NDArray[np.bool_]

MOST_EXEMPLARS = 4
LEAST_APART = 5
"""Frames between two exemplars: nearer ones show the same."""
LEAST_WEIGHT = 0.3
"""An exemplar whose relative error is expected to be larger than what this leaves shows too little of the object."""
ROUND_TRIP_FRAMES = 10
ROUND_TRIP_IOU = 0.6
REPLACED_WITHIN = 2
"""What is drawn takes the place of exemplars so near to it."""


@dataclass(frozen=True)
class Exemplar:
    """One frame, of lower rank than what is drawn.

    Args:
        mattes: (H, W) in [0, 1] at the plate's size, by object; of other objects nothing is said.
        weight: 1 minus the relative error expected, in (0, 1).
    """

    frame: int
    mattes: Mapping[str, Image]
    weight: float


@runtime_checkable
class TakesExemplars(Protocol):
    """An engine with a permanent memory."""

    exemplars: Sequence[Exemplar]


def exemplars_beside(exemplars: Sequence[Exemplar], annotated: Mapping[str, Sequence[int]]) -> list[Exemplar]:
    """Return what is left of exemplars beside what is drawn; none lies within two frames of its object's drawing."""
    left = []
    for exemplar in exemplars:
        mattes = {
            name: matte
            for name, matte in exemplar.mattes.items()
            if all(abs(frame - exemplar.frame) > REPLACED_WITHIN for frame in annotated.get(name, ()))
        }
        if mattes:
            left.append(Exemplar(exemplar.frame, mattes, exemplar.weight))
    return left


def find_exemplars(
    source: FrameSource,
    flow: PlateFlow,
    proposals: Sequence[MotionProposal],
    objects: Sequence[str],
    annotations: Annotations,
    *,
    most: int = MOST_EXEMPLARS,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Exemplar]:
    """Choose exemplars of each object.

    A thing that moves is an object where the two agree on the frames around what is drawn of it; how well they do also
    limits the exemplars' weight. Where nothing at all is drawn, the objects are the things that move most, in that
    order. Of an object's frames, those of the least expected error are taken that are not too near to each other and
    survive a round trip of propagation.

    Args:
        source: the plate.
        flow: of it.
        proposals: one for each shot between cuts.
        most: of each object and shot.
    """
    search = _Search(source, flow, annotations, most, cancelled)
    found: list[Exemplar] = []
    for proposal in proposals:
        views = {name: drawn_nearby(flow, proposal.frames, annotations, name) for name in objects}
        for name, shown in search.named(proposal, views).items():
            found += search.choose(proposal.frames, name, shown, views[name])
    return _joined(found)


@dataclass(frozen=True)
class _Shown:
    """An object as motion shows it.

    Args:
        match: with what is drawn of it; None where nothing at all is drawn.
    """

    moving: ProposedObject
    match: Match | None

    def weight(self, frame: int) -> float:
        confidence = self.moving.confidence(frame)
        return confidence if self.match is None else min(confidence, 1.0 - self.match.error)


@dataclass(frozen=True)
class _Search:
    source: FrameSource
    flow: PlateFlow
    annotations: Annotations
    most: int
    cancelled: Callable[[], bool]

    def named(self, proposal: MotionProposal, views: Mapping[str, Mapping[int, Mask]]) -> dict[str, list[_Shown]]:
        """Return what moves of each object; of one that is lost and found again there are several.

        Args:
            views: masks of what is drawn by object and frame.
        """
        if not any(self.annotations.values()):
            return {name: [_Shown(moving, None)] for name, moving in zip(views, proposal.objects, strict=False)}
        named: dict[str, list[_Shown]] = {}
        for moving in proposal.objects:
            if self.cancelled():
                break
            matches = {
                name: match
                for name, drawn in views.items()
                if (match := match_drawing(self.source, self.flow, moving, drawn, least_confidence=LEAST_WEIGHT))
            }
            if matches:
                best = max(matches, key=lambda name: matches[name].iou)
                named.setdefault(best, []).append(_Shown(moving, matches[best]))
        return named

    def choose(self, frames: range, name: str, shown: Sequence[_Shown], drawn: Mapping[int, Mask]) -> list[Exemplar]:
        """Return the frames of one object that have the most weight, in that order."""
        candidates = [
            (entry.weight(frame), entry.moving.confidence(frame), frame, entry)
            for entry in shown
            for frame in entry.moving.track.sightings
        ]
        occupied = [frame for frame, given in self.annotations.items() if name in given]
        chosen: list[Exemplar] = []
        for weight, _, frame, entry in sorted(candidates, key=lambda candidate: candidate[:2], reverse=True):
            if self.cancelled() or len(chosen) == self.most or weight < LEAST_WEIGHT:
                break
            if any(abs(frame - other) < LEAST_APART for other in occupied):
                continue
            mask = entry.moving.track.sightings[frame].mask.unpack()
            if not survives_round_trip(self.flow, frames, frame, mask):
                continue
            matte = entry.moving.matte(frame, self.source.image(frame))
            if entry.match is None or still_matches(entry.match, mask, matte, drawn.get(frame)):
                chosen.append(Exemplar(frame, {name: matte}, min(weight, 0.99)))
                occupied.append(frame)
        return chosen


def survives_round_trip(flow: PlateFlow, frames: range, frame: int, mask: Mask) -> bool:
    """Return whether a mask (h, w), carried some frames along flow and back, is still itself: IoU of 0.6 or more.

    It is carried both ways, as far as the shot reaches, as ``warp`` carries: a mask that flow does not support loses
    itself on the way.
    """
    for step in (1, -1):
        end = min(max(frame + step * ROUND_TRIP_FRAMES, frames[0]), frames[-1])
        way = list(range(frame, end + step, step)) if end != frame else [frame]
        carried = mask.astype(np.float32)
        for before, after in pairwise([*way, *way[-2::-1]]):
            carried = carry(carried, flow.displacement(after, before))
        if mask_iou(carried > 0.5, mask) < ROUND_TRIP_IOU:
            return False
    return True


def _joined(found: Sequence[Exemplar]) -> list[Exemplar]:
    """Return one exemplar a frame, of the least weight of those that share it."""
    frames: dict[int, Exemplar] = {}
    for exemplar in found:
        other = frames.get(exemplar.frame)
        mattes = {**other.mattes, **exemplar.mattes} if other else exemplar.mattes
        weight = min(other.weight, exemplar.weight) if other else exemplar.weight
        frames[exemplar.frame] = Exemplar(exemplar.frame, mattes, weight)
    return [frames[frame] for frame in sorted(frames)]


def propagate_exemplars(
    engine: Engine,
    source: FrameSource,
    exemplars: Sequence[Exemplar],
    frames: range,
    *,
    cancelled: Callable[[], bool],
) -> Iterator[tuple[int, dict[str, Image], float]]:
    """Propagate exemplars where nothing is drawn: they take the place of annotations, without being any.

    Args:
        frames: of one shot.

    Yields:
        Frame, matte (H, W) of each object that has an exemplar, and the frame's confidence in [0, 1]: the
        propagation's, times the mean weight of the exemplars.
    """
    names = list(dict.fromkeys(name for exemplar in exemplars for name in exemplar.mattes))
    given = {exemplar.frame: dict(exemplar.mattes) for exemplar in exemplars}
    if not names:
        return
    if isinstance(engine, TakesExemplars):
        engine.exemplars = ()
    weight = float(np.mean([exemplar.weight for exemplar in exemplars]))
    for result in engine.propagate(source, given, names, frames, cancelled=cancelled):
        near = result.mattes.max(axis=0) > 0
        confidence = float(result.confidence[near].mean()) if near.any() else 0.0
        yield result.frame, dict(zip(names, result.mattes, strict=True)), weight * confidence
