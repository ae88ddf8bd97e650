"""A second opinion on mattes, from motion: where they are likely wrong, and what should be there instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rotomem.motion import MotionNetworks
from rotomem.motion.frames import working_size
from rotomem.motion.pipeline import judge, look_at, refine
from rotomem.propagation.classical_motion import MotionProposal
from rotomem.propagation.flow import PlateFlow

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

EDGE_BAND = 0.0125
"""Of the longer side: motion says nothing of an edge nearer than this, since flow carries a rim along."""
BELONGS_SHARE = 0.5
"""A thing that moves belongs to the matte that covers so much of it."""
OPINION_IOU = 0.4
"""Motion that agrees less with a matte shows something else, and has no opinion on it."""


@dataclass(frozen=True)
class Critique:
    """What is thought of mattes of T frames and K objects.

    Args:
        error: (T, K, h, w) in [0, 1], how surely a pixel is wrong.
        target: (T, K, h, w) in [0, 1], what should be there instead.
        relative_error: (T, K), area in error over the matte's area, at least 0.
    """

    error: Floats
    target: Floats
    relative_error: Floats


class Critic(Protocol):
    """Judges mattes.

    Attributes:
        frames_at_once: that it likes to see together.
    """

    frames_at_once: int

    def __call__(self, frames: Sequence[int], mattes: Floats) -> Critique:
        """Judge ``mattes`` (T, K, h, w) in [0, 1] at the flow's size."""


class ProposalCritic:
    """Mattes against what moves, whatever found that.

    Where a matte covers most of something that moves, and is not much larger, the two should agree but for a band
    along the edges. A matte of what stands still gets no opinion.
    """

    frames_at_once = 1

    def __init__(self, proposals: Sequence[MotionProposal]) -> None:
        self._proposals = proposals

    def __call__(self, frames: Sequence[int], mattes: Floats) -> Critique:
        error, target = np.zeros_like(mattes), mattes.copy()
        relative = np.zeros(mattes.shape[:2], np.float32)
        for index, frame in enumerate(frames):
            moving = self._moving(frame)
            for k, matte in enumerate(mattes[index]):
                error[index, k], target[index, k] = _compare(matte, moving)
                relative[index, k] = error[index, k].sum() / (matte.sum() + 1)
        return Critique(error, target, relative)

    def _moving(self, frame: int) -> list[tuple[Mask, float]]:
        """Return what moves on a frame, each with how far it can be trusted."""
        return [
            (found.track.sightings[frame].mask.unpack(), found.track.sightings[frame].confidence)
            for proposal in self._proposals
            for found in proposal.objects
            if frame in found.track.sightings
        ]


def _compare(matte: Floats, moving: Sequence[tuple[Mask, float]]) -> tuple[Floats, Floats]:
    """Return error and target (h, w) of one matte."""
    mask = matte > 0.5
    mine = [(other, trust) for other, trust in moving if (other & mask).sum() >= BELONGS_SHARE * other.sum()]
    nothing = np.zeros_like(matte)
    if not mine or not mask.any():
        return nothing, matte
    opinion = np.any([other for other, _ in mine], axis=0)
    if (opinion & mask).sum() < OPINION_IOU * (opinion | mask).sum():
        return nothing, matte
    trust = float(np.average([trust for _, trust in mine], weights=[int(other.sum()) for other, _ in mine]))
    reach = max(2, round(EDGE_BAND * max(matte.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    outer = cv2.dilate(opinion.astype(np.uint8), kernel) > 0
    inner = cv2.erode(opinion.astype(np.uint8), kernel) > 0
    wrong = (mask & ~outer) | (inner & ~mask)
    return wrong.astype(np.float32) * np.float32(trust), opinion.astype(np.float32)


class NetworkCritic:
    """The selector's error maps, and the corrector's masks.

    Args:
        flow: of the plate, for its pictures.
    """

    frames_at_once = 14

    def __init__(self, flow: PlateFlow, networks: MotionNetworks) -> None:
        self._flow, self._networks = flow, networks

    @torch.no_grad()
    def __call__(self, frames: Sequence[int], mattes: Floats) -> Critique:
        height, width = mattes.shape[-2:]
        pictures = np.stack([self._flow.colours(frame) for frame in frames]).astype(np.float32) / np.float32(255)
        images = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        size = working_size(height, width, area=self._networks.area)
        seen = look_at(images, self._networks, size)
        given = torch.nn.functional.interpolate(torch.from_numpy(mattes), size=size, mode="area")
        masks = (given > 0.5).float()
        judged = judge(seen, masks, self._networks.selector)
        corrected = refine(seen, masks, self._networks).masks.float()

        def grown(values: torch.Tensor) -> Floats:
            resized = torch.nn.functional.interpolate(values.float(), size=(height, width), mode="bilinear")
            return resized.clamp(0, 1).numpy()

        present = masks.flatten(2).any(dim=2)  # an absent object has no relative error
        relative = torch.where(present, judged.relative_error, torch.zeros_like(judged.relative_error))
        return Critique(grown(judged.error_maps), grown(corrected), relative.float().numpy())
