"""A contact sheet of synthetic shots: what the generator makes, for eyes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rotomem.training.synthetic.mosaic import Mosaic
from rotomem.training.synthetic.shot import ShotBatch, generate_batch

ROWS = ("picture", "modal mattes", "amodal mattes", "forward flow", "hidden in the next / previous frame")
_TARGET_COLOURS = ((1.0, 0.25, 0.2), (0.2, 0.55, 1.0), (0.3, 0.9, 0.35))
_GAP = 6


def write_contact_sheet(
    path: Path | str,
    seeds: Sequence[int],
    *,
    frames: int = 6,
    size: int = 192,
    columns: int = 2,
    difficulty: float = 1.0,
    photographs: Mosaic | None = None,
    device: str | torch.device = "cpu",
) -> Path:
    """Write a PNG with, for every seed, a row of frames for each of ROWS.

    Args:
        size: height of one frame in pixels; its width is 4/3 of that.
        columns: shots beside each other.

    Returns:
        ``path``.
    """
    width = round(size * 4 / 3 / 2) * 2
    strips = []
    for seed in seeds:
        batch = generate_batch(
            [seed],
            frames=frames,
            height=size,
            width=width,
            difficulty=difficulty,
            photographs=photographs,
            device=device,
        )
        strips.append(np.pad(_strip(batch), ((0, _GAP), (0, _GAP), (0, 0)), constant_values=0.1))
    blank = np.full_like(strips[0], 0.1)
    strips += [blank] * (-len(strips) % columns)
    lines = [np.concatenate(strips[start : start + columns], 1) for start in range(0, len(strips), columns)]
    return write_png(path, np.concatenate(lines))


def _strip(batch: ShotBatch) -> NDArray[np.float32]:
    """One shot as rows of frames (rows * H, T * W, 3)."""
    rgb = batch.rgb[0]
    ahead, behind = batch.occluded_forward[0], batch.occluded_backward[0]
    hidden = torch.stack([ahead, behind, torch.zeros_like(ahead)], 1)
    rows = (
        rgb,
        _overlay(rgb, batch.alpha_modal[0]),
        _overlay(rgb, batch.alpha_amodal[0]),
        flow_colours(batch.flow_forward[0]),
        0.3 * rgb.mean(1, keepdim=True) + 0.7 * hidden,
    )
    lines = [row.movedim(1, -1).cpu().numpy() for row in rows]
    return np.concatenate([np.concatenate(list(line), 1) for line in lines]).astype(np.float32)


def _overlay(rgb: Tensor, alpha: Tensor) -> Tensor:
    """Tint frames (T, 3, H, W) by targets (T, K, H, W), over a dimmed grey picture."""
    shown = 0.75 * torch.lerp(rgb, rgb.mean(1, keepdim=True).expand_as(rgb), 0.7)
    for target in range(alpha.shape[1]):
        colour = torch.tensor(_TARGET_COLOURS[target], device=rgb.device)[None, :, None, None]
        shown = torch.lerp(shown, 0.35 * shown + 0.65 * colour, alpha[:, target, None])
    return shown


def flow_colours(flow: Tensor, *, full_px: float | None = None) -> Tensor:
    """Flow (T, 2, H, W) on the colour wheel: hue is direction, white no motion.

    Args:
        full_px: the motion that is fully saturated; the 99th percentile of the shot by default.
    """
    length = flow.norm(dim=1)
    if full_px is None:
        full_px = max(float(np.quantile(length.cpu().numpy(), 0.99)), 0.5)
    hue = torch.atan2(flow[:, 1], flow[:, 0]) / (2 * torch.pi) + 0.5
    offsets = torch.tensor([0.0, 2 / 3, 1 / 3], device=flow.device)[None, :, None, None]
    wheel = (((hue[:, None] + offsets) % 1.0 * 6 - 3).abs() - 1).clamp(0, 1)
    return torch.lerp(torch.ones_like(wheel), wheel, (length / full_px).clamp(0, 1)[:, None])


def write_png(path: Path | str, picture: NDArray[np.float32]) -> Path:
    """Write (H, W, 3) in [0, 1] as an 8-bit PNG, so that a sheet needs no imaging library."""
    pixels = (picture.clip(0, 1) * 255 + 0.5).astype(np.uint8)
    height, width, _ = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], 1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    destination = Path(path)
    destination.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines.tobytes(), 6))
        + chunk(b"IEND", b"")
    )
    return destination
