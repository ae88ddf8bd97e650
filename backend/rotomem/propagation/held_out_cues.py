"""What flow makes of annotated frames whose own annotation is held back: how it errs in this shot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.colour_votes import inside_probability
from rotomem.propagation.engine import Annotations
from rotomem.propagation.flow import PlateFlow, resize_area
from rotomem.propagation.trail import Belief, Trail

Floats = NDArray[np.float32]

HALF_TRUST_VARIANCE = 30.0
"""In frames of trusted flow; trust is a half there."""


def cue_of(before: Belief | None, after: Belief | None) -> Floats:
    """Return the network's prior (K, 4, h, w): mattes carried from before and after, and the trust in each.

    Args:
        before, after: at least one of them.
    """
    given = before or after
    assert given is not None
    nothing = np.zeros_like(given.mattes)
    mattes = [nothing if side is None else side.mattes for side in (before, after)]
    trust = [
        nothing if side is None else HALF_TRUST_VARIANCE / (HALF_TRUST_VARIANCE + side.variance)
        for side in (before, after)
    ]
    return np.ascontiguousarray(np.stack([*mattes, *trust]).transpose(3, 0, 1, 2), dtype=np.float32)


def held_out_cues(
    plate: PlateFlow,
    annotations: Annotations,
    annotated: Mapping[str, Sequence[int]],
    *,
    wanted: Sequence[int],
    cancelled: Callable[[], bool],
) -> dict[tuple[int, str], Floats]:
    """Carry annotated mattes to the annotated frames next to them, as the engine would were these not annotated.

    Args:
        annotated: frames of each object, ascending.
        wanted: annotated frames to carry to.
        cancelled: asked at every frame; what was carried until then is returned.

    Returns:
        (frame, object) to prior (4, h, w), where there is another annotated frame.
    """
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, frames in annotated.items():
        groups.setdefault(tuple(frames), []).append(name)
    cues: dict[tuple[int, str], Floats] = {}
    for frames, names in groups.items():
        before: dict[int, Belief] = {}
        after: dict[int, Belief] = {}
        for left, right in pairwise(frames):
            if left not in wanted and right not in wanted:
                continue
            reached = _carry_across(plate, annotations, names, left, right, cancelled)
            if reached is None:
                break
            before[right], after[left] = reached
        for frame in before.keys() | after.keys():
            cue = cue_of(before.get(frame), after.get(frame))
            cues.update({(frame, name): cue[index] for index, name in enumerate(names) if frame in wanted})
    return cues


def _carry_across(
    plate: PlateFlow,
    annotations: Annotations,
    names: Sequence[str],
    left: int,
    right: int,
    cancelled: Callable[[], bool],
) -> tuple[Belief, Belief] | None:
    """Return ``left``'s mattes carried to ``right``, and ``right``'s to ``left``; None once cancelled."""
    at_right = _carry(plate, annotations, names, left, range(left + 1, right + 1), cancelled)
    at_left = _carry(plate, annotations, names, right, range(right - 1, left - 1, -1), cancelled)
    return None if at_right is None or at_left is None else (at_right, at_left)


def _carry(
    plate: PlateFlow,
    annotations: Annotations,
    names: Sequence[str],
    key: int,
    frames: range,
    cancelled: Callable[[], bool],
) -> Belief | None:
    """Carry ``key``'s mattes along ``frames``, pulled by its own colours alone: the other side's must not show."""
    mattes = np.stack([resize_area(annotations[key][name], plate.size) for name in names], axis=-1)
    trail = Trail(plate, key, step=frames.step, mattes=mattes)
    belief = None
    for frame in frames:
        if cancelled():
            return None
        pair = plate.pair(frame, frame - frames.step)
        votes = trail.count_votes(frame, pair.displacement)
        belief = trail.carry_belief(pair, inside_probability(votes, plate.size))
    return belief
