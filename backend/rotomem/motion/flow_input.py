"""Optical flow as the flow segmenter takes it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.errors import SettingError

CAMERA_ROUNDS = 6
CAMERA_CELLS = 24
"""The camera's motion is fitted to flow averaged over a grid of about this many cells along the longer side."""


def stack_flow(forward: Tensor, backward: Tensor, size: tuple[int, int], *, against_camera: bool = False) -> Tensor:
    """Return flow (T, 4, H, W) as :class:`rotomem.motion.FlowSegmenter` takes it, in pixels of the new size.

    The flow that the last frame lacks forward, and the first one backward, is its other one turned round, as in OCLR's
    code (section 0.A.3 of the paper: one gap in both directions).

    Args:
        forward: (T, 2, h, w) pixels, x right and y down, to the frame a gap later; the last frame's is not read.
        backward: (T, 2, h, w) to the frame a gap earlier; the first frame's is not read.
        size: H and W.
        against_camera: take away each frame's :func:`camera_flow`. OCLR itself was trained on flow as it is.

    Raises:
        SettingError: shapes that do not belong together.
    """
    if forward.ndim != 4 or forward.shape[1] != 2 or forward.shape != backward.shape or not len(forward):
        raise SettingError(
            f"flow of shapes {tuple(forward.shape)} and {tuple(backward.shape)} is not (frames, 2, height, width) twice"
        )
    both = torch.stack([forward, backward], dim=1).float()
    if len(both) == 1:
        both = torch.zeros_like(both)
    else:
        both[-1, 0], both[0, 1] = -both[-1, 1], -both[0, 0]
    scale = both.new_tensor([size[1] / forward.shape[3], size[0] / forward.shape[2]])[:, None, None]
    small = F.interpolate(both.flatten(0, 1), size=size, mode="bilinear", antialias=True) * scale
    if against_camera:
        small = small - camera_flow(small)
    return torch.unflatten(small, 0, (len(both), 2)).flatten(1, 2)


def camera_flow(flow: Tensor) -> Tensor:
    """Return the quadratic flow (N, 2, H, W) that most of the picture follows, of a camera before a plane.

    Eight parameters, fitted by iteratively reweighted least squares (Geman-McClure). Source: Bergen et al.,
    "Hierarchical Model-Based Motion Estimation", ECCV 1992, the planar surface flow.
    """
    height, width = flow.shape[-2:]
    step = max(1, max(height, width) // CAMERA_CELLS)
    coarse = F.avg_pool2d(flow, step, stride=step, ceil_mode=True, count_include_pad=False).double()
    basis = _planar_basis(*coarse.shape[-2:], like=coarse)
    values = coarse.permute(0, 2, 3, 1).flatten(1)
    weights = torch.ones_like(values)
    parameters = values.new_zeros(len(flow), basis.shape[1])
    for _ in range(CAMERA_ROUNDS):
        weighted = basis * weights[..., None]
        normal = basis.T @ weighted + 1e-6 * torch.eye(basis.shape[1], dtype=basis.dtype, device=basis.device)
        parameters = torch.linalg.solve(normal, (weighted.transpose(1, 2) @ values[..., None])[..., 0])
        left = torch.unflatten(values - parameters @ basis.T, 1, (-1, 2)).norm(dim=2)
        spread = left.median(dim=1, keepdim=True).values.clamp_min(0.05)
        weights = (1 / (1 + (left / (2 * spread)).square()).square()).repeat_interleave(2, dim=1)
    full = _planar_basis(height, width, like=coarse) @ parameters.T
    return torch.unflatten(full.T, 1, (height, width, 2)).permute(0, 3, 1, 2).to(flow.dtype)


def _planar_basis(rows: int, columns: int, *, like: Tensor) -> Tensor:
    """Return (rows * columns * 2, 8): what each parameter adds to u and v of each cell."""
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, rows, dtype=like.dtype, device=like.device),
        torch.linspace(-1, 1, columns, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    one, none = torch.ones_like(x), torch.zeros_like(x)
    along_u = torch.stack([one, x, y, none, none, none, x * x, x * y], dim=-1)
    along_v = torch.stack([none, none, none, one, x, y, x * y, y * y], dim=-1)
    return torch.stack([along_u, along_v], dim=2).flatten(0, 2)
