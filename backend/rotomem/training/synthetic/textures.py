"""Materials: what the surface of every layer looks like, painted once per shot on a canvas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.training.synthetic.cast import SLOTS, Slot, select
from rotomem.training.synthetic.distance import canonical_grid
from rotomem.training.synthetic.draws import Draws, Floats, Integers
from rotomem.training.synthetic.mosaic import FIELD_NAMES, Mosaic

_NOISE, _STRIPES, _WEAVE, _GRADIENT, _FLAT, _PHOTOGRAPH = range(6)


@dataclass(frozen=True)
class Material:
    """The surface of every layer.

    Attributes:
        kind: (...,), one of noise, stripes, weave, gradient, flat, photograph.
        palette: (..., 3, 3), sRGB-encoded colours.
        field: (..., 2), tiles of the procedural fields for the two mixtures.
        photograph: (...,), in [0, 1): which photograph.
        density: (..., 2), tile pixels per half picture height, of the two fields.
        photograph_density: (...,), the same for a photograph 256 pixels high.
        angle: (...,), radians.
        offset: (..., 2), tile pixels.
        period: (...,), of stripes, in half picture heights.
        contrast: (..., 3), of the first mixture, of the second, and of fine detail.
        swirl: (...,), how far the pattern is bent by noise.
        match: (...,), 0 to 1: how far its colours are moved towards the background's.
        tint: (..., 3), factors on the colours inside the part.
        relief: (..., 2), strength and heading of the light on the rounded edge.
    """

    kind: Integers
    palette: Floats
    field: Integers
    photograph: Floats
    density: Floats
    photograph_density: Floats
    angle: Floats
    offset: Floats
    period: Floats
    contrast: Floats
    swirl: Floats
    match: Floats
    tint: Floats
    relief: Floats


def sample_materials(draws: Draws, difficulty: float, *, photographs: bool) -> Material:
    """Materials of every slot (B, S, ...)."""
    shape = (SLOTS,)
    weights = (0.34, 0.13, 0.09, 0.08, 0.1, 0.45 if photographs else 0.0)
    kind = draws.choose("material.kind", weights, shape)
    contrast = draws.uniform("material.contrast", 0.0, 1.0, (SLOTS, 3)) * np.array([1.6, 1.0, 0.35])
    contrast[..., 0] += 0.5
    alike = draws.choose("material.alike", (0.5, 0.2 * difficulty, 0.3 * difficulty), shape)
    partly = draws.uniform("material.partly-alike", 0.4, 0.95, shape)
    tinted = draws.chance("material.tinted", 0.5, shape)[..., None]
    amount = draws.uniform("material.tint-amount", 0, 1, (SLOTS, 1))
    tint = np.exp(draws.uniform("material.tint", -0.7, 0.7, (SLOTS, 3)) * amount)
    angle = draws.uniform("material.angle", 0, 2 * np.pi, shape)
    upright = draws.uniform("material.upright", -0.15, 0.15) + np.pi * draws.integers("material.turned", 0, 2)
    angle[:, Slot.BACKGROUND] = np.where(kind[:, Slot.BACKGROUND] == _PHOTOGRAPH, upright, angle[:, Slot.BACKGROUND])
    plain = (kind == _FLAT) | (kind == _GRADIENT)
    return Material(
        kind=kind,
        palette=_sample_palettes(draws),
        field=draws.integers("material.field", 0, len(FIELD_NAMES), (SLOTS, 2)),
        photograph=draws.uniform("material.photograph", 0, 1, shape),
        density=draws.log_uniform("material.density", 24.0, 170.0, (SLOTS, 2)),
        photograph_density=draws.log_uniform("material.photograph-density", 60.0, 150.0, shape),
        angle=angle,
        offset=draws.uniform("material.offset", 0, 4096, (SLOTS, 2)),
        period=draws.log_uniform("material.period", 0.06, 0.35, shape),
        contrast=contrast,
        swirl=draws.uniform("material.swirl", 0, 0.25, shape) * draws.chance("material.swirled", 0.5, shape),
        # A flat surface in exactly its background's colours cannot be seen by anyone.
        match=np.minimum(np.select([alike == 0, alike == 1], [0.0, 1.0], partly), np.where(plain, 0.6, 1.0)),
        tint=np.where(tinted, tint, 1.0),
        relief=np.stack(
            [
                draws.uniform("material.relief", 0, 0.9, shape) * draws.chance("material.rounded", 0.65, shape),
                np.repeat(draws.uniform("material.relief-heading", 0, 2 * np.pi)[:, None], SLOTS, 1),
            ],
            -1,
        ),
    )


def _sample_palettes(draws: Draws) -> Floats:
    """(B, S, 3, 3): mostly muted colours, three per layer, around one hue or spread."""
    hue = draws.uniform("palette.hue", 0, 1, (SLOTS, 1))
    spread = draws.log_uniform("palette.spread", 0.02, 0.5, (SLOTS, 1))
    hues = (hue + spread * draws.uniform("palette.hues", -1, 1, (SLOTS, 3)))[..., None]
    saturation = draws.uniform("palette.saturation", 0, 1, (SLOTS, 1)) ** 1.7
    saturation = (saturation * draws.uniform("palette.saturations", 0.4, 1, (SLOTS, 3)))[..., None]
    centre = draws.uniform("palette.value", 0.22, 0.92, (SLOTS, 1))
    value = np.clip(centre + draws.uniform("palette.values", -0.4, 0.4, (SLOTS, 3)), 0.04, 1.0)[..., None]
    wheel = np.clip(np.abs((hues + np.array([0, 2 / 3, 1 / 3])) % 1.0 * 6 - 3) - 1, 0, 1)
    return np.asarray(value * (1 - saturation * (1 - wheel)))


def paint(
    material: Material, half_extent: Floats, *, height: int, width: int, fields: Mosaic, photographs: Mosaic | None
) -> Tensor:
    """Paint canvases (N, 3, height, width), sRGB-encoded in [0, 1].

    Args:
        material: of N layers.
        half_extent: (N, 2), half the canvas's width and height in half picture heights.
    """
    device = fields.device
    canvas = torch.empty(len(material.kind), 3, height, width, device=device)
    photographic = (material.kind == _PHOTOGRAPH) & (photographs is not None)
    chosen = np.flatnonzero(~photographic)
    if len(chosen):
        grid = _texture_grid(select(material, chosen), half_extent[chosen], height, width, device)
        canvas[torch.as_tensor(chosen, device=device)] = _paint_pattern(select(material, chosen), grid, fields)
    chosen = np.flatnonzero(photographic)
    if photographs is not None and len(chosen):
        some = select(material, chosen)
        grid = _texture_grid(some, half_extent[chosen], height, width, device)
        tile = torch.as_tensor((some.photograph * photographs.count).astype(np.int64), device=device)
        scale = _spread(some.photograph_density, device) * (photographs.tile_height / 256)
        place = scale[:, None] * grid + _spread(some.offset, device)
        canvas[torch.as_tensor(chosen, device=device)] = photographs.sample(tile, place)
    return canvas


def _spread(values: Floats | Integers, device: torch.device) -> Tensor:
    """Parameters (N, ...) as float32 that broadcasts over pictures."""
    return torch.as_tensor(values, dtype=torch.float32, device=device)[..., None, None]


def _texture_grid(material: Material, half_extent: Floats, height: int, width: int, device: torch.device) -> Tensor:
    """Turned texture coordinates (N, 2, height, width) in half picture heights."""
    x, y = (canonical_grid(height, width, device) * _spread(half_extent, device)).unbind(1)
    cosine, sine = torch.cos(_spread(material.angle, device)), torch.sin(_spread(material.angle, device))
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], 1)


def _paint_pattern(material: Material, place: Tensor, fields: Mosaic) -> Tensor:
    """Procedural colours (N, 3, h, w) at texture coordinates (N, 2, h, w)."""
    device = place.device
    offset, density = _spread(material.offset, device), _spread(material.density, device)
    brown = torch.zeros(len(place), dtype=torch.long, device=device)
    coarse = 40.0 * place[..., ::4, ::4] + offset
    eddies = torch.stack([fields.sample(brown, coarse + shift)[:, 0] - 0.5 for shift in (0.0, 101.0)], 1)
    eddies = F.interpolate(eddies, place.shape[-2:], mode="bilinear", align_corners=True)
    place = torch.addcmul(place, eddies, _spread(material.swirl, device)[:, None])
    tiles = torch.as_tensor(material.field, device=device)
    first = fields.sample(tiles[:, 0], density[:, :1] * place + offset)[:, 0]
    second = fields.sample(tiles[:, 1], density[:, 1:] * place + offset + 57.0)[:, 0]
    return _mix_palette(material, place, first, second, eddies[:, 0]).clamp_(0, 1)


def _mix_palette(material: Material, place: Tensor, first: Tensor, second: Tensor, eddy: Tensor) -> Tensor:
    """Colours (N, 3, h, w) of the procedural kinds, from the place (N, 2, h, w) and two fields (N, h, w)."""
    kind, period = _spread(material.kind, place.device), _spread(material.period, place.device)
    contrast, patches, detail = _spread(material.contrast, place.device).unbind(1)
    sharpness = 0.25 + 2 * contrast
    bands = [0.5 + sharpness * torch.sin(across * (2 * torch.pi / period)) for across in place.unbind(1)]
    amount = 0.5 + (first - 0.5) * contrast
    amount = torch.where(kind == _STRIPES, bands[0].clamp(0, 1), amount)
    amount = torch.where(kind == _WEAVE, bands[0].clamp(0, 1) * 0.5 + bands[1].clamp(0, 1) * 0.5, amount)
    amount = torch.where(kind == _GRADIENT, 0.5 + 0.8 * place[:, 0] + 0.15 * eddy, amount)
    amount = torch.where(kind == _FLAT, 0.5 + 0.12 * (first - 0.5), amount).clamp(0, 1)
    plain = (kind == _FLAT) | (kind == _GRADIENT)
    patch = ((second - 0.55) * 6).clamp(0, 1) * patches * torch.where(plain, 0.1, 1.0)
    grain = 1 + detail * torch.where(plain, 0.2, 1.0) * (first + second - 1)
    palette = _spread(material.palette, place.device)
    colours = torch.lerp(palette[:, 0], palette[:, 1], amount[:, None])
    return torch.lerp(colours, palette[:, 2].expand_as(colours), patch[:, None]) * grain[:, None]


def match_colours(colours: Tensor, reference: Tensor, reference_of: Integers, amount: Floats) -> Tensor:
    """Move the mean and spread of canvases (N, 3, h, w) towards those of other pictures.

    Args:
        reference: (B, 3, H, W).
        reference_of: (N,), which of these.
        amount: (N,), 0 leaves a canvas as it is, 1 takes it all the way.
    """
    chosen = np.flatnonzero(amount > 0)
    if not len(chosen):
        return colours
    index = torch.as_tensor(chosen, device=colours.device)
    wanted_spread, wanted_mean = torch.std_mean(reference[..., ::3, ::3], dim=(2, 3), keepdim=True)
    row = torch.as_tensor(reference_of[chosen], device=colours.device)
    some = colours[index]
    spread, mean = torch.std_mean(some[..., ::3, ::3], dim=(2, 3), keepdim=True)
    gain = (wanted_spread[row] / spread.clamp(min=0.02)).clamp(max=3.0)
    weight = _spread(amount[chosen], colours.device)[:, None]
    alike = torch.lerp(some, (some - mean) * gain + wanted_mean[row], weight)
    return colours.index_copy(0, index, alike.clamp_(0, 1))


def shade_relief(colours: Tensor, distance: Tensor, relief: Tensor) -> Tensor:
    """Light canvases (N, 3, h, w) as if their edges were rounded.

    Args:
        distance: (N, h, w), signed, canonical units.
        relief: (N, 2), strength and heading of the light.
    """
    width = 0.22
    padded = F.pad(distance[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    scale = torch.rsqrt(across**2 + down**2 + 1e-8)
    strength, heading = relief[..., None, None].unbind(1)
    facing = (torch.cos(heading) * across + torch.sin(heading) * down) * scale
    rim = torch.exp(distance.clamp(max=0.0) / width)
    return colours * (1 + strength * rim * (0.6 * facing - 0.35))[:, None]


def soften(canvas: Tensor, radius_px: Floats) -> Tensor:
    """Blur each canvas (N, C, h, w) by about ``radius_px`` (N,) pixels (standard deviation, at most 2.6)."""
    chosen = np.flatnonzero(radius_px > 0.1)
    if not len(chosen):
        return canvas
    index = torch.as_tensor(chosen, device=canvas.device)
    levels = [canvas[index]]
    for spacing in (1, 2, 3):
        levels.append(smooth(smooth(levels[-1], spacing, 2), spacing, 3))
    # The variances of the three binomial kernels, (spacing ** 2) / 2, add up.
    sigma = np.sqrt([0.0, 0.5, 2.5, 7.0])
    wanted = np.clip(radius_px[chosen], 0, sigma[-1])
    place = np.clip(np.searchsorted(sigma, wanted) - 1, 0, 2)
    weight = (wanted - sigma[place]) / (sigma[place + 1] - sigma[place])
    low, row = torch.as_tensor(place, device=canvas.device), torch.arange(len(chosen), device=canvas.device)
    stack, amount = torch.stack(levels), torch.as_tensor(weight, dtype=canvas.dtype, device=canvas.device)
    canvas = canvas.clone()
    canvas[index] = torch.lerp(stack[low, row], stack[low + 1, row], amount[:, None, None, None])
    return canvas


def smooth(canvas: Tensor, spacing: int, axis: int) -> Tensor:
    """Average neighbours ``spacing`` apart with weights 1, 2, 1."""
    size = canvas.shape[axis]
    first, last = (canvas.narrow(axis, end, 1) for end in (0, size - 1))
    margin = [spacing if dimension == axis else -1 for dimension in range(canvas.ndim)]
    before = torch.cat([first.expand(margin), canvas.narrow(axis, 0, size - spacing)], axis)
    after = torch.cat([canvas.narrow(axis, spacing, size - spacing), last.expand(margin)], axis)
    return torch.lerp(before.add_(after).mul_(0.5), canvas, 0.5)


def to_linear(encoded: Tensor) -> Tensor:
    """sRGB-encoded [0, 1] to linear light. Source: IEC 61966-2-1."""
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055).pow(2.4))


def to_display(linear: Tensor) -> Tensor:
    """Linear light, clipped to [0, 1], to sRGB-encoded. Source: IEC 61966-2-1."""
    linear = linear.clamp(1e-6, 1)
    curve = torch.exp(torch.log(linear) * (1 / 2.4)).mul_(1.055).sub_(0.055)
    return torch.where(linear <= 0.0031308, linear * 12.92, curve)
