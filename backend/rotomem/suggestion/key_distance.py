"""How unlike two frames are, seen through the network's keys.

Source: XMem++ (Bekuzarov et al., ICCV 2023), section on frame suggestion, as ``specs/xmem.md`` section 4 states it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.vos.similarity import augment_memory_key, augment_query, similarity_of

CHUNK_ELEMENTS = 1 << 22
"""Similarities held at once: 16 MB in float32, whatever the plate's size."""


@dataclass(frozen=True)
class FrameRows:
    """One frame's side of every distance it takes part in.

    Args:
        as_memory: (HW, 2C+1), see :func:`rotomem.vos.similarity.augment_memory_key`.
        as_query: (HW, 2C+1), see :func:`rotomem.vos.similarity.augment_query`.
    """

    as_memory: Tensor
    as_query: Tensor


def composite_key(key: Tensor, mask: Tensor, alpha: float) -> Tensor:
    """Return alpha * key * mask + (1 - alpha) * key, float32.

    Args:
        key: (C, h, w).
        mask: (H, W) in [0, 1], the frame without padding; each cell of the key's grid takes its top-left pixel.
        alpha: in [0, 1]; 0 looks at the whole frame, 1 at the object alone.
    """
    key = key.float()
    cells = F.interpolate(mask.float()[None, None], size=key.shape[-2:], mode="nearest")[0]
    return alpha * (key * cells) + (1 - alpha) * key


def frame_rows(key: Tensor, shrinkage: Tensor, selection: Tensor) -> FrameRows:
    """Arrange one frame's composite key (C, h, w), shrinkage (1, h, w) and selection (C, h, w) for products."""
    rows, shrinkages, selections = (x.float().flatten(1).T for x in (key, shrinkage, selection))
    return FrameRows(augment_memory_key(rows, shrinkages), augment_query(rows, selections))


def key_distance(a: FrameRows, f: FrameRows) -> float:
    r"""Return how much better ``a`` explains ``f`` than ``f`` explains ``a``, place by place.

    .. math:: D(a, f) = \frac{1}{(HW)^2} \sum_{ij} \max(0, S(a, f)_{ij} - S(f, a)_{ij})

    S(x, y) scores memory element i of x against query pixel j of y. Both matrices are products of augmented rows,
    so their difference is a single one of twice the depth. Not symmetric. Made in chunks of ``CHUNK_ELEMENTS``.
    """
    memory = torch.cat([a.as_memory, -f.as_memory], dim=1)
    query = torch.cat([f.as_query, a.as_query], dim=1)
    total = 0.0
    for rows in torch.split(memory, max(1, CHUNK_ELEMENTS // len(query)), dim=0):
        total += float(similarity_of(rows, query).clamp_(min=0).sum(dtype=torch.float64))
    return total / (len(memory) * len(query))
