"""What a network learns from in one step: a few clips with some of their frames annotated."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

KEY_STRIDE = 16


@dataclass(frozen=True)
class ClipBatch:
    """B clips of T frames with K objects; the A frames ``annotated`` are the same in all of them.

    Attributes:
        images: (B, T, 3, H, W), sRGB-encoded, in [0, 1].
        truth: (B, T, K, H, W) in [0, 1].
        annotations: (B, A, K, H, W), what the network is told on the annotated frames.
        priors: (B, T, K, 4, H, W); see ``vos.flow_prior``. Zeros on annotated frames.
        places: (B, T, A, 3, h, w): where the surface in the middle of each cell at stride 16 is in each annotated
            frame, in pixels (x, y), and whether it is seen there, 1 or 0. Exact.
        annotated: ascending.
    """

    images: Tensor
    truth: Tensor
    annotations: Tensor
    priors: Tensor
    places: Tensor
    annotated: tuple[int, ...]

    def to(self, device: torch.device) -> ClipBatch:
        """The same clips in float32 on a device."""
        tensors = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                scale = 255 if value.dtype == torch.uint8 else 1
                tensors[field.name] = value.to(device, non_blocking=True).float() / scale
        return ClipBatch(**tensors, annotated=self.annotated)

    def packed(self) -> ClipBatch:
        """The same clips in 8 and 16 bits, to travel between processes."""
        return ClipBatch(
            images=(self.images * 255).round().to(torch.uint8),
            truth=(self.truth * 255).round().to(torch.uint8),
            annotations=(self.annotations * 255).round().to(torch.uint8),
            priors=(self.priors * 255).round().to(torch.uint8),
            places=self.places.half(),
            annotated=self.annotated,
        )
