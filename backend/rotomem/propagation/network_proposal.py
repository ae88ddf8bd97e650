"""The networks' masks in the place of the classical proposal's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rotomem.motion import MotionNetworks
from rotomem.propagation.classical_motion import MotionProposal, ProposedObject
from rotomem.propagation.classical_motion.regions import PackedMask
from rotomem.propagation.classical_motion.tracks import CERTAIN_IOU, Sighting, Track
from rotomem.propagation.flow import PlateFlow, resize_area
from rotomem.propagation.network_motion import propose_by_networks

MOST_OBJECTS = 3


def network_proposal(
    flow: PlateFlow,
    proposal: MotionProposal,
    networks: MotionNetworks,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> MotionProposal:
    """Return a shot's proposal with the objects that the networks find; its diagnosis stays.

    Where there is no motion to speak of, the networks are not asked: they would guess.

    Args:
        flow: of the plate.

    Raises:
        CancelledError: asked to stop.
    """
    if not proposal.objects:
        return proposal
    found = propose_by_networks(
        flow, proposal.frames, networks, gap=proposal.gap, objects=MOST_OBJECTS, cancelled=cancelled
    )
    masks, confidence = found.masks.float().numpy(), found.confidence.float().numpy()
    tracks = [
        track
        for k in range(masks.shape[1])
        if (track := _track(flow, proposal.frames, masks[:, k], confidence[:, k])).sightings
    ]
    tracks.sort(key=lambda track: -track.strength)
    most = max((track.strength for track in tracks), default=1.0)
    objects = tuple(ProposedObject(track, track.strength / most) for track in tracks)
    return dataclasses.replace(proposal, objects=objects)


def _track(flow: PlateFlow, frames: range, masks: NDArray[np.float32], confidence: NDArray[np.float32]) -> Track:
    """Return one object (T, H, W) as a track; frames without it are left out."""
    track = Track()
    for frame, mask, sure in zip(frames, masks, confidence, strict=True):
        seen = resize_area(np.ascontiguousarray(mask), flow.size) > 0.5
        if seen.any():
            area = float(np.count_nonzero(seen))
            track.see(frame, Sighting(PackedMask.pack(seen), float(sure), CERTAIN_IOU, area))
    return track
