"""Moving objects where a small flow segmenter sees motion, linked over time like the classical proposal's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from rotomem.errors import CancelledError
from rotomem.motion import FlowSegmenter, steady_motion, working_size
from rotomem.propagation.classical_motion import MotionProposal, ProposedObject
from rotomem.propagation.classical_motion.regions import collect_regions
from rotomem.propagation.classical_motion.tracks import link_regions
from rotomem.propagation.flow import PlateFlow, resize_area
from rotomem.propagation.motion_networks import area_for
from rotomem.propagation.network_motion import shot_flows

LEAST_SHARE = 0.1
"""Of the strongest object's strength: beside what moves, the network sees faint motion where there is none.
Seen on a made shot, and not tuned: what a shot is about has a quarter of it at least."""


def segmenter_proposal(
    flow: PlateFlow,
    proposal: MotionProposal,
    segmenter: FlowSegmenter,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> MotionProposal:
    """Return a shot's proposal with the objects that the segmenter sees; its diagnosis stays.

    Where there is no motion to speak of, the network is not asked: it would guess. Where it sees nothing that lasts,
    the classical objects stay. In both cases ``proposal`` itself is returned.

    Args:
        flow: of the plate.

    Raises:
        CancelledError: asked to stop.
    """
    if not proposal.objects:
        return proposal

    def step() -> None:
        if cancelled():
            raise CancelledError("cancelled; the finished mattes are kept")

    frames = proposal.frames
    size = working_size(*flow.size, area=area_for(segmenter))
    flows = shot_flows(flow, frames, size, step=step)
    moving = steady_motion(flows, segmenter, size, step=step).numpy()
    regions = {}
    for frame, small in zip(frames, moving, strict=True):
        likely = np.clip(resize_area(small, flow.size), 0, 1)
        regions[frame] = collect_regions(likely > 0.5, likely > 0.5, likely)
    tracks = link_regions(frames, regions, flow.displacement, step=step)
    if not tracks:
        return proposal
    shares = [(track, track.strength / tracks[0].strength) for track in tracks]
    objects = tuple(ProposedObject(track, share) for track, share in shares if share >= LEAST_SHARE)
    return dataclasses.replace(proposal, objects=objects)
