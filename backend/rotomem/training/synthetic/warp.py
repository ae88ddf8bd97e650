"""Non-rigid deformation, and the tables by which every layer is placed.

A table holds, on a coarse grid of screen nodes, the canonical coordinates seen there. Between nodes it is read
bilinearly; the picture, the mattes and the optical flow all read the same table, so they agree exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from rotomem.training.synthetic.cast import SLOTS, Slot
from rotomem.training.synthetic.draws import Draws, Floats

TABLE_NODES = 17
CONTROL_SIDE = 4
_CONTROL_REACH = 1.1
_FOLD_LIMIT = 1.5


@dataclass(frozen=True)
class Deformation:
    """Displacement of canonical coordinates over time, per layer.

    Attributes:
        sway: (N, 2, 2 * CONTROL_SIDE ** 2), displacement of the thin plate's control points: two modes.
        wave: (N, 2, 2), amplitude (x, y) of two travelling elastic waves.
        wave_vector: (N, 2, 2), radians per canonical unit.
        bend: (N,), curvature of the canonical x axis.
        rate: (N, 5), radians per frame of the two modes, two waves and the bend.
        phase: (N, 5).
    """

    sway: Floats
    wave: Floats
    wave_vector: Floats
    bend: Floats
    rate: Floats
    phase: Floats


def sample_deformation(draws: Draws, stride: Floats, difficulty: float) -> Deformation:
    """Parameters of every slot (B, S, ...). Small enough that no surface folds over itself."""
    amount = draws.log_uniform("warp.amount", 0.1, 1.0, (SLOTS,)) * (0.3 + 0.7 * difficulty)
    amount *= draws.chance("warp.soft", 0.8, (SLOTS,))
    amount[:, Slot.BACKGROUND] *= np.where(draws.chance("warp.background", 0.2), 0.15, 0.0)
    amount[:, Slot.MIDGROUND] *= 0.25
    controls = 2 * CONTROL_SIDE**2
    vector = draws.uniform("warp.vector", 1.5, 5.0, (SLOTS, 2, 2)) * draws.signs("warp.vector-sign", (SLOTS, 2, 2))
    return Deformation(
        sway=draws.uniform("warp.sway", -0.13, 0.13, (SLOTS, 2, controls)) * amount[..., None, None],
        wave=draws.uniform("warp.wave", -0.045, 0.045, (SLOTS, 2, 2)) * amount[..., None, None],
        wave_vector=vector,
        bend=draws.uniform("warp.bend", -0.3, 0.3, (SLOTS,)) * amount,
        rate=draws.log_uniform("warp.rate", 0.03, 0.3, (SLOTS, 5)) * stride[:, None, None],
        phase=draws.uniform("warp.phase", 0, 2 * np.pi, (SLOTS, 5)),
    )


def build_tables(to_canonical: Tensor, deformation: Deformation, clock: Tensor, *, height: int, width: int) -> Tensor:
    """Canonical coordinates at the nodes of a grid over the picture.

    Args:
        to_canonical: (N, M, 3, 3), screen to undeformed canonical coordinates at M moments.
        deformation: of the same N layers.
        clock: (N, M), the moments in frames.
        height, width: of the picture in pixels.

    Returns:
        (N, M, 2, TABLE_NODES, TABLE_NODES), x and y; the outer nodes lie on the centres of the
        picture's outer pixels.
    """
    device = to_canonical.device
    side = torch.linspace(-1.0, 1.0, TABLE_NODES, device=device)
    y, x = torch.meshgrid(side * (height - 1) / height, side * (width - 1) / height, indexing="ij")
    nodes = torch.stack([x.reshape(-1), y.reshape(-1), torch.ones(TABLE_NODES**2, device=device)])
    seen = to_canonical @ nodes
    # A plane seen from behind would wrap around; far in front of the camera is as far as it goes.
    undeformed = seen[:, :, :2] / seen[:, :, 2:].clamp(min=0.05)
    table = undeformed + _displacement(undeformed.clamp(-_FOLD_LIMIT, _FOLD_LIMIT), deformation, clock)
    return table.reshape(*table.shape[:3], TABLE_NODES, TABLE_NODES)


def _displacement(points: Tensor, deformation: Deformation, clock: Tensor) -> Tensor:
    """Displacement (N, M, 2, P) at canonical ``points`` (N, M, 2, P)."""

    def move(values: Floats) -> Tensor:
        return torch.as_tensor(values, dtype=points.dtype, device=points.device)

    swing = torch.sin(move(deformation.rate)[:, None] * clock[..., None] + move(deformation.phase)[:, None])
    bases, solve = _thin_plate(str(points.device))
    sway = swing[..., :2] @ move(deformation.sway)
    weights = sway.reshape(*sway.shape[:2], 2, -1) @ solve.T
    distance = (points[:, :, 0, None] - bases[:, 0, None]) ** 2 + (points[:, :, 1, None] - bases[:, 1, None]) ** 2
    kernel = distance * torch.log(distance + 1e-9)
    count = len(bases)
    affine = torch.cat([torch.ones_like(points[:, :, :1]), points], 2)
    shift = weights[..., :count] @ kernel + weights[..., count:] @ affine
    travel = torch.einsum("nwc,nmcp->nmwp", move(deformation.wave_vector), points)
    phase = move(deformation.rate)[:, None, 2:4] * clock[..., None] + move(deformation.phase)[:, None, 2:4]
    shift = shift + torch.einsum("nwc,nmwp->nmcp", move(deformation.wave), torch.sin(travel + phase[..., None]))
    arch = move(deformation.bend)[:, None] * swing[..., 4]
    bent = arch[..., None] * (points[:, :, 0] ** 2 - 0.3)
    return shift + torch.stack([torch.zeros_like(bent), bent], 2)


@cache
def _thin_plate(device: str) -> tuple[Tensor, Tensor]:
    r"""Control points (P, 2) and the matrix (P + 3, P) from their displacements to spline weights.

    Source: Bookstein, "Principal Warps" (1989): kernel r^2 log r^2 and an affine part, weights orthogonal to it.
    """
    side = np.linspace(-_CONTROL_REACH, _CONTROL_REACH, CONTROL_SIDE)
    controls = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    squared = ((controls[:, None] - controls[None]) ** 2).sum(-1)
    kernel = squared * np.log(squared + 1e-9)
    affine = np.concatenate([np.ones((len(controls), 1)), controls], 1)
    system = np.block([[kernel, affine], [affine.T, np.zeros((3, 3))]])
    solve = np.linalg.inv(system)[:, : len(controls)]
    return (
        torch.as_tensor(controls, dtype=torch.float32, device=device),
        torch.as_tensor(solve, dtype=torch.float32, device=device),
    )
