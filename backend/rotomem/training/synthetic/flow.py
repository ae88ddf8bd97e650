"""Exact optical flow of the seen surface, and where it is hidden in the other frame."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_NEWTON_STEPS = 3


def surface_flow(table: Tensor, visible: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Follow every pixel's surface point into the next and into the previous frame.

    The canonical point seen at pixel x is u = table(x). Its place y in the other frame solves other_table(y) = u.
    That is solved at the tables' nodes by Newton steps; between nodes their interpolated solution is so close that
    one more step per pixel leaves a few thousandths of a pixel. Beyond the picture the tables continue linearly.

    Args:
        table: (B, T, L, 2, G, G), canonical coordinates at nodes, of L layers.
        visible: (B, T, H, W) float, which layer is seen: 0 to L - 1.

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
    start = torch.stack([across, down]).expand(shots * frames, 2, height, width)
    layer = visible.flatten(0, 1)
    here = _read_layer(torch.cat([table, *(place for place, _ in solved)], 3).flatten(0, 1), layer, start)
    pixels = torch.tensor([(width - 1) / (nodes - 1), (height - 1) / (nodes - 1)], device=device)[:, None, None]
    results = []
    for guess, other, (_, inverse), step in zip((here[:, 2:4], here[:, 4:]), neighbours, solved, (1, -1), strict=True):
        # The inverse only corrects what is nearly right, so the nearest node's will do.
        correction = _read_layer(inverse.flatten(0, 1), layer, start, mode="nearest")
        place = _newton_step(guess, here[:, :2], correction, other.flatten(0, 1), layer)
        arrival = (place * pixels).view(shots, frames, 2, height, width)
        flow, hidden = arrival - start[0] * pixels, _hidden(place / (nodes - 1), visible, visible.roll(-step, 1))
        missing = -1 if step == 1 else 0
        flow[:, missing], hidden[:, missing] = 0.0, True
        results.append((flow, hidden))
    return results[0], results[1]


def _solve_nodes(table: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Where the point at every node is in the other table, and that table's inverse Jacobian close by.

    Returns:
        (B, T, L, 2, G, G) in nodes, and (B, T, L, 4, G, G), see ``_inverse_jacobian``.
    """
    nodes = table.shape[-1]
    node = torch.arange(nodes, device=table.device, dtype=table.dtype)
    corner = torch.stack([node.expand(nodes, nodes), node[:, None].expand(nodes, nodes)])
    place, point = corner.expand_as(table).flatten(0, 2), table.flatten(0, 2)
    flat, inverses = other.flatten(0, 2)[:, None], _inverse_jacobian(other).flatten(0, 2)[:, None]
    # A surface point's own Jacobian hardly changes, so the first step goes far in the right direction.
    inverse = _inverse_jacobian(table).flatten(0, 2)
    for step in range(_NEWTON_STEPS):
        if step:
            inverse = _read_layer(inverses, None, place.clamp(0, nodes - 1))
        place = _newton_step(place, point, inverse, flat, None)
    return place.view_as(table), inverse.view(*table.shape[:3], 4, nodes, nodes)


def _newton_step(place: Tensor, point: Tensor, inverse: Tensor, table: Tensor, layer: Tensor | None) -> Tensor:
    """Improve ``place`` (P, 2, H, W), where the table (P, L, 2, G, G) of the layer should read ``point``.

    A place beyond the picture is solved for from the nearest place inside, from where the table goes on linearly.
    """
    nodes = table.shape[-1]
    inside = place.clamp(0, nodes - 1)
    error_x, error_y = (point - _read_layer(table, layer, inside)).unbind(1)
    xx, xy, yx, yy = inverse.unbind(1)
    step = torch.stack([xx * error_x + xy * error_y, yx * error_x + yy * error_y], 1)
    # A surface seen almost edge on sends the step anywhere; two pictures away is far enough.
    return inside + step.clamp_(-2 * nodes, 2 * nodes)


def _read_layer(table: Tensor, layer: Tensor | None, place: Tensor, mode: str = "bilinear") -> Tensor:
    """Read tables (P, L, C, G, G) of the layer (P, H, W) at node coordinates (P, 2, H, W): (P, C, H, W).

    Without ``layer`` L is 1.
    """
    pairs, layers, channels, nodes, _ = table.shape
    sheet = table.transpose(1, 2).reshape(pairs, channels, layers * nodes, nodes)
    row = place[:, 1] if layer is None else torch.add(place[:, 1], layer, alpha=nodes)
    grid = torch.stack([place[:, 0] * (2 / (nodes - 1)) - 1, row * (2 / (layers * nodes - 1)) - 1], -1)
    return F.grid_sample(sheet, grid, mode=mode, padding_mode="border", align_corners=True)


def _inverse_jacobian(table: Tensor) -> Tensor:
    """Nodes per canonical unit (..., 4, G, G): dcolumn/dx, dcolumn/dy, drow/dx, drow/dy."""
    column, row = torch.gradient(table, dim=(-1, -2))
    (xx, yx), (xy, yy) = column.unbind(-3), row.unbind(-3)
    determinant = xx * yy - xy * yx
    inverse = torch.where(determinant.abs() < 1e-9, 0.0, 1 / determinant)
    return torch.stack([yy * inverse, -xy * inverse, -yx * inverse, xx * inverse], -3)


def _hidden(arrival: Tensor, visible: Tensor, other_visible: Tensor) -> Tensor:
    """Whether the nearest pixel to the arrival is outside, or shows another layer.

    Args:
        arrival: (B * T, 2, H, W), 0 at the first and 1 at the last pixel of the picture.
        visible, other_visible: (B, T, H, W).
    """
    shown = other_visible.flatten(0, 1)[:, None] + 1
    grid = (arrival * 2 - 1).movedim(1, -1)
    seen = F.grid_sample(shown, grid, mode="nearest", padding_mode="zeros", align_corners=True)
    return seen.view_as(visible) != visible + 1
