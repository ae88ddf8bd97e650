"""One differentiable pass over a batch of clips, as :class:`rotomem.vos.InferenceCore` passes over a shot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rotomem.tuning.clip_batch import ClipBatch
from rotomem.vos import FrameFeatures, Network
from rotomem.vos.aggregate import aggregate
from rotomem.vos.network import Pyramid

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TOP_K = 30


@dataclass(frozen=True)
class PassPlan:
    """What a pass leaves to chance.

    Args:
        memorised: frames that enter memory with the mask predicted for them.
        backward: from the last frame to the first.
        with_cue: show the decoder the carried mattes.
    """

    memorised: frozenset[int] = frozenset()
    backward: bool = False
    with_cue: bool = True


@dataclass(frozen=True)
class PassResult:
    """Logits (B, K, H, W) by query frame, and every frame's features."""

    logits: Mapping[int, Tensor]
    features: Sequence[FrameFeatures]


class _Memory:
    """Keys, shrinkages and values of the memorised frames, flattened over their cells."""

    def __init__(self) -> None:
        self._frames: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, features: FrameFeatures, value: Tensor) -> None:
        self._frames.append((features.key.flatten(2), features.shrinkage.flatten(2), value.flatten(3)))

    def read(self, network: Network, query: FrameFeatures) -> Tensor:
        key, shrinkage, value = (torch.cat(parts, dim=-1) for parts in zip(*self._frames, strict=True))
        return network.read(key, shrinkage, value, query, top_k=TOP_K)


def normalise(images: Tensor) -> Tensor:
    """(..., 3, H, W) in [0, 1] to ImageNet's mean and standard deviation, which the published network expects too."""
    mean = images.new_tensor(IMAGE_MEAN)[:, None, None]
    std = images.new_tensor(IMAGE_STD)[:, None, None]
    return (images - mean) / std


def propagate_clip(network: Network, clip: ClipBatch, plan: PassPlan, *, visible: Tensor | None = None) -> PassResult:
    """Segment every frame that is not annotated. All annotated frames are in memory from the start.

    Args:
        visible: (B, T, 1, H, W), ones and zeros, multiplied to the normalised images; see ``video_masking``.
    """
    images = normalise(clip.images)
    if visible is not None:
        images = images * visible
    features = _encode_frames(network, images)
    memory, annotated_values = _Memory(), {}
    for index, frame in enumerate(clip.annotated):
        masks = aggregate(clip.annotations[:, index])[:, 1:]
        value = _encode_value(network, images[:, frame], features[frame], masks)
        annotated_values[frame] = value
        memory.add(features[frame], value)
    frames = range(images.shape[1])
    height, width = (size // 16 for size in images.shape[-2:])
    batch, count = clip.truth.shape[0], clip.truth.shape[2]
    hidden = images.new_zeros(batch, count, network.config.hidden_dim, height, width)
    logits = {}
    for frame in reversed(frames) if plan.backward else frames:
        if frame in annotated_values:
            hidden = network.reinforce_hidden(annotated_values[frame], hidden)
            continue
        cue = None
        if plan.with_cue and network.config.prior_channels:
            cue = network.encode_prior(images[:, frame], clip.priors[:, frame])
        readout = memory.read(network, features[frame])
        memorise = frame in plan.memorised
        logits[frame], updated = network.decode(features[frame], readout, hidden, update_hidden=not memorise, cue=cue)
        if memorise:
            # Gradients through a predicted mask would teach the decoder to please the value encoder.
            masks = aggregate(logits[frame].detach().sigmoid())[:, 1:]
            value = _encode_value(network, images[:, frame], features[frame], masks)
            memory.add(features[frame], value)
            updated = network.reinforce_hidden(value, hidden)
        hidden = updated
    return PassResult(logits, features)


def _encode_frames(network: Network, images: Tensor) -> list[FrameFeatures]:
    batch, frames = images.shape[:2]
    every = network.encode_key(images.flatten(0, 1))
    assert isinstance(every.finer, Pyramid)  # nothing has decoded it yet

    def of_frame(value: Tensor, frame: int) -> Tensor:
        return torch.unflatten(value, 0, (batch, frames))[:, frame]

    return [
        FrameFeatures(
            key=of_frame(every.key, frame),
            shrinkage=of_frame(every.shrinkage, frame),
            selection=of_frame(every.selection, frame),
            f16=of_frame(every.f16, frame),
            finer=Pyramid(f8=of_frame(every.finer.f8, frame), f4=of_frame(every.finer.f4, frame)),
        )
        for frame in range(frames)
    ]


def _encode_value(network: Network, image: Tensor, features: FrameFeatures, masks: Tensor) -> Tensor:
    return network.encode_value(image, features, masks, masks.sum(dim=1, keepdim=True) - masks)
