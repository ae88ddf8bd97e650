"""Frames' features, kept between passes and rounds of annotation as far as memory and disk allow."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from rotomem.vos.decoder import DecoderImagePart
from rotomem.vos.disk_tier import DiskTier
from rotomem.vos.fingerprint import tensor_fingerprint
from rotomem.vos.fusion import FusionImagePart
from rotomem.vos.network import FrameFeatures

COARSE = ("key", "shrinkage", "selection", "f16")


@dataclass(frozen=True)
class _Held:
    """A frame's features, and what they were made from."""

    image: Tensor
    source: str
    features: FrameFeatures
    name: str


class FeatureCache:
    """Features by frame number: in memory, and behind it in a folder if one is given.

    Where room in memory is short, frames lose their finer features first, four fifths of their size and the part that
    can be computed again without the deep end of the encoder; then whole frames go. In both, the least recently used
    go first. A frame's image is kept beside its features and compared, so that a changed plate is never answered from
    the cache; on disk, names are hashes of image and weights.

    With the published widths in float32, a frame of 854 x 480 takes 12.5 MB, and 59 MB with its finer features: 100
    frames fit 1.3 GB, and all of their features 5.9 GB.

    Args:
        max_bytes: in memory.
        disk: where features go as soon as they are computed, to outlive both this bound and the process.
    """

    def __init__(self, max_bytes: int, disk: DiskTier | None = None) -> None:
        self.max_bytes = max_bytes
        self._disk = disk
        self._frames: OrderedDict[int, _Held] = OrderedDict()
        self._sizes: dict[int, int] = {}
        self._byte_count = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def byte_count(self) -> int:
        """Bytes held in memory, images included."""
        return self._byte_count

    def find(self, frame: int, image: Tensor, source: str = "") -> FrameFeatures | None:
        """Return the features of ``image`` (1, 3, H, W) on that frame, if they are held; ``finer`` may be None.

        Args:
            source: names what computes them: weights and arithmetic.
        """
        held = self._held(frame, image, source)
        if held is not None:
            self._frames.move_to_end(frame)
            return held.features
        if self._disk is None:
            return None
        name = _name(image, source)
        tensors = self._disk.load(_coarse(name))
        if tensors is None:
            # If the first was damaged, nothing vouches for the second, which would otherwise not be written again.
            self._disk.remove(_finer(name))
            return None
        features = FrameFeatures(**{key: tensors[key].to(image.device) for key in COARSE}, finer=None)
        self._put(frame, _Held(image, source, features, name))
        self._shrink()
        return features

    def find_finer(self, frame: int, image: Tensor, source: str = "") -> DecoderImagePart | None:
        """Return the decoder's image part of a frame whose features had lost it, if the folder holds it."""
        held = self._held(frame, image, source)
        if held is None or self._disk is None:
            return None
        tensors = self._disk.load(_finer(held.name))
        if tensors is None:
            return None
        on_device = {key: tensor.to(image.device) for key, tensor in tensors.items()}
        fusion = FusionImagePart(on_device["conv1"], on_device["downsample"])
        return DecoderImagePart(fusion, on_device["skip8"], on_device["skip4"])

    def keep(self, frame: int, image: Tensor, features: FrameFeatures, source: str = "") -> None:
        """Hold a frame's features; call again when they have grown."""
        held = self._held(frame, image, source)
        name = held.name if held is not None else _name(image, source) if self._disk is not None else ""
        self._put(frame, _Held(image, source, features, name))
        self._shrink()
        if self._disk is not None:
            self._disk.save(_coarse(name), {key: getattr(features, key) for key in COARSE})
            if isinstance(features.finer, DecoderImagePart):
                self._disk.save(_finer(name), _finer_tensors(features.finer))

    def _held(self, frame: int, image: Tensor, source: str) -> _Held | None:
        held = self._frames.get(frame)
        if held is None or held.source != source or held.image.shape != image.shape:
            return None
        return held if torch.equal(held.image, image) else None

    def _shrink(self) -> None:
        for oldest in list(self._frames):
            if self._byte_count <= self.max_bytes:
                return
            self._drop_finer(oldest)
        while self._byte_count > self.max_bytes:
            oldest, _ = self._frames.popitem(last=False)
            self._byte_count -= self._sizes.pop(oldest)

    def _drop_finer(self, frame: int) -> None:
        held = self._frames[frame]
        if held.features.finer is not None:
            # A copy: whoever was handed these features may be decoding with them.
            coarse = dataclasses.replace(held.features, finer=None)
            self._frames[frame] = dataclasses.replace(held, features=coarse)
            self._count(frame)

    def _put(self, frame: int, held: _Held) -> None:
        self._frames[frame] = held
        self._frames.move_to_end(frame)
        self._count(frame)

    def _count(self, frame: int) -> None:
        held = self._frames[frame]
        size = sum(tensor.nbytes for tensor in (held.image, *held.features.tensors()))
        self._byte_count += size - self._sizes.get(frame, 0)
        self._sizes[frame] = size


def _name(image: Tensor, source: str) -> str:
    return f"{source}-{tensor_fingerprint(image)}" if source else tensor_fingerprint(image)


def _coarse(name: str) -> str:
    return f"{name}.coarse"


def _finer(name: str) -> str:
    return f"{name}.finer"


def _finer_tensors(part: DecoderImagePart) -> dict[str, Tensor]:
    return {
        "conv1": part.fusion.conv1,
        "downsample": part.fusion.downsample,
        "skip8": part.skip8,
        "skip4": part.skip4,
    }
