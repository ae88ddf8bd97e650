"""Paint the canvases of all layers of a batch: colours, silhouettes and parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rotomem.training.synthetic.cast import Cast, LayerIndex, Slot, select
from rotomem.training.synthetic.distance import part_distance, signed_distance
from rotomem.training.synthetic.draws import Draws, Floats, Integers
from rotomem.training.synthetic.mosaic import Mosaic
from rotomem.training.synthetic.shapes import Part, sample_parts, sample_silhouettes
from rotomem.training.synthetic.sprites import BACKGROUND_OVERSCAN
from rotomem.training.synthetic.textures import (
    Material,
    match_colours,
    paint,
    sample_materials,
    shade_relief,
    soften,
    to_linear,
)

_SPRITE_RESOLUTION = 0.75
"""Canvas pixels per pixel of the picture's shorter side."""
_BACKGROUND_RESOLUTION = 1.26
"""Canvas pixels per pixel of each side of the picture."""


@dataclass(frozen=True)
class Wardrobe:
    """What the layers of B shots look like, in their canonical squares.

    Attributes:
        background: (B, 3, h, w), linear light.
        background_part: (B, 1, h, w), signed distance to the edge of the part, canonical units, negative inside.
        sprite: (sprites, 4, C, C), linear light and signed distance; the layers of rank > 0, in order.
        sprite_part: (sprites, 1, C, C).
    """

    background: Tensor
    background_part: Tensor
    sprite: Tensor
    sprite_part: Tensor

    def only(self, shots: Integers, sprites: Integers) -> Wardrobe:
        """What some shots and their sprites wear."""
        device = self.sprite.device
        shot, sprite = torch.as_tensor(shots, device=device), torch.as_tensor(sprites, device=device)
        return Wardrobe(
            background=self.background[shot],
            background_part=self.background_part[shot],
            sprite=self.sprite[sprite],
            sprite_part=self.sprite_part[sprite],
        )


def make_wardrobe(
    draws: Draws,
    cast: Cast,
    layers: LayerIndex,
    *,
    height: int,
    width: int,
    difficulty: float,
    defocus_px: Floats,
    fields: Mosaic,
    photographs: Mosaic | None,
) -> Wardrobe:
    """Paint everything that is worn in a batch.

    Args:
        height, width: of the picture in pixels.
        defocus_px: (N,), standard deviation of each layer's blur in picture pixels.
    """
    materials = sample_materials(draws, difficulty, photographs=photographs is not None)
    parts = sample_parts(draws)
    far, near = layers.rank == 0, layers.rank > 0
    background, wall_part = _paint_backgrounds(
        materials, parts, height=height, width=width, fields=fields, photographs=photographs
    )
    shot, slot = layers.shot[near], layers.slot[near]
    size = cast.size[shot, slot]
    silhouette = select(sample_silhouettes(draws), (shot, cast.outline[shot, slot]))
    material, part = select(materials, (shot, cast.look[shot, slot])), select(parts, (shot, slot))
    side = 2 * round(_SPRITE_RESOLUTION / 2 * min(height, width))
    extent = np.stack([size, size], -1)
    colours = paint(material, extent, height=side, width=side, fields=fields, photographs=photographs)
    colours = match_colours(colours, background, shot, material.match)
    distance = signed_distance(silhouette, side=side, noise=fields)
    cut = part_distance(part, height=side, width=side, device=fields.device)
    colours = _tint_part(colours, material, cut)
    relief = torch.as_tensor(material.relief, dtype=torch.float32, device=fields.device)
    colours = to_linear(shade_relief(colours, distance, relief).clamp(0, 1))
    # A canvas with more pixels than it covers in the picture would shimmer.
    ratio = side / (size * height)
    colours = soften(colours, np.hypot(0.4 * np.clip(ratio - 1, 0, None), defocus_px[near] * ratio))
    painted = _tint_part(background, select(materials, (slice(None), int(Slot.BACKGROUND))), wall_part)
    return Wardrobe(
        background=soften(to_linear(painted), defocus_px[far] * _BACKGROUND_RESOLUTION / BACKGROUND_OVERSCAN),
        background_part=wall_part[:, None],
        sprite=torch.cat([colours, distance[:, None]], 1),
        sprite_part=cut[:, None],
    )


def _paint_backgrounds(
    materials: Material, parts: Part, *, height: int, width: int, fields: Mosaic, photographs: Mosaic | None
) -> tuple[Tensor, Tensor]:
    """Colours (B, 3, h, w), sRGB-encoded, and distance to the part (B, h, w) of all backgrounds."""
    walls = (slice(None), int(Slot.BACKGROUND))
    material = select(materials, walls)
    extent = np.tile([BACKGROUND_OVERSCAN * width / height, BACKGROUND_OVERSCAN], (len(material.kind), 1))
    size = [2 * round(_BACKGROUND_RESOLUTION / 2 * pixels) for pixels in (height, width)]
    colours = paint(material, extent, height=size[0], width=size[1], fields=fields, photographs=photographs)
    return colours, part_distance(select(parts, walls), height=size[0], width=size[1], device=fields.device)


def _tint_part(colours: Tensor, material: Material, distance: Tensor) -> Tensor:
    """Colour the inside of the part a little differently, where the material says so."""
    tint = torch.as_tensor(material.tint, dtype=torch.float32, device=colours.device)[..., None, None]
    inside = torch.sigmoid(-distance * (0.5 * colours.shape[-1]))[:, None]
    return (colours * torch.lerp(torch.ones_like(inside), tint, inside)).clamp(0, 1)
