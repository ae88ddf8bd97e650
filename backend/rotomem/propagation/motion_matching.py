"""Which thing that moves is the object that is drawn, and how well motion shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.classical_motion import ProposedObject
from rotomem.propagation.engine import Annotations, FrameSource, Image
from rotomem.propagation.flow import PlateFlow, carry, resize_area

Mask = NDArray[np.bool_]

COMPARED_FRAMES = 10
"""To each side of a drawn frame: so far is what is drawn carried, as far as flow supports it."""
RETURNS_IOU = 0.9
"""Of what is drawn, carried away and back, with itself: where less returns, what was carried often lies beside the
object already, since both ways err alike."""
MATCH_IOU = 0.6
"""Of the motion's mask with what is drawn, the middle one of all frames compared. A part of what is drawn, or what has
it as a part, stays below that unless nearly all is in common."""
PLAUSIBLE_IOU = 0.25
"""Before edges are moved to the plate's, which takes a while: less on average is not looked at any closer."""
LEAST_FRAMES, MOST_FRAMES = 3, 7
"""Frames compared: a single one shows by chance what it shows."""
LEAST_AREA, MOST_AREA = 0.5, 2.0
"""Of the middle area on the frames compared: elsewhere motion shows only part of the object, or more than it."""


@dataclass(frozen=True)
class Match:
    """A thing that moves is a drawn object.

    Args:
        iou: the middle one, of mattes with what is drawn, over the frames compared.
        error: the middle relative error there: area that differs over the motion's area.
        area: the middle area of the motion's masks there, pixels of the flow.
    """

    iou: float
    error: float
    area: float


def drawn_nearby(flow: PlateFlow, frames: range, annotations: Annotations, name: str) -> dict[int, Mask]:
    """Return masks (h, w) at the flow's size of an object, on the frames around those on which it is drawn.

    They are carried along flow, as far as they come back to themselves and at most ten frames, and never over the end
    of the shot. Frames between two drawn ones get the nearer one's.

    Args:
        frames: of the shot.
    """
    found: dict[int, tuple[int, Mask]] = {}
    for drawn, given in annotations.items():
        if name not in given or drawn not in frames:
            continue
        mask = resize_area(given[name], flow.size) > 0.5
        if not mask.any():
            continue
        for frame, carried in _carried(flow, frames, drawn, mask).items():
            away = abs(frame - drawn)
            if frame not in found or away < found[frame][0]:
                found[frame] = (away, carried)
    return {frame: found[frame][1] for frame in sorted(found)}


def _carried(flow: PlateFlow, frames: range, drawn: int, mask: Mask) -> dict[int, Mask]:
    found = {drawn: mask}
    for step in (1, -1):
        values = mask.astype(np.float32)
        for frame in range(drawn + step, drawn + step * (COMPARED_FRAMES + 1), step):
            if frame not in frames:
                break
            values = carry(values, flow.displacement(frame, frame - step))
            back = values
            for target in range(frame - step, drawn - step, -step):
                back = carry(back, flow.displacement(target, target + step))
            if mask_iou(back > 0.5, mask) < RETURNS_IOU:
                break
            found[frame] = values > 0.5
    return found


def match_drawing(
    source: FrameSource, flow: PlateFlow, moving: ProposedObject, drawn: Mapping[int, Mask], *, least_confidence: float
) -> Match | None:
    """Return how well a thing that moves matches what is drawn; None if it is something else.

    Args:
        drawn: see :func:`drawn_nearby`.
        least_confidence: frames on which it is seen with less are left out.
    """
    sightings = moving.track.sightings
    both = [frame for frame in drawn if frame in sightings and sightings[frame].confidence >= least_confidence]
    if len(both) < LEAST_FRAMES:
        return None
    if np.mean([mask_iou(sightings[frame].mask.unpack(), drawn[frame]) for frame in both]) < PLAUSIBLE_IOU:
        return None
    spread = np.linspace(0, len(both) - 1, min(len(both), MOST_FRAMES)).round().astype(int)
    ious, errors = [], []
    for frame in (both[index] for index in spread):
        shown = resize_area(moving.matte(frame, source.image(frame)), flow.size) > 0.5
        ious.append(mask_iou(shown, drawn[frame]))
        errors.append(int(np.count_nonzero(shown ^ drawn[frame])) / max(1, int(np.count_nonzero(shown))))
    if np.median(ious) < MATCH_IOU:
        return None
    areas = [np.count_nonzero(sightings[frame].mask.unpack()) for frame in both]
    return Match(float(np.median(ious)), float(np.median(errors)), float(np.median(areas)))


def still_matches(match: Match, mask: Mask, matte: Image, drawn: Mask | None) -> bool:
    """Return whether a frame of a thing that moves shows the object as well as the frames that were compared.

    Args:
        mask: (h, w), the motion's.
        matte: (H, W), with its edges on the plate's.
        drawn: (h, w), what is drawn there; None where that is not known.
    """
    if drawn is not None:
        return mask_iou(resize_area(matte, (drawn.shape[0], drawn.shape[1])) > 0.5, drawn) >= MATCH_IOU
    return LEAST_AREA * match.area <= int(np.count_nonzero(mask)) <= MOST_AREA * match.area


def mask_iou(one: Mask, other: Mask) -> float:
    """Return the intersection of two masks over their union; 0 for two empty ones."""
    union = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / union if union else 0.0
