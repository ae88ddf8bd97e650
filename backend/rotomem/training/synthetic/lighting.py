"""Light: exposure, flicker, drifting illumination, light on single sprites, and the shadows that they cast."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.training.synthetic.cast import SLOTS, Slot
from rotomem.training.synthetic.draws import Draws, Flags, Floats

_FIELD_SIDE = 5


@dataclass(frozen=True)
class Lighting:
    """Light on B shots of T frames.

    Attributes:
        gain: (B, T, 3), factors on linear light.
        field: (B, 2, _FIELD_SIDE, _FIELD_SIDE), log factors over the picture at the shot's start and end.
        uneven: (B,), whether ``field`` is used.
        layer_gain: (B, S, T), factor on a layer's own light.
        shadow: (B, S, 4), offset x and y in half picture heights, softness in half heights, strength in [0, 1).
    """

    gain: Floats
    field: Floats
    uneven: Flags
    layer_gain: Floats
    shadow: Floats


def sample_lighting(draws: Draws, frames: int, difficulty: float) -> Lighting:
    """Light of every shot; half of them are lit constantly."""
    time = np.linspace(-0.5, 0.5, frames)
    changing = draws.chance("light.changing", 0.45)[:, None, None]
    ramp = draws.uniform("light.ramp", -0.8, 0.8, (1, 1)) * time[:, None]
    turns = draws.uniform("light.rate", 2, 9, (1, 1)) * time[:, None] + draws.uniform("light.phase", 0, 6, (1, 1))
    warmth = draws.uniform("light.warmth", -0.15, 0.15, (1, 3)) * (0.5 + time[:, None])
    flicker = draws.uniform("light.flicker", -1, 1, (frames, 1))
    flicker *= draws.log_uniform("light.flicker-size", 0.01, 0.2, (1, 1))
    flicker *= draws.chance("light.flickers", 0.2)[:, None, None]
    exposure = draws.uniform("light.exposure", -0.35, 0.3)[:, None, None]
    lit = draws.chance("light.layers", 0.25)[:, None, None] * draws.uniform("light.layer", -0.6, 0.6, (SLOTS, 1)) * time
    lit[:, [Slot.LIMB_A, Slot.LIMB_B]] = lit[:, [Slot.HERO]]
    return Lighting(
        gain=np.exp2(exposure + difficulty * (changing * (ramp + 0.3 * np.sin(turns) + warmth) + flicker)),
        field=draws.uniform("light.field", -0.6, 0.6, (2, _FIELD_SIDE, _FIELD_SIDE)),
        uneven=draws.chance("light.uneven", 0.35),
        layer_gain=np.exp2(2 * difficulty * lit),
        shadow=_sample_shadows(draws),
    )


def _sample_shadows(draws: Draws) -> Floats:
    """All shadows of a shot fall the same way; nearer sprites throw theirs further."""
    heading = draws.uniform("shadow.heading", 0, 2 * np.pi, (1,))
    length = draws.log_uniform("shadow.length", 0.03, 0.25, (1,)) * draws.uniform("shadow.height", 0.5, 1.2, (SLOTS,))
    strength = draws.uniform("shadow.strength", 0.15, 0.7, (1,)) * draws.chance("shadow.cast", 0.5)[:, None]
    strength = strength * np.ones(SLOTS)
    strength[:, Slot.BACKGROUND] = 0.0
    softness = draws.uniform("shadow.softness", 0.02, 0.12, (1,)) * np.ones(SLOTS)
    return np.stack([length * np.cos(heading), length * np.sin(heading), softness, strength], -1)


def without_effects(lighting: Lighting) -> Lighting:
    """Even, constant light and no shadows."""
    return Lighting(
        gain=np.ones_like(lighting.gain),
        field=lighting.field,
        uneven=np.zeros_like(lighting.uneven),
        layer_gain=np.ones_like(lighting.layer_gain),
        shadow=np.zeros_like(lighting.shadow),
    )


def illuminate(rgb: Tensor, lighting: Lighting) -> Tensor:
    """Apply the shot's gain and drifting illumination to linear (B, T, 3, H, W)."""
    rgb = rgb * torch.as_tensor(lighting.gain, dtype=rgb.dtype, device=rgb.device)[..., None, None]
    chosen = np.flatnonzero(lighting.uneven)
    if len(chosen):
        index = torch.as_tensor(chosen, device=rgb.device)
        field = torch.as_tensor(lighting.field[chosen], dtype=rgb.dtype, device=rgb.device)
        time = torch.linspace(0, 1, rgb.shape[1], device=rgb.device, dtype=rgb.dtype)[:, None, None]
        drifting = torch.lerp(field[:, None, 0], field[:, None, 1], time)
        factor = torch.exp(F.interpolate(drifting, rgb.shape[-2:], mode="bicubic", align_corners=True))
        rgb[index] = rgb[index] * factor[:, :, None]
    return rgb


def cast_shadow(alpha: Tensor, shadow: Tensor, picture_height: int) -> Tensor:
    """How much light the layers below lose.

    Args:
        alpha: (n, M, h, w) of the casting sprites, in a window of the picture.
        shadow: (n, 4) as in ``Lighting.shadow``.
        picture_height: of the whole picture in pixels.

    Returns:
        (n, M, h, w) in [0, 1).
    """
    height, width = alpha.shape[-2:]
    coarse = F.avg_pool2d(F.pad(alpha, (0, -width % 4, 0, -height % 4)), 4)
    for _ in range(2):
        coarse = F.avg_pool2d(coarse, 3, stride=1, padding=1)
    x, y, softness, strength = shadow.unbind(1)
    rows, columns = coarse.shape[-2:]
    step = picture_height / 4
    across = torch.linspace(-1, 1, columns, device=alpha.device) - x[:, None] * (step / max(columns - 1, 1))
    down = torch.linspace(-1, 1, rows, device=alpha.device) - y[:, None] * (step / max(rows - 1, 1))
    grid = torch.stack([across[:, None].expand(-1, rows, -1), down[:, :, None].expand(-1, -1, columns)], -1)
    moved = F.grid_sample(coarse, grid, mode="bilinear", align_corners=True)
    wide = F.avg_pool2d(moved, 5, stride=1, padding=2)
    moved = torch.lerp(moved, wide, (softness / 0.12).clamp(0, 1)[:, None, None, None])
    full = F.interpolate(moved, scale_factor=4, mode="bilinear", align_corners=False)
    return full[..., :height, :width] * strength[:, None, None, None]
