"""Exact optical flow of the seen surface, and where it is hidden in the other frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_NEWTON_STEPS = 3
_LONGEST_STEP = 32.0
"""In nodes: twice the picture."""


def surface_flow(table: Tensor, visible: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Follow every pixel's surface point into the next and into the previous frame.

    The canonical point seen at pixel x is u = table(x). Its place y in the other frame solves other_table(y) = u.
    That is solved at the tables' nodes by Newton steps; between nodes their interpolated solution is so close that
    one more step per pixel leaves a few thousandths of a pixel. Beyond the picture the tables continue linearly.

    Args:
        table: (B, T, L, 2, G, G), canonical coordinates at nodes, of L layers.
        visible: (B, T, H, W) int64, which layer is seen.

    Returns:
        (flow, occluded) to the next frame and to the previous one. Flow (B, T, 2, H, W) in pixels, x right and y
        down; occluded (B, T, H, W) bool: the point is outside the picture or behind another layer there. Where
        there is no such frame, flow is 0 and occluded True.
    """
    (shots, frames), (height, width) = visible.shape[:2], visible.shape[2:]
    nodes, device = table.shape[-1], table.device
    # The last and the first frame are their own neighbours, so that all frames go through in one piece.
    neighbours = [torch.cat([table[:, 1:], table[:, -1:]], 1), torch.cat([table[:, :1], table[:, :-1]], 1)]
    solved = [_solve_nodes(table, other) for other in neighbours]
    across = torch.linspace(0, nodes - 1, width, device=device).expand(height, width)
    down = torch.linspace(0, nodes - 1, height, device=device)[:, None].expand(height, width)
    start = torch.stack([across, down])
    layer = visible.flatten(0, 1)
    everything = torch.cat([table, *solved], 3).flatten(0, 1)
    here = _read_layer(everything, layer, start.expand(len(layer), -1, -1, -1))
    pixels = torch.tensor([(width - 1) / (nodes - 1), (height - 1) / (nodes - 1)], device=device)[:, None, None]
    results = []
    for guess, other, step in ((here[:, 2:8], neighbours[0], 1), (here[:, 8:], neighbours[1], -1)):
        inside = guess[:, :2].clamp(0, nodes - 1)
        error = here[:, :2] - _read_layer(other.flatten(0, 1), layer, inside)
        place = _newton_step(guess[:, :2], inside, error, guess[:, 2:])
        arrival = (place * pixels).view(shots, frames, 2, height, width)
        flow, hidden = arrival - start * pixels, _hidden(arrival, visible, visible.roll(-step, 1))
        missing = -1 if step == 1 else 0
        flow[:, missing], hidden[:, missing] = 0.0, True
        results.append((flow, hidden))
    return results[0], results[1]


def _solve_nodes(table: Tensor, other: Tensor) -> Tensor:
    """Where the point at every node is in the other table, and that table's Jacobian there.

    Returns:
        (B, T, L, 2 + 4, G, G): x and y in nodes; see ``_node_jacobian``.
    """
    nodes = table.shape[-1]
    node = torch.arange(nodes, device=table.device, dtype=table.dtype)
    corner = torch.stack([node.expand(nodes, nodes), node[:, None].expand(nodes, nodes)])
    place, point = corner.expand_as(table).flatten(0, 2), table.flatten(0, 2)
    reader = torch.cat([other, _node_jacobian(other)], 3).flatten(0, 2)[:, None]
    # A surface point's own Jacobian hardly changes, so the first step goes far in the right direction.
    jacobian = _node_jacobian(table).flatten(0, 2)
    for step in range(_NEWTON_STEPS):
        inside = place.clamp(0, nodes - 1)
        read = _read_layer(reader, None, inside)
        jacobian = read[:, 2:] if step else jacobian
        place = _newton_step(place, inside, point - read[:, :2], jacobian)
    return torch.cat([place, jacobian], 1).view(*table.shape[:3], 6, nodes, nodes)


def _newton_step(place: Tensor, inside: Tensor, error: Tensor, jacobian: Tensor) -> Tensor:
    """Improve ``place`` (P, 2, H, W), given the error (P, 2, H, W) of the canonical point read ``inside`` the picture.

    Args:
        jacobian: (P, 4, H, W), see ``_node_jacobian``.
    """
    xx, xy, yx, yy = jacobian.unbind(1)
    beyond_x, beyond_y = (place - inside).unbind(1)
    error_x = error[:, 0] - xx * beyond_x - xy * beyond_y
    error_y = error[:, 1] - yx * beyond_x - yy * beyond_y
    determinant = xx * yy - xy * yx
    inverse = torch.where(determinant.abs() < 1e-9, 0.0, 1 / determinant)
    step = torch.stack([(yy * error_x - xy * error_y) * inverse, (xx * error_y - yx * error_x) * inverse], 1)
    return place + step.clamp_(-_LONGEST_STEP, _LONGEST_STEP)


def _read_layer(table: Tensor, layer: Tensor | None, place: Tensor) -> Tensor:
    """Read tables (P, L, C, G, G) of the layer (P, H, W) at node coordinates (P, 2, H, W): (P, C, H, W).

    Without ``layer`` L is 1.
    """
    pairs, layers, channels, nodes, _ = table.shape
    sheet = table.transpose(1, 2).reshape(pairs, channels, layers * nodes, nodes)
    row = place[:, 1] if layer is None else place[:, 1] + layer * nodes
    grid = torch.stack([place[:, 0] * (2 / (nodes - 1)) - 1, row * (2 / (layers * nodes - 1)) - 1], -1)
    return F.grid_sample(sheet, grid, mode="bilinear", padding_mode="border", align_corners=True)


def _node_jacobian(table: Tensor) -> Tensor:
    """Derivatives (..., 4, G, G) per node spacing: dx/dcolumn, dx/drow, dy/dcolumn, dy/drow."""
    column, row = torch.gradient(table, dim=(-1, -2))
    return torch.stack([column[..., 0, :, :], row[..., 0, :, :], column[..., 1, :, :], row[..., 1, :, :]], -3)


def _hidden(arrival: Tensor, visible: Tensor, other_visible: Tensor) -> Tensor:
    """Whether the nearest pixel to the arrival (B, T, 2, H, W) is outside, or shows another layer."""
    height, width = visible.shape[-2:]
    column, row = arrival.round().long().unbind(2)
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    index = row.clamp_(0, height - 1).mul_(width).add_(column.clamp_(0, width - 1))
    seen = other_visible.flatten(2).gather(2, index.flatten(2)).view_as(visible)
    return outside.logical_or_(seen != visible)
