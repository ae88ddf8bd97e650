"""Signed distances to silhouettes and parts, on canvases in canonical units."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.training.synthetic.draws import Flags, Floats, Integers
from rotomem.training.synthetic.mosaic import Mosaic
from rotomem.training.synthetic.shapes import Part, Silhouette

_FAR = 1e3


def canonical_grid(height: int, width: int, device: torch.device) -> Tensor:
    """(2, height, width): x and y of a canvas's pixels in [-1, 1], the outer ones on the border."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=device), torch.linspace(-1, 1, width, device=device), indexing="ij"
    )
    return torch.stack([x, y])


def signed_distance(silhouette: Silhouette, *, side: int, noise: Mosaic) -> Tensor:
    """Distance to the edge in canonical units, negative inside: (N, side, side). 0.36 on the canvas's border."""
    device = noise.device

    def move(values: Floats) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=device)

    def those(flags: Any) -> tuple[Integers, Tensor]:
        chosen = np.flatnonzero(flags)
        return chosen, torch.as_tensor(chosen, device=device)

    grid, coarse = canonical_grid(side, side, device), canonical_grid(side // 2, side // 2, device)
    distance = torch.full((len(silhouette.filled), side, side), _FAR, device=device)
    chosen, index = those(silhouette.filled)
    body = _polygon_distance(move(silhouette.outline[chosen]), coarse)
    distance[index] = F.interpolate(body[:, None], (side, side), mode="bilinear", align_corners=True)[:, 0]
    chosen, index = those(silhouette.thickness.any((1, 2)))
    strokes = _stroke_distance(move(silhouette.stroke[chosen]), move(silhouette.thickness[chosen]), grid)
    distance[index] = torch.minimum(distance[index], strokes)
    chosen, index = those(silhouette.rough[:, 0] > 0)
    distance[index] = _roughen(distance[index], move(silhouette.rough[chosen]), grid, noise)
    chosen, index = those(silhouette.hole[..., 2].any(1))
    distance[index] = torch.maximum(distance[index], _hole_distance(move(silhouette.hole[chosen]), grid))
    chosen, index = those(silhouette.lattice[:, 1] > 0)
    distance[index] = torch.maximum(distance[index], _lattice_distance(move(silhouette.lattice[chosen]), grid))
    # Steep towards the border, so that even a soft edge has ended there: beyond it the border's value goes on.
    return torch.maximum(distance, 6 * (grid.abs().amax(0) - 0.94)).clamp_(-1, 1)


def _roughen(distance: Tensor, rough: Tensor, grid: Tensor, noise: Mosaic) -> Tensor:
    """Add noise to distances (N, h, w), and divide by the slope, so that they stay true near the new edge."""
    amplitude, frequency, offset = rough[..., None, None].unbind(1)
    tile = torch.zeros(len(rough), dtype=torch.long, device=grid.device)
    field = noise.sample(tile, frequency[:, None] * grid + offset[:, None])[:, 0]
    distance = distance + amplitude * (field - 0.5)
    padded = F.pad(distance[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    spacing = 4.0 / (grid.shape[-1] - 1)
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / spacing
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / spacing
    return distance / torch.hypot(across, down).clamp_(min=1.0)


def _hole_distance(hole: Tensor, grid: Tensor) -> Tensor:
    """Distance (N, h, w), positive inside round holes (N, HOLES, 3); those of radius 0 are not there."""
    x, y, radius = hole[..., None, None].unbind(2)
    gap = radius - torch.hypot(grid[0] - x, grid[1] - y)
    return torch.where(radius > 0, gap, -_FAR).amax(1)


def _polygon_distance(outline: Tensor, grid: Tensor) -> Tensor:
    """Signed distance (N, h, w) to closed polygons (N, P, 2)."""
    start, end = outline, outline.roll(-1, 1)
    offset_x, offset_y, along = _project(start, end, grid)
    edge_x, edge_y = (end - start)[..., None, None].unbind(2)
    # Crossing number: edges that straddle the point's row and pass to its right.
    above = offset_y < 0
    straddles = above != (offset_y < edge_y)
    left = (offset_x * edge_y - offset_y * edge_x < 0) == (edge_y > 0)
    inside = (straddles & left).sum(1) % 2
    squared = torch.addcmul(offset_x, along, edge_x, value=-1).square_()
    squared += torch.addcmul(offset_y, along, edge_y, value=-1).square_()
    return squared.amin(1).sqrt_() * (1 - 2.0 * inside)


def _stroke_distance(stroke: Tensor, thickness: Tensor, grid: Tensor) -> Tensor:
    """Distance (N, h, w) to pieces (N, E, 2, 2) less their radius (N, E, 2)."""
    start, end = stroke.unbind(2)
    offset_x, offset_y, along = _project(start, end, grid)
    edge_x, edge_y = (end - start)[..., None, None].unbind(2)
    squared = torch.addcmul(offset_x, along, edge_x, value=-1).square_()
    squared += torch.addcmul(offset_y, along, edge_y, value=-1).square_()
    first, last = thickness[..., None, None].unbind(2)
    return squared.sqrt_().sub_(first).addcmul_(along, last - first, value=-1).amin(1)


def _project(start: Tensor, end: Tensor, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Offset x and y (N, E, h, w) of the points from ``start`` (N, E, 2), and where on the edge they project to."""
    edge = end - start
    scale = edge / (edge**2).sum(2, keepdim=True).clamp(min=1e-12)
    offset_x = grid[0] - start[:, :, 0, None, None]
    offset_y = grid[1] - start[:, :, 1, None, None]
    along = (offset_x * scale[:, :, 0, None, None]).addcmul_(offset_y, scale[:, :, 1, None, None]).clamp_(0, 1)
    return offset_x, offset_y, along


def _lattice_distance(lattice: Tensor, grid: Tensor) -> Tensor:
    """Distance (N, h, w) to parallel or crossing bars."""
    angle, period, half, crossing = lattice[..., None, None].unbind(1)

    def bars(across: Tensor) -> Tensor:
        return ((across / period - torch.round(across / period)) * period).abs() - half

    cosine, sine = torch.cos(angle), torch.sin(angle)
    one = bars(cosine * grid[0] + sine * grid[1])
    both = torch.minimum(one, bars(cosine * grid[1] - sine * grid[0]))
    return torch.where(crossing > 0.5, both, one)


def part_distance(part: Part, *, height: int, width: int, device: torch.device) -> Tensor:
    """Distance to the edge of the part in canonical units, negative inside: (N, height, width)."""

    def move(values: Floats | Flags) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=device)[..., None, None]

    grid = canonical_grid(height, width, device)
    amplitude, frequency, phase = move(part.wobble).unbind(1)
    offset = grid - move(part.centre)
    polar = torch.atan2(offset[:, 1], offset[:, 0])
    radius = move(part.radius) * (1 + 2 * amplitude * torch.cos(frequency * polar + phase))
    disc = torch.hypot(offset[:, 0], offset[:, 1]) - radius
    cosine, sine = torch.cos(move(part.heading)), torch.sin(move(part.heading))
    along = cosine * offset[:, 1] - sine * offset[:, 0]
    cut = cosine * offset[:, 0] + sine * offset[:, 1] + amplitude * torch.sin(frequency * along + phase)
    return torch.where(move(part.disc) > 0, disc, cut)
