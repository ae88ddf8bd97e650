"""The published order of operations, as slow as it is: what :class:`InferenceCore` is measured and checked against.

Nothing is kept between passes, nothing is shared: every frame is encoded each time it is met, memories are concatenated
for every read, the affinity is a dense matrix, and the value of an annotated frame is encoded a second time when the
frame is reached, for nothing. Only the faults that ``specs/xmem.md`` §3 lists are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.vos.aggregate import aggregate
from rotomem.vos.config import MemoryConfig
from rotomem.vos.convolution import plain_arithmetic
from rotomem.vos.decoder import Decoder, UpBlock
from rotomem.vos.fusion import FeatureFusion
from rotomem.vos.network import FrameFeatures, Network, Pyramid
from rotomem.vos.padding import Padding
from rotomem.vos.working_memory import NEWBORN_LIFE

Result = TypeVar("Result")


@dataclass
class _Elements:
    """Memory elements: key and selection (C, N), shrinkage (1, N), value (K, Cv, N), usage and life (N,)."""

    key: Tensor
    shrinkage: Tensor
    selection: Tensor
    value: Tensor
    usage: Tensor
    life: Tensor

    @classmethod
    def join(cls, parts: list[_Elements]) -> _Elements:
        return cls(*(torch.cat([getattr(part, field.name) for part in parts], dim=-1) for field in fields(cls)))

    def take(self, rows: Tensor | slice) -> _Elements:
        return _Elements(*(getattr(self, field.name)[..., rows] for field in fields(self)))

    def __len__(self) -> int:
        return self.key.shape[-1]


class PlainCore:
    """One pass over a shot on which every annotation states all objects; methods as in :class:`InferenceCore`.

    Args:
        network: without the flow cue, in evaluation mode.
        config: of the memories.
        num_objects: K.
        exact_similarity: form similarities in float64. The published order of operations rounds away what tells near
            neighbours apart, and so may read another element than exact arithmetic where two are nearly tied.
    """

    def __init__(
        self,
        network: Network,
        config: MemoryConfig | None = None,
        num_objects: int = 1,
        *,
        exact_similarity: bool = False,
    ) -> None:
        self.network = network.eval()
        self.config = config or MemoryConfig()
        self.num_objects = num_objects
        self._similarity_type = torch.float64 if exact_similarity else torch.float32
        self._permanent: dict[int, _Elements] = {}
        self.clear_temporary()

    def clear_temporary(self) -> None:
        """Begin another pass: forget all but the annotated frames."""
        self._working: list[_Elements] = []
        self._long_term: list[_Elements] = []
        self._hidden: Tensor | None = None
        self._steps = self._last_memorised = 0

    def memorize(self, frame: int, image: Tensor, masks: Tensor) -> None:
        """Put an annotated frame (3, H, W) with masks (K, H, W) into permanent memory, or replace it there."""

        def remember() -> None:
            padded, padding = _pad(image)
            features = self.network.encode_key(padded)
            value = self._encode_value(padded, features, aggregate(padding.add(masks)[None])[:, 1:])
            self._permanent[frame] = _elements_of(features, value)

        _plainly(remember)

    def forget(self, frame: int) -> None:
        """Remove an annotated frame from permanent memory."""
        del self._permanent[frame]

    def step(self, frame: int, image: Tensor, masks: Tensor | None = None, *, last: bool = False) -> Tensor:
        """Return probabilities (K+1, H, W), background first, of the next frame; ``masks`` if it is annotated."""
        return _plainly(lambda: self._step(frame, image, masks, last))

    def _step(self, frame: int, image: Tensor, masks: Tensor | None, last: bool) -> Tensor:
        padded, padding = _pad(image)
        features = self.network.encode_key(padded)
        due = masks is not None or self._steps - self._last_memorised >= self.config.mem_every
        memorise = due and not last
        if self._hidden is None:
            grid = features.key.shape[-2:]
            self._hidden = padded.new_zeros(1, self.num_objects, self.network.config.hidden_dim, *grid)
        if masks is None:
            readout = self._read(features)
            logits, self._hidden = self._decode(features, readout, self._hidden, update=not memorise and not last)
            probability = aggregate(logits.sigmoid())
        else:
            if frame not in self._permanent:
                self.memorize(frame, image, masks)
            probability = aggregate(padding.add(masks)[None])
        if memorise:
            value = self._encode_value(padded, features, probability[:, 1:])
            self._hidden = self.network.reinforce_hidden(value, self._hidden)
            if masks is None:
                self._working.append(_elements_of(features, value))
                self._consolidate()
            self._last_memorised = self._steps
        self._steps += 1
        return padding.remove(probability)[0]

    def _read(self, features: FrameFeatures) -> Tensor:
        """Return (1, K, Cv, h, w) by a dense product over all memory."""
        memory = _Elements.join([*self._long_term, *self._working, *self._permanent.values()])
        key, selection = features.key[0].flatten(1), features.selection[0].flatten(1)
        similarity = self._similarity(memory, key, selection)
        scores, rows = self._choose(similarity)
        affinity = torch.zeros_like(similarity).scatter_(0, rows, scores.softmax(dim=0))
        self._count_usage(affinity.sum(dim=1))
        readout = memory.value.flatten(0, 1) @ affinity
        return readout.view(1, *memory.value.shape[:2], *features.key.shape[-2:])

    def _choose(self, similarity: Tensor) -> tuple[Tensor, Tensor]:
        """Return the similarities and the rows that each column (N,) of ``similarity`` keeps."""
        return similarity.topk(min(self.config.top_k, len(similarity)), dim=0)

    def _similarity(self, memory: _Elements, key: Tensor, selection: Tensor) -> Tensor:
        tensors = (x.to(self._similarity_type) for x in (memory.key, memory.shrinkage, key, selection))
        return plain_similarity(*tensors).float()

    def _count_usage(self, usage: Tensor) -> None:
        start = 0
        for index, part in enumerate([*self._long_term, *self._working]):
            if index >= len(self._long_term) or self.config.count_long_term_usage:
                part.usage += usage[start : start + len(part)]
                part.life += 1
            start += len(part)

    def _consolidate(self) -> None:
        """Turn all but the newest working frames into prototypes once there are too many."""
        config = self.config
        if len(self._working) < config.max_mid_term_frames:
            return
        self._make_room()
        candidates = _Elements.join(self._working[: -config.min_mid_term_frames])
        usage = candidates.usage / candidates.life
        chosen = candidates.take(usage.topk(min(config.num_prototypes, len(candidates))).indices)
        affinity = self._similarity(candidates, chosen.key, chosen.selection).softmax(dim=0)
        prototypes = _Elements(
            key=chosen.key,
            shrinkage=candidates.shrinkage @ affinity,
            selection=chosen.selection,
            value=candidates.value @ affinity,
            usage=torch.zeros_like(chosen.usage),
            life=torch.full_like(chosen.life, NEWBORN_LIFE),
        )
        self._long_term = [_Elements.join([*self._long_term, prototypes])]
        self._working = self._working[-config.min_mid_term_frames :]

    def _make_room(self) -> None:
        if not self._long_term:
            return
        held = self._long_term[0]
        excess = len(held) - (self.config.max_long_term_elements - self.config.num_prototypes)
        if excess <= 0:
            return
        if self.config.count_long_term_usage:
            usage = held.usage / held.life
            self._long_term = [held.take(usage > usage.kthvalue(excess).values)]
        else:
            self._long_term = [held.take(slice(excess, None))]

    def _encode_value(self, image: Tensor, features: FrameFeatures, masks: Tensor) -> Tensor:
        encoder = self.network.value_encoder
        others = masks.sum(dim=1, keepdim=True) - masks
        images = image[:, None].expand(-1, self.num_objects, -1, -1, -1)
        x = torch.cat([images, masks[:, :, None], others[:, :, None]], dim=2).flatten(0, 1)
        x = F.relu(F.max_pool2d(encoder.bn1(encoder.conv1(x)), 3, stride=2, padding=1))
        x = encoder.layer3(encoder.layer2(encoder.layer1(x)))
        return _fuse(encoder.fuser, features.f16, x)[None]

    def _decode(
        self, features: FrameFeatures, readout: Tensor, hidden: Tensor, *, update: bool
    ) -> tuple[Tensor, Tensor]:
        """Return logits (1, K, H, W) and sensory memory."""
        decoder: Decoder = self.network.decoder
        assert isinstance(features.finer, Pyramid)
        g16 = _fuse(decoder.fuser, features.f16, torch.cat([readout, hidden], dim=2)[0])
        g8 = _up(decoder.up_16_8, features.finer.f8, g16)
        g4 = _up(decoder.up_8_4, features.finer.f4, g8)
        logits = decoder.pred(F.relu(g4))
        if update:
            hidden = decoder.hidden_update(g16, g8, g4, logits, hidden[0])[None]
        return F.interpolate(logits, scale_factor=4, mode="bilinear", align_corners=False)[None, :, 0], hidden


def _plainly(compute: Callable[[], Result]) -> Result:
    with torch.inference_mode(), plain_arithmetic():
        return compute()


def _pad(image: Tensor) -> tuple[Tensor, Padding]:
    padding = Padding.to_stride(image.shape[-2], image.shape[-1])
    return padding.add(image)[None], padding


def _elements_of(features: FrameFeatures, value: Tensor) -> _Elements:
    shrinkage = features.shrinkage[0].flatten(1)
    return _Elements(
        key=features.key[0].flatten(1),
        shrinkage=shrinkage,
        selection=features.selection[0].flatten(1),
        value=value[0].flatten(2),
        usage=torch.zeros_like(shrinkage[0]),
        life=torch.full_like(shrinkage[0], NEWBORN_LIFE),
    )


def plain_similarity(memory_key: Tensor, shrinkage: Tensor, query_key: Tensor, selection: Tensor) -> Tensor:
    """Return (N, Q), the square expanded into three terms, each of its own matrix.

    Args:
        memory_key: (C, N).
        shrinkage: (1, N), >= 1.
        query_key: (C, Q).
        selection: (C, Q), in [0, 1].
    """
    squares = memory_key.T.square() @ selection
    products = 2 * (memory_key.T @ (query_key * selection))
    constant = (selection * query_key.square()).sum(dim=0, keepdim=True)
    return (-squares + products - constant) * shrinkage.T / math.sqrt(len(memory_key))


def _fuse(fuser: FeatureFusion, image_feature: Tensor, objects: Tensor) -> Tensor:
    """Return (K, C, h, w) of an image feature (1, C, h, w), repeated for each of ``objects`` (K, C', h, w)."""
    x = torch.cat([image_feature.expand(len(objects), -1, -1, -1), objects], dim=1)
    x = fuser.block1(x)
    fused: Tensor = fuser.block2(x + fuser.attention(x))
    return fused


def _up(block: UpBlock, skip: Tensor, g: Tensor) -> Tensor:
    upsampled = F.interpolate(g, scale_factor=2, mode="bilinear", align_corners=False)
    combined: Tensor = block.out_conv(upsampled + block.skip_conv(skip))
    return combined
