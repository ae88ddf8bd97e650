"""Scores on held-out synthetic shots, beside those of copying and of the carried mattes alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rotomem.training.clips import HELD_OUT_SEED, ClipSpec, make_clips
from rotomem.tuning.clip_batch import ClipBatch
from rotomem.tuning.clip_pass import PassPlan, propagate_clip
from rotomem.vos import Network
from rotomem.vos.prior_cue import blend_log_odds

FRAMES, SIDE, GROUPS, BATCH = 9, 128, 4, 4
ANNOTATED = (0, 8)


@dataclass(frozen=True)
class ValidationScores:
    """Mean J over the objects and frames that are not annotated.

    Args:
        network: with the carried mattes; memory_alone: without.
        carried: the carried mattes blended by trust; copied: the nearest annotated matte as it is.
    """

    network: float
    memory_alone: float
    carried: float
    copied: float


class Validation:
    """Held-out shots, made once, on which networks are scored."""

    def __init__(self, device: torch.device, *, groups: int = GROUPS, side: int = SIDE) -> None:
        # On the CPU whatever the device, so that scores from both can be compared.
        specs = [
            ClipSpec(
                seed=HELD_OUT_SEED + index * BATCH,
                batch=BATCH,
                frames=FRAMES,
                side=side,
                faulty=False,
                real_flow=1.0,
            )
            for index in range(groups)
        ]
        self._clips = [make_clips(spec, annotated=ANNOTATED).to(device) for spec in specs]
        carried = [self._score(clip, _carried_alone(clip)) for clip in self._clips]
        copied = [self._score(clip, _nearest_copy(clip)) for clip in self._clips]
        self._carried, self._copied = _mean(carried), _mean(copied)

    @torch.no_grad()
    def score(self, network: Network) -> ValidationScores:
        """Score a network; it is left in evaluation mode."""
        network.eval()
        means = []
        for with_cue in (True, False):
            plan = PassPlan(memorised=frozenset({3}), with_cue=with_cue)
            scores = []
            for clip in self._clips:
                logits = propagate_clip(network, clip, plan).logits
                scores.append(self._score(clip, {frame: value.sigmoid() for frame, value in logits.items()}))
            means.append(_mean(scores))
        return ValidationScores(means[0], means[1], self._carried, self._copied)

    @staticmethod
    def _score(clip: ClipBatch, mattes: dict[int, Tensor]) -> Tensor:
        """J of every object on every scored frame, flat; objects that no annotation shows are left out."""
        known = clip.annotations.amax((1, 3, 4)) > 0.5
        scores = []
        for frame, matte in mattes.items():
            ours, theirs = matte > 0.5, clip.truth[:, frame] > 0.5
            union = (ours | theirs).sum((-2, -1))
            both = (ours & theirs).sum((-2, -1))
            scores.append(torch.where(union > 0, both / union.clamp_min(1), 1.0)[known])
        return torch.cat(scores)


def _carried_alone(clip: ClipBatch) -> dict[int, Tensor]:
    shape = clip.truth[:, 0].shape
    return {
        frame: blend_log_odds(clip.priors[:, frame].flatten(0, 1)).sigmoid().reshape(shape) for frame in _queries(clip)
    }


def _nearest_copy(clip: ClipBatch) -> dict[int, Tensor]:
    nearest = {
        frame: min(range(len(clip.annotated)), key=lambda index: abs(clip.annotated[index] - frame))
        for frame in _queries(clip)
    }
    return {frame: clip.annotations[:, index] for frame, index in nearest.items()}


def _queries(clip: ClipBatch) -> list[int]:
    return [frame for frame in range(clip.truth.shape[1]) if frame not in clip.annotated]


def _mean(scores: list[Tensor]) -> float:
    return float(torch.cat(scores).mean())
