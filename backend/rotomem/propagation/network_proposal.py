"""The networks' masks in the place of the classical proposal's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rotomem.errors import CancelledError
from rotomem.motion import MotionMasks, MotionNetworks, look_at, refine, working_size
from rotomem.propagation.classical_motion import MotionProposal, ProposedObject
from rotomem.propagation.classical_motion.regions import PackedMask
from rotomem.propagation.classical_motion.tracks import CERTAIN_IOU, Sighting, Track
from rotomem.propagation.flow import PlateFlow, resize_area
from rotomem.propagation.network_motion import propose_by_networks, shot_images
from rotomem.propagation.segmenter_proposal import segmenter_proposal

MOST_OBJECTS = 3


def network_proposal(
    flow: PlateFlow,
    proposal: MotionProposal,
    networks: MotionNetworks,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> MotionProposal:
    """Return a shot's proposal with the objects that the networks find; its diagnosis stays.

    Where there is no motion to speak of, the networks are not asked: they would guess. There, and where a segmenter of
    ours sees nothing that lasts, ``proposal`` itself is returned.

    Args:
        flow: of the plate.

    Raises:
        CancelledError: asked to stop.
    """
    if not proposal.objects:
        return proposal
    found = find_masks(flow, proposal, networks, cancelled=cancelled)
    if found is None:
        return proposal
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


def find_masks(
    flow: PlateFlow,
    proposal: MotionProposal,
    networks: MotionNetworks,
    *,
    adapt_steps: int = 0,
    cancelled: Callable[[], bool] = lambda: False,
) -> MotionMasks | None:
    """Return the masks that the networks find in a shot in which something moves; T is that of ``proposal.frames``.

    Published ones correct what their segmenter draws. What ours draws, less steadily, is averaged along flow and linked
    first; where nothing in it lasts, None is returned.

    Raises:
        CancelledError: asked to stop.
    """
    frames = proposal.frames
    if networks.segmenter.config.is_published:
        return propose_by_networks(
            flow,
            frames,
            networks,
            gap=proposal.gap,
            objects=MOST_OBJECTS,
            adapt_steps=adapt_steps,
            cancelled=cancelled,
        )

    def step() -> None:
        if cancelled():
            raise CancelledError("cancelled; the finished mattes are kept")

    size = working_size(*flow.size, area=networks.area)
    linked = segmenter_proposal(flow, proposal, networks.segmenter, cancelled=cancelled)
    if linked is proposal:
        return None
    appearance = look_at(shot_images(flow, frames, size, step=step), networks, size, step=step)
    return refine(appearance, object_masks(linked, size), networks, adapt_steps=adapt_steps, step=step)


def object_masks(proposal: MotionProposal, size: tuple[int, int]) -> Tensor:
    """Return the strongest objects' masks (T, K, H, W) in {0, 1}, at most ``MOST_OBJECTS``; 0 where one is not seen."""
    objects = proposal.objects[:MOST_OBJECTS]
    masks = torch.zeros(len(proposal.frames), len(objects), *size)
    for k, item in enumerate(objects):
        for frame, sighting in item.track.sightings.items():
            small = resize_area(sighting.mask.unpack().astype(np.float32), size) > 0.5
            masks[frame - proposal.frames.start, k] = torch.from_numpy(small)
    return masks


def _track(flow: PlateFlow, frames: range, masks: NDArray[np.float32], confidence: NDArray[np.float32]) -> Track:
    """Return one object (T, H, W) as a track; frames without it are left out."""
    track = Track()
    for frame, mask, sure in zip(frames, masks, confidence, strict=True):
        seen = resize_area(np.ascontiguousarray(mask), flow.size) > 0.5
        if seen.any():
            area = float(np.count_nonzero(seen))
            track.see(frame, Sighting(PackedMask.pack(seen), float(sure), CERTAIN_IOU, area))
    return track
