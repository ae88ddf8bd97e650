"""Frames and grids as the motion networks take them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rotomem.errors import SettingError

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.228, 0.224, 0.225)
"""0.228, where ImageNet's is 0.229: the published selector and corrector were trained so."""
WORKING_AREA = 128 * 224
STRIDE = 16


def normalise_frames(frames: Tensor) -> Tensor:
    """Return frames (..., 3, H, W) of display-referred RGB in [0, 1] normalised for DINO, selector and corrector."""
    mean = torch.tensor(MEAN, dtype=frames.dtype, device=frames.device)[:, None, None]
    deviation = torch.tensor(DEVIATION, dtype=frames.dtype, device=frames.device)[:, None, None]
    return (frames - mean) / deviation


def working_size(height: int, width: int, *, area: int = WORKING_AREA) -> tuple[int, int]:
    """Return the height and width, multiples of 16, of about ``area`` pixels and a plate's aspect ratio.

    128×224 for 16:9, the published size (appendix 0.A.3); at least 16×16, for the longest strips.

    Raises:
        SettingError: a plate without pixels.
    """
    if height < 1 or width < 1:
        raise SettingError(f"a frame of {width}×{height} has no pixels to look for motion in")
    rows = max(1, round(math.sqrt(area * height / width) / STRIDE))
    columns = max(1, round(area / (rows * STRIDE * STRIDE)))
    return rows * STRIDE, min(columns, max(1, round(rows * width / height))) * STRIDE


def check_frame_size(height: int, width: int, stride: int) -> None:
    """Raise ``SettingError`` unless both sides are multiples of ``stride``, and one of them more than once."""
    if height % stride or width % stride or height * width <= stride * stride:
        raise SettingError(
            f"the motion networks take frames whose sides are multiples of {stride}, not {width}×{height}; "
            f"resize to working_size(...)"
        )


def grid_positions(*sizes: int, like: Tensor) -> Tensor:
    """Return coordinates (*sizes, len(sizes)), each axis running from -1 to 1; -1 along an axis of one."""
    axes = [torch.linspace(-1, 1, size, dtype=like.dtype, device=like.device) for size in sizes]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def windows(count: int, length: int, overlap: int = 0) -> list[range]:
    """Return ranges of at most ``length`` frames that cover ``count``; the last one is moved back to the clip's end.

    16 frames in windows of 7 are 0-6, 7-13 and 9-15, as in the published code; a clip shorter than the window is one.
    """
    if count <= length:
        return [range(count)]
    step = max(1, length - overlap)
    starts = [*range(0, count - length, step), count - length]
    return [range(start, start + length) for start in starts]
