"""Which frames to draw next, by where motion takes the mattes for wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rotomem.suggestion.checks import check_annotated, check_count
from rotomem.suggestion.selection import RankedFrame, Reason
from rotomem.suggestion.signs import Figures


def rank_by_motion_error(errors: Figures, annotated: Sequence[int], count: int) -> list[RankedFrame]:
    """Choose the frames of the largest predicted relative error far from any drawn one, best first.

    A frame's score is its error times its distance to the nearest frame that is drawn or was chosen before; where
    nothing is, its error alone. Of equals the lowest frame is taken.

    Args:
        errors: (T,), area in error over the matte's area; NaN where it was not measured, which counts as 0.
        annotated: indices of the frames already drawn.
        count: how many frames to choose.

    Raises:
        SettingError: an index or count out of range.
    """
    total = len(errors)
    taken = check_annotated(annotated, total)
    check_count(count)
    known = np.nan_to_num(np.clip(errors, 0.0, 1.0))
    frames = np.arange(total)
    chosen: list[RankedFrame] = []
    while len(chosen) < count and len(taken) < total:
        distance = np.abs(frames[:, None] - np.array(taken)).min(axis=1) if taken else np.ones(total)
        scores = known * distance
        scores[list(taken)] = -1.0
        best = int(scores.argmax())
        reason = Reason.MOTION_DISAGREES if scores[best] > 0 else Reason.FAR
        chosen.append(RankedFrame(best, float(scores[best]), reason))
        taken.append(best)
    return chosen
