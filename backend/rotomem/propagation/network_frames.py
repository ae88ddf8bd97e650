"""Plate frames and mattes at the size at which the network works, and its results back at the plate's."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.propagation.engine import FrameSource, Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def network_size(height: int, width: int, processing_size: int) -> tuple[int, int]:
    """Return (height, width) with the shorter side at most ``processing_size``; never larger than the plate."""
    shorter = min(height, width)
    if shorter <= processing_size:
        return height, width
    return processing_size * height // shorter, processing_size * width // shorter


def network_masks(mattes: Image, size: tuple[int, int]) -> Tensor:
    """Average mattes (K, H, W) over each pixel of ``size``, so that soft and thin parts keep their coverage."""
    masks = torch.from_numpy(np.ascontiguousarray(mattes))
    if tuple(masks.shape[-2:]) == size:
        return masks.clamp(0, 1)
    return F.interpolate(masks[None], size=size, mode="area")[0].clamp(0, 1)


def plate_mattes(masks: Tensor, size: tuple[int, int]) -> Image:
    """Return masks (K, h, w) at plate size (K, H, W), bilinear, still soft."""
    if tuple(masks.shape[-2:]) != size:
        masks = F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
    mattes: Image = masks.clamp(0, 1).float().cpu().numpy()
    return mattes


class NetworkImages:
    """A plate's frames, resized and normalised; the latest are kept, since both directions need each."""

    def __init__(self, source: FrameSource, processing_size: int, device: torch.device, *, max_bytes: int) -> None:
        self.size = network_size(*source.size, processing_size)
        self._source = source
        self._device = device
        self._max_bytes = max_bytes
        self._mean = torch.tensor(IMAGENET_MEAN, device=device)[:, None, None]
        self._std = torch.tensor(IMAGENET_STD, device=device)[:, None, None]
        self._held: OrderedDict[int, Tensor] = OrderedDict()

    def __getitem__(self, frame: int) -> Tensor:
        """Return (3, h, w); raises ``PlateError``."""
        if frame not in self._held:
            self._held[frame] = self._read(frame)
        self._held.move_to_end(frame)
        while len(self._held) > 1 and sum(image.nbytes for image in self._held.values()) > self._max_bytes:
            self._held.popitem(last=False)
        return self._held[frame]

    def _read(self, frame: int) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(self._source.image(frame), dtype=np.float32))
        image = pixels.to(self._device).permute(2, 0, 1)
        if tuple(image.shape[-2:]) != self.size:
            # Without antialiasing: the published weights were trained and measured on frames resized so.
            image = F.interpolate(image[None], size=self.size, mode="bilinear", align_corners=False)[0]
        return (image - self._mean) / self._std
