"""Training clips: synthetic shots with some frames annotated, and mattes carried between them as the prior cue."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rotomem.training.estimated_flow import estimate_flows
from rotomem.training.synthetic import Mosaic, generate_batch
from rotomem.tuning.clip_batch import KEY_STRIDE, ClipBatch
from rotomem.tuning.clip_faults import corrupt_annotations, corrupt_priors
from rotomem.vos.flow_prior import Track, carry_through_clip, extend_track, join_priors

HELD_OUT_SEED = 1 << 40
"""Shots from here on are for validation; training never reaches them."""


@dataclass(frozen=True)
class ClipSpec:
    """Which clips to make; the same specification gives the same clips.

    Args:
        seed: of the first shot; the others follow.
        frames: T.
        side: height and width, pixels, a multiple of 16.
        most_annotated: one to this many frames of a clip are annotated.
        difficulty: of the shots, 0 to 1.
        targets: K.
        faulty: corrupt some annotations and priors, as in training.
        real_flow: share of clips whose priors come from estimated flow (DIS), not from a noisy copy of the exact one.
    """

    seed: int
    batch: int
    frames: int
    side: int
    most_annotated: int = 3
    difficulty: float = 1.0
    targets: int = 2
    faulty: bool = True
    real_flow: float = 0.7


def make_clips(
    spec: ClipSpec,
    *,
    device: torch.device | str = "cpu",
    photographs: Mosaic | None = None,
    annotated: Sequence[int] | None = None,
) -> ClipBatch:
    """Make a batch of clips; ``annotated`` frames are drawn at random unless given."""
    shots = generate_batch(
        range(spec.seed, spec.seed + spec.batch),
        frames=spec.frames,
        height=spec.side,
        width=spec.side,
        device=device,
        difficulty=spec.difficulty,
        targets=spec.targets,
        photographs=photographs,
    )
    chance = random.Random(spec.seed)
    generator = torch.Generator(device=device).manual_seed(spec.seed)
    chosen = tuple(sorted(annotated)) if annotated is not None else _choose_annotated(spec, chance)
    mattes = shots.alpha_modal
    drawn = mattes[:, list(chosen)]
    if spec.faulty:
        drawn = corrupt_annotations(drawn, generator=generator)
    told = torch.zeros_like(mattes)
    told[:, list(chosen)] = drawn
    flows = estimate_flows(shots, generator=generator, real_share=spec.real_flow)
    return ClipBatch(
        images=shots.rgb,
        truth=mattes,
        annotations=drawn,
        priors=_priors(spec, told, chosen, flows, generator),
        places=_places(
            shots.flow_forward, shots.flow_backward, shots.occluded_forward, shots.occluded_backward, chosen
        ),
        annotated=chosen,
    )


def _choose_annotated(spec: ClipSpec, chance: random.Random) -> tuple[int, ...]:
    count = chance.randint(1, min(spec.most_annotated, spec.frames - 1))
    return tuple(sorted(chance.sample(range(spec.frames), count)))


def _priors(
    spec: ClipSpec, told: Tensor, annotated: Sequence[int], flows: tuple[Tensor, Tensor], generator: torch.Generator
) -> Tensor:
    before, after = carry_through_clip(told, annotated, *flows)
    priors = told.new_zeros(*told.shape[:3], 4, *told.shape[3:])
    for frame in set(range(spec.frames)) - set(annotated):
        prior = join_priors(before.get(frame), after.get(frame), like=told[:, frame])
        if spec.faulty:
            distances = [
                frame - max((a for a in annotated if a < frame), default=frame),
                min((a for a in annotated if a > frame), default=frame) - frame,
            ]
            prior = corrupt_priors(prior, distances, generator=generator)
        priors[:, frame] = prior
    return priors


def _places(
    forward: Tensor, backward: Tensor, hidden_forward: Tensor, hidden_backward: Tensor, annotated: Sequence[int]
) -> Tensor:
    """Compose exact flow from every frame to each annotated one; see ``ClipBatch.places``."""
    batch, frames, _, height, width = forward.shape
    rows, columns = height // KEY_STRIDE, width // KEY_STRIDE
    places = forward.new_zeros(batch, frames, len(annotated), 3, rows, columns)
    middle = slice(KEY_STRIDE // 2, None, KEY_STRIDE)
    x = torch.arange(width, device=forward.device, dtype=forward.dtype)[middle].expand(rows, columns)
    y = torch.arange(height, device=forward.device, dtype=forward.dtype)[middle, None].expand(rows, columns)
    for index, source in enumerate(annotated):
        for steps, flow, hidden in (
            (range(source + 1, frames), backward, hidden_backward),
            (range(source - 1, -1, -1), forward, hidden_forward),
        ):
            track: Track | None = None
            for frame in steps:
                track = extend_track(track, flow[:, frame], (~hidden[:, frame])[:, None].to(flow.dtype))
                places[:, frame, index, 0] = x + track.displacement[:, 0, middle, middle]
                places[:, frame, index, 1] = y + track.displacement[:, 1, middle, middle]
                places[:, frame, index, 2] = (track.trust[:, 0, middle, middle] > 0.75).to(flow.dtype)
    return places
