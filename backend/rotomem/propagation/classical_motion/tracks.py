"""Regions linked over time along flow: one track is one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.classical_motion.regions import Mask, PackedMask, Region
from rotomem.propagation.flow import Displacement, carry

CLAIM_IOU, CLAIM_SHARE = 0.3, 0.5
"""A track claims a region that overlaps its carried mask by this IoU, or by this share of the smaller of the two."""
GAP_FRAMES = 5
"""So long a track may go unseen; in between, its mask is carried along flow."""
LEAST_FRAMES, LEAST_SHARE = 5, 0.15
"""A track seen on fewer frames, or a smaller share of the shot, is dropped. In shorter shots: on half of the frames."""
CERTAIN_IOU = 0.8
"""Flow's own error at the edge of a mask: a track as steady as this is steady."""


@dataclass(frozen=True)
class Sighting:
    """A track on one frame.

    Args:
        mask: (h, w).
        contrast: of motion inside against around, in [0, 1]; 0 where the mask is carried over a gap.
        stability: IoU with its mask on the frame before, carried along flow, in [0, 1]; 1 on its first frame.
        strength: evidence summed over the mask, in units of the flow's noise times pixels.
    """

    mask: PackedMask
    contrast: float
    stability: float
    strength: float

    @property
    def confidence(self) -> float:
        """In [0, 1]."""
        return self.contrast * min(1.0, self.stability / CERTAIN_IOU)


@dataclass
class Track:
    """One object.

    Args:
        sightings: by frame; without gaps from the first to the last.
        seen: how many of them are not carried over a gap.
    """

    sightings: dict[int, Sighting] = field(default_factory=dict)
    seen: int = 0
    missed: list[tuple[int, PackedMask]] = field(default_factory=list)

    @property
    def strength(self) -> float:
        """Sum over its frames: larger, faster and longer-lived objects come first."""
        return sum(sighting.strength for sighting in self.sightings.values())

    def see(self, frame: int, sighting: Sighting) -> None:
        """Add a frame; what was carried since the last one becomes part of the track."""
        for missed, mask in self.missed:
            self.sightings[missed] = Sighting(mask, 0.0, sighting.stability, 0.0)
        self.missed.clear()
        self.sightings[frame] = sighting
        self.seen += 1

    def last_mask(self) -> Mask:
        """Return its mask on the newest frame, carried or not."""
        return (self.missed[-1][1] if self.missed else self.sightings[max(self.sightings)].mask).unpack()


def link_regions(
    frames: Sequence[int],
    regions: Mapping[int, Sequence[Region]],
    displacement: Callable[[int, int], Displacement],
    *,
    step: Callable[[], None] = lambda: None,
) -> list[Track]:
    """Link regions into tracks.

    A region that one track claims joins it, and so a track may have several regions on a frame: parts of one object.
    A region that several claim is divided among them, each pixel going to the nearest carried mask: objects that touch
    stay apart. One that nobody claims begins a track.

    Args:
        frames: ascending.
        regions: of each frame.
        displacement: flow at the first frame towards the second.
        step: called before each frame; may raise to stop.

    Returns:
        Tracks that live long enough, the strongest first.
    """
    active: list[Track] = []
    done: list[Track] = []
    for index, frame in enumerate(frames):
        step()
        carried: list[Mask] = []
        if index and active:
            along = displacement(frame, frames[index - 1])
            carried = [carry(track.last_mask().astype(np.float32), along) > 0.5 for track in active]
        parts = _assign(regions[frame], carried)
        going_on: list[Track] = []
        for track, mask, found in zip(active, carried, parts, strict=False):
            if found:
                track.see(frame, _sighting(found, mask))
            else:
                track.missed.append((frame, PackedMask.pack(mask)))
            lost = len(track.missed) > GAP_FRAMES or not (found or mask.any())
            (done if lost else going_on).append(track)
        for new in parts[len(carried) :]:
            track = Track()
            track.see(frame, _sighting(new, None))
            going_on.append(track)
        active = going_on
    least = max(LEAST_FRAMES, LEAST_SHARE * len(frames))
    lasting = [track for track in (*done, *active) if track.seen >= min(least, max(1, len(frames) // 2))]
    return sorted(lasting, key=lambda track: -track.strength)


_Part = tuple[Region, Mask]
"""A region, and which of its pixels are meant."""


def _assign(regions: Sequence[Region], carried: Sequence[Mask]) -> list[list[_Part]]:
    """Return the parts of each carried mask in order, then one list for each region that nobody claims."""
    claimed: list[list[_Part]] = [[] for _ in carried]
    free: list[list[_Part]] = []
    areas = [int(np.count_nonzero(mask)) for mask in carried]
    for region in regions:
        mask = region.mask.unpack()
        claims = [i for i, other in enumerate(carried) if _claims(mask, region.area, other, areas[i])]
        if not claims:
            free.append([(region, mask)])
        elif len(claims) == 1:
            claimed[claims[0]].append((region, mask))
        else:
            away = [cv2.distanceTransform((~carried[i]).astype(np.uint8), cv2.DIST_L2, 3) for i in claims]
            nearest = np.argmin(np.stack(away), axis=0)
            for order, i in enumerate(claims):
                claimed[i].append((region, mask & (nearest == order)))
    return [*claimed, *free]


def _claims(region: Mask, area: int, carried: Mask, carried_area: int) -> bool:
    common = int(np.count_nonzero(region & carried))
    if not common:
        return False
    return common >= CLAIM_IOU * (area + carried_area - common) or common >= CLAIM_SHARE * min(area, carried_area)


def _sighting(parts: Sequence[_Part], carried: NDArray[np.bool_] | None) -> Sighting:
    mask = np.any([part for _, part in parts], axis=0)
    areas = np.array([max(1, np.count_nonzero(part)) for _, part in parts], dtype=np.float64)
    contrast = float(np.average([region.contrast for region, _ in parts], weights=areas))
    strength = float(sum(area * region.inside for area, (region, _) in zip(areas, parts, strict=True)))
    stability = 1.0
    if carried is not None:
        union = np.count_nonzero(mask | carried)
        stability = np.count_nonzero(mask & carried) / union if union else 0.0
    return Sighting(PackedMask.pack(mask), contrast, stability, strength)
