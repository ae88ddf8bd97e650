"""Held-out scores of the motion networks in training, each beside what does without the network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from rotomem.motion import Corrector, FlowSegmenter, Selector, normalise_frames
from rotomem.motion.correction import WINDOW, assign_pixels
from rotomem.motion.losses import match_objects, modal_from_amodal, reorder
from rotomem.motion.selector import choose_exemplars, exemplar_scores, least_error, relative_error
from rotomem.propagation.motion_networks import KeyFeatures
from rotomem.training.clips import HELD_OUT_SEED
from rotomem.training.motion_clips import MotionClips, MotionSpec, make_motion_clips
from rotomem.training.motion_exemplars import true_exemplars

FRAMES, HEIGHT, WIDTH, BATCH = 8, 96, 160, 4
MOVING_PX = 1.0
SELECTED = 2


@dataclass(frozen=True)
class FlowScores:
    """Mean J per frame: of each object with its query, of all together, and of all flow above a pixel."""

    objects: float
    union: float
    threshold: float


@dataclass(frozen=True)
class SelectorScores:
    """Mean J of the two masks of eight frames that are selected, of those that are best, and of all."""

    selected: float
    best: float
    all: float


@dataclass(frozen=True)
class CorrectorScores:
    """Mean J of the corrected masks, with and without the upsampler's sight of the given ones, and of those."""

    corrected: float
    without_sight: float
    given: float


@lru_cache(maxsize=1)
def held_out_clips(count: int, *, device: torch.device, sprite_size: float) -> list[MotionClips]:
    """Make the clips, once, on the CPU whatever the device, so that scores from both can be compared."""
    specs = [
        MotionSpec(HELD_OUT_SEED + index * BATCH, BATCH, FRAMES, HEIGHT, WIDTH, real_flow=0.5, sprite_size=sprite_size)
        for index in range(count)
    ]
    return [make_motion_clips(spec).to(device) for spec in specs]


@torch.no_grad()
def score_flow(network: FlowSegmenter, clips: list[MotionClips]) -> FlowScores:
    """Score a flow segmenter; it is left in evaluation mode."""
    network.eval()
    objects, union, threshold = [], [], []
    for clip in clips:
        found = network(clip.flow)
        chosen = match_objects(found.amodal_logits, clip.amodal)
        modal = modal_from_amodal(found.amodal_logits.sigmoid(), found.order[:, 0])
        objects.append(_region_j(modal, reorder(clip.modal, chosen)))
        everything = clip.modal.sum(dim=2)
        union.append(_region_j(modal.amax(dim=2), everything))
        threshold.append(_region_j((clip.flow[:, :, :2].norm(dim=2) > MOVING_PX).float(), everything))
    return FlowScores(_mean(objects), _mean(union), _mean(threshold))


@torch.no_grad()
def score_selector(network: Selector, features: KeyFeatures, clips: list[MotionClips]) -> SelectorScores:
    """Score a selector; it is left in evaluation mode."""
    network.eval()
    selected: list[Tensor] = []
    best: list[Tensor] = []
    everything = []
    for clip in clips:
        images = normalise_frames(clip.images)
        coarse = torch.unflatten(features.coarse(images.flatten(0, 1)), 0, tuple(images.shape[:2]))
        error_map = network(images, clip.masks, coarse).softmax(dim=3)
        right = _region_j(clip.masks, clip.modal, keep=True)
        error = relative_error(error_map, clip.masks, least=least_error(network.config))
        for scores, kept in ((exemplar_scores(error), selected), (right, best)):
            frames = choose_exemplars(scores, SELECTED).transpose(1, 2)
            kept.append(right.gather(1, frames)[(clip.present > 0)[:, None].expand_as(frames)])
        everything.append(right[(clip.present > 0)[:, None].expand_as(right)])
    return SelectorScores(_mean(selected), _mean(best), _mean(everything))


@torch.no_grad()
def score_corrector(network: Corrector, features: KeyFeatures, clips: list[MotionClips]) -> CorrectorScores:
    """Score a corrector, given the best exemplars; it is left in evaluation mode."""
    network.eval()
    corrected: dict[bool, list[Tensor]] = {True: [], False: []}
    given = []
    for clip in clips:
        images = normalise_frames(clip.images)
        fine = torch.unflatten(features.fine(images.flatten(0, 1)), 0, tuple(images.shape[:2]))
        exemplars = true_exemplars(clip, fine)
        window = slice(0, WINDOW)
        present = (clip.present > 0)[:, None].expand(-1, WINDOW, -1)
        for shown, scores in corrected.items():
            sight = torch.full((len(images),), shown, device=images.device)
            masks = clip.masks[:, window]
            logits = network(images[:, window], masks, fine[:, window], exemplars, shown=sight).logits
            scores.append(_region_j(assign_pixels(logits.sigmoid()), clip.modal[:, window], keep=True)[present])
        given.append(_region_j(clip.masks[:, window], clip.modal[:, window], keep=True)[present])
    return CorrectorScores(_mean(corrected[True]), _mean(corrected[False]), _mean(given))


def _region_j(ours: Tensor, theirs: Tensor, *, keep: bool = False) -> Tensor:
    """J of each mask (..., H, W) above 1/2, flat unless ``keep``; masks whose truth is empty are left out then."""
    ours, theirs = ours > 0.5, theirs > 0.5
    union = (ours | theirs).sum((-2, -1))
    score = torch.where(union > 0, (ours & theirs).sum((-2, -1)) / union.clamp_min(1), 1.0)
    return score if keep else score[theirs.any(dim=-1).any(dim=-1)]


def _mean(scores: list[Tensor]) -> float:
    return float(torch.cat([score.flatten() for score in scores]).mean())
