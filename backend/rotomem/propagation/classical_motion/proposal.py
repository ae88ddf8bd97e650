"""Objects of one shot, from motion alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.matte import snap_edges
from rotomem.propagation.classical_motion.camera import CameraMotion, describe_step
from rotomem.propagation.classical_motion.evidence import choose_gap, frame_motion, gather_evidence
from rotomem.propagation.classical_motion.regions import Region, find_regions
from rotomem.propagation.classical_motion.tracks import Track, link_regions
from rotomem.propagation.engine import Image
from rotomem.propagation.flow import PlateFlow, resize_area

Floats = NDArray[np.float32]

SNAP_RADIUS_PX = 8
"""Of the flow: about as far as DIS carries background along with an object."""
MAIN_SHARE = 0.25
"""Objects at least this strong, against the strongest, are what the shot is about."""


@dataclass(frozen=True)
class FrameFigures:
    """What was measured on one frame.

    Args:
        camera: None for a shot of a single frame.
        residual_px: 99th percentile of the motion against the camera, plate pixels per frame.
    """

    camera: CameraMotion | None
    residual_px: float


@dataclass(frozen=True)
class ProposedObject:
    """One object; see ``Track``.

    Args:
        share: of its strength in the strongest object's, in (0, 1].
    """

    track: Track
    share: float

    def matte(self, frame: int, image: Image, *, refine_edges: bool = True) -> Floats:
        """Return its matte (H, W) in [0, 1]; zeros where it is not seen.

        Args:
            image: (H, W, 3), the plate's frame, to whose edges the matte is moved.
            refine_edges: if not, edges stay as flow has them.
        """
        height, width = image.shape[:2]
        sighting = self.track.sightings.get(frame)
        if sighting is None:
            return np.zeros((height, width), np.float32)
        mask = cv2.GaussianBlur(sighting.mask.unpack().astype(np.float32), (0, 0), 1.0)
        matte = np.clip(resize_area(np.asarray(mask, dtype=np.float32), (height, width)), 0.0, 1.0)
        if not refine_edges:
            return matte
        plate_px = max(1.0, max(height, width) / max(mask.shape))
        return snap_edges(matte, image, radius_px=round(SNAP_RADIUS_PX * plate_px), subsample=int(plate_px))

    def confidence(self, frame: int) -> float:
        """Return how far its matte can be trusted, in [0, 1]; 0 where it is not seen."""
        sighting = self.track.sightings.get(frame)
        return 0.0 if sighting is None else sighting.confidence


@dataclass(frozen=True)
class MotionProposal:
    """What moves in a shot.

    Args:
        frames: of the shot.
        gap: frames apart at which motion was looked at.
        figures: by frame.
        objects: the strongest first; empty where there is no motion to speak of.
    """

    frames: range
    gap: int
    figures: dict[int, FrameFigures]
    objects: tuple[ProposedObject, ...]

    def main_objects(self) -> tuple[ProposedObject, ...]:
        """Return the objects that the shot is about: those not much weaker than the strongest."""
        return tuple(found for found in self.objects if found.share >= MAIN_SHARE)

    def mattes(self, frame: int, image: Image, count: int, *, refine_edges: bool = True) -> list[Floats]:
        """Return ``count`` mattes (H, W), the strongest object's first; zeros where there are fewer objects."""
        found = [item.matte(frame, image, refine_edges=refine_edges) for item in self.objects[:count]]
        return [*found, *(np.zeros(image.shape[:2], np.float32) for _ in range(count - len(found)))]

    def confidence(self, frame: int, count: int) -> float:
        """Return how far the mattes of the first ``count`` objects can be trusted, in [0, 1], by their areas."""
        seen = [found.track.sightings[frame] for found in self.objects[:count] if frame in found.track.sightings]
        if not seen:
            return 0.0
        areas = [max(1, int(np.count_nonzero(sighting.mask.unpack()))) for sighting in seen]
        return float(np.average([sighting.confidence for sighting in seen], weights=areas))

    @property
    def residual_px(self) -> float:
        """The largest motion against the camera of any frame, plate pixels per frame."""
        return max((figures.residual_px for figures in self.figures.values()), default=0.0)


def propose_objects(flow: PlateFlow, frames: range, *, plate_px: float, step: Callable[[], None]) -> MotionProposal:
    """Find what moves against the camera in a shot without cuts.

    Args:
        flow: of the plate.
        frames: ascending, contiguous.
        plate_px: plate pixels per pixel of the flow.
        step: called three times for each frame; may raise to stop.
    """
    if len(frames) < 2:
        for _ in range(3 * len(frames)):
            step()
        return MotionProposal(frames, 1, {frame: FrameFigures(None, 0.0) for frame in frames}, ())
    gap = choose_gap(flow, frames)
    figures: dict[int, FrameFigures] = {}

    def measured(frame: int) -> Floats:
        motion = frame_motion(flow, frames, frame, gap)
        camera = describe_step(motion.camera, flow.size, frames_apart=motion.apart, plate_px=plate_px)
        figures[frame] = FrameFigures(camera, motion.residual_px * plate_px)
        step()
        return motion.evidence

    regions: dict[int, list[Region]] = {}
    for frame, evidence in gather_evidence(flow, frames, measured):
        regions[frame] = find_regions(evidence)
        step()

    tracks = link_regions(frames, regions, flow.displacement, step=step)
    most = max((track.strength for track in tracks), default=1.0)
    return MotionProposal(frames, gap, figures, tuple(ProposedObject(track, track.strength / most) for track in tracks))
