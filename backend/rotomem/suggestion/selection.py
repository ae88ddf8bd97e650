"""Which frames to draw next, by what the network's keys have not seen yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from rotomem.errors import CancelledError
from rotomem.suggestion.checks import check_annotated, check_count, check_keys, check_share
from rotomem.suggestion.key_distance import FrameRows, composite_key, frame_rows, key_distance

LEAST_AREA = 0.0025
"""Of the image: a frame whose mask (above 0.5) covers less has too little of the object to learn from."""


class Reason(str, Enum):
    """Why a frame is suggested, in an artist's words."""

    UNLIKE_DRAWN = "least like the frames you have drawn"
    ALIKE = "as like the frames you have drawn as any other"
    NOTHING_DRAWN = "no frame is drawn yet"
    NO_OBJECT = "the object is hardly to be seen here, so drawing it helps least"
    PASSES_DISAGREE = "forward and backward passes disagree"
    UNSURE = "the matte is least sure here"
    UNSTEADY = "the matte jumps here"
    LOST = "the matte loses the object here"
    MOTION_DISAGREES = "motion shows something else here than the matte"
    FAR = "far from the frames you have drawn"


@dataclass(frozen=True)
class RankedFrame:
    """A suggestion.

    Args:
        index: of the frame, from 0.
        score: higher is better; what it measures is up to the scoring, >= 0.
        reason: why this one.
    """

    index: int
    score: float
    reason: Reason


def suggest_frames(
    keys: Tensor | ArrayLike,
    shrinkages: Tensor | ArrayLike,
    selections: Tensor | ArrayLike,
    masks: Tensor | ArrayLike,
    annotated: Sequence[int],
    count: int = 5,
    alpha: float = 0.5,
) -> list[int]:
    """Return the indices of the frames that :func:`rank_frames` ranks first, best first."""
    ranked = rank_frames(keys, shrinkages, selections, masks, annotated, count, alpha)
    return [frame.index for frame in ranked]


def rank_frames(
    keys: Tensor | ArrayLike,
    shrinkages: Tensor | ArrayLike,
    selections: Tensor | ArrayLike,
    masks: Tensor | ArrayLike,
    annotated: Sequence[int],
    count: int = 5,
    alpha: float = 0.5,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[RankedFrame]:
    """Choose frames to annotate: each the farthest, by :func:`key_distance`, from all annotated and chosen ones.

    One running minimum per frame, so each pick costs one distance per frame. Frames whose mask covers less than
    ``LEAST_AREA`` come after all others. Of equals the lowest frame is taken. No frame comes twice, nor an annotated
    one; where fewer frames are left than ``count``, all of them come.

    Source: ``specs/xmem.md`` section 4.

    Args:
        keys: (T, C, h, w), of the frames padded to the network's stride.
        shrinkages: (T, 1, h, w), >= 1.
        selections: (T, C, h, w), in [0, 1].
        masks: (T, K, H, W) or (T, H, W) in [0, 1] without padding, drawn or propagated; their union counts.
        annotated: indices of the frames already drawn.
        count: how many frames to choose.
        alpha: weight of the object against the whole frame, in [0, 1].
        cancelled: asked between distances.

    Returns:
        At most ``count`` frames, best first; ``score`` is the distance to the nearest annotated or chosen frame.

    Raises:
        SettingError: shapes that do not fit together, values that are not finite, masks outside [0, 1], or an index,
            count or alpha out of range.
        CancelledError: asked to stop.
    """
    shots = check_keys(*(_as_tensor(x) for x in (keys, shrinkages, selections, masks)))
    total = len(shots.keys)
    drawn = check_annotated(annotated, total)
    check_count(count)
    check_share("alpha", alpha)
    visible = np.array([bool((union > 0.5).float().mean() >= LEAST_AREA) for union in shots.unions])

    def rows(frame: int) -> FrameRows:
        composite = composite_key(shots.keys[frame], shots.unions[frame], alpha)
        return frame_rows(composite, shots.shrinkages[frame], shots.selections[frame])

    def distances(memory: int, others: NDArray[np.intp]) -> NDArray[np.float64]:
        seen = rows(memory)
        result = np.empty(len(others))
        for position, frame in enumerate(others):
            if cancelled():
                raise CancelledError("cancelled while frames were compared; nothing was changed")
            result[position] = key_distance(seen, rows(int(frame)))
        return result

    with torch.inference_mode():
        return farthest_first(distances, visible, drawn, count)


def farthest_first(
    distances: Callable[[int, NDArray[np.intp]], NDArray[np.float64]],
    visible: NDArray[np.bool_],
    annotated: Sequence[int],
    count: int,
) -> list[RankedFrame]:
    """Choose frames one by one, each the farthest from all annotated and chosen ones.

    Args:
        distances: of one frame, as the memory, to others.
        visible: (T,), whether the object can be seen; frames without it are never compared and come last.
        annotated: indices.
        count: how many to choose.
    """
    taken = np.zeros(len(visible), bool)
    taken[list(annotated)] = True
    nearest = np.full(len(visible), np.inf)

    def look_at(frame: int) -> None:
        others = np.flatnonzero(visible & ~taken)
        if len(others):
            nearest[others] = np.minimum(nearest[others], distances(frame, others))

    for frame in annotated:
        look_at(frame)
    chosen: list[RankedFrame] = []
    while len(chosen) < count and not taken.all():
        seen = visible & ~taken
        if seen.any():
            frame = int(np.argmax(np.where(seen, nearest, -1.0)))
            chosen.append(_ranked(frame, float(nearest[frame])))
        else:
            frame = int(np.argmin(taken))
            chosen.append(RankedFrame(frame, 0.0, Reason.NO_OBJECT))
        taken[frame] = True
        if visible[frame] and len(chosen) < count:
            look_at(frame)
    return chosen


def _ranked(frame: int, distance: float) -> RankedFrame:
    if np.isinf(distance):
        return RankedFrame(frame, 0.0, Reason.NOTHING_DRAWN)
    return RankedFrame(frame, distance, Reason.UNLIKE_DRAWN if distance > 0 else Reason.ALIKE)


def _as_tensor(values: Tensor | ArrayLike) -> Tensor:
    return values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
