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
from rotomem.propagation.flow import PlateFlow, carry, resize_area

Mask = NDArray[np.bool_]

MOST_EXEMPLARS = 4
LEAST_APART = 5
"""Frames between two exemplars: nearer ones show the same."""
LEAST_WEIGHT = 0.3
"""An exemplar whose relative error is expected to be larger than what this leaves shows too little of the object."""
ROUND_TRIP_FRAMES = 10
ROUND_TRIP_IOU = 0.6
MATCH_IOU = 0.5
"""With what is drawn, by which a thing that moves is told to be that object."""
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

    A thing that moves is an object where it overlaps what is drawn of it. Where nothing at all is drawn, the objects
    are the things that move most, in that order. Of an object's frames, those of the least expected error are taken
    that are not too near to each other and survive a round trip of propagation.

    Args:
        source: the plate.
        flow: of it.
        proposals: one for each shot between cuts.
        most: of each object and shot.
    """
    found = []
    for proposal in proposals:
        for name, track in _named(flow, proposal, objects, annotations):
            drawn = [frame for frame, given in annotations.items() if name in given]
            chosen: list[int] = []
            sightings = track.track.sightings
            for frame in sorted(sightings, key=lambda at: -sightings[at].confidence):
                if cancelled() or len(chosen) == most or sightings[frame].confidence < LEAST_WEIGHT:
                    break
                apart = all(abs(frame - other) >= LEAST_APART for other in (*chosen, *drawn))
                if apart and survives_round_trip(flow, proposal.frames, frame, sightings[frame].mask.unpack()):
                    chosen.append(frame)
            for frame in chosen:
                matte = track.matte(frame, source.image(frame))
                found.append(Exemplar(frame, {name: matte}, min(sightings[frame].confidence, 0.99)))
    return _joined(found)


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
        if _iou(carried > 0.5, mask) < ROUND_TRIP_IOU:
            return False
    return True


def _named(
    flow: PlateFlow, proposal: MotionProposal, objects: Sequence[str], annotations: Annotations
) -> list[tuple[str, ProposedObject]]:
    if not any(annotations.values()):
        return list(zip(objects, proposal.objects, strict=False))
    named: list[tuple[str, ProposedObject]] = []
    for track in proposal.objects:
        overlaps = {name: _overlap(flow, track, name, annotations) for name in objects}
        best = max(overlaps, key=lambda name: overlaps[name], default="")
        if best and overlaps[best] >= MATCH_IOU and all(best != name for name, _ in named):
            named.append((best, track))
    return named


def _overlap(flow: PlateFlow, track: ProposedObject, name: str, annotations: Annotations) -> float:
    """Return the mean IoU with what is drawn of an object, over the frames where both are; 0 without any."""
    found = [
        _iou(track.track.sightings[frame].mask.unpack(), resize_area(given[name], flow.size) > 0.5)
        for frame, given in annotations.items()
        if name in given and frame in track.track.sightings
    ]
    return float(np.mean(found)) if found else 0.0


def _joined(found: Sequence[Exemplar]) -> list[Exemplar]:
    """Return one exemplar a frame, of the least weight of those that share it."""
    frames: dict[int, Exemplar] = {}
    for exemplar in found:
        other = frames.get(exemplar.frame)
        mattes = {**other.mattes, **exemplar.mattes} if other else exemplar.mattes
        weight = min(other.weight, exemplar.weight) if other else exemplar.weight
        frames[exemplar.frame] = Exemplar(exemplar.frame, mattes, weight)
    return [frames[frame] for frame in sorted(frames)]


def _iou(one: Mask, other: Mask) -> float:
    union = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / union if union else 0.0


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
