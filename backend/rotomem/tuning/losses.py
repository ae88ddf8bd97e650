"""What training minimises: mask loss on the hardest pixels, Dice, and correspondence of keys."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.tuning.clip_batch import KEY_STRIDE
from rotomem.vos import FrameFeatures
from rotomem.vos.similarity import anisotropic_similarity


def hardest_bce(logits: Tensor, truth: Tensor, counted: Tensor, *, share: float) -> Tensor:
    """Binary cross-entropy over the ``share`` of pixels on which it is largest.

    Args:
        logits, truth: (B, K, H, W); truth in [0, 1].
        counted: (B, K), 0 for objects that the network cannot know.
        share: of each object's pixels, in (0, 1].
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
    # The entropy of a soft truth cannot be lowered; without this the softest edges would always count as hardest.
    loss = loss - F.binary_cross_entropy(truth, truth, reduction="none").clamp(0, 1)
    loss = loss.flatten(2)
    if share < 1:
        loss = loss.topk(max(1, int(share * loss.shape[2])), dim=2, sorted=False).values
    return _mean_counted(loss.mean(2), counted)


def dice_loss(logits: Tensor, truth: Tensor, counted: Tensor) -> Tensor:
    """One minus the Dice coefficient, smoothed by 0.2 % of the picture so that absent objects are no cliff."""
    probability = logits.float().sigmoid()
    smooth = 0.002 * truth.shape[-2] * truth.shape[-1]
    both = (probability * truth).sum((-2, -1))
    total = probability.square().sum((-2, -1)) + truth.square().sum((-2, -1))
    return _mean_counted(1 - (2 * both + smooth) / (total + smooth), counted)


def correspondence_loss(memory: FrameFeatures, query: FrameFeatures, places: Tensor) -> Tensor:
    """InfoNCE: among a memory frame's cells, a query cell's best match is where its surface really is.

    The scores are those that memory is read by, so that this trains reading itself. The target is spread
    bilinearly over the four cells around the true place.

    Args:
        places: (B, 3, h, w), x and y in the memory frame in pixels, and 1 where the surface is seen there.
    """
    rows, columns = query.key.shape[-2:]
    scores = anisotropic_similarity(
        memory.key.flatten(2), memory.shrinkage.flatten(2), query.key.flatten(2), query.selection.flatten(2)
    )
    log_share = F.log_softmax(scores, dim=1)
    x = (places[:, 0] + 0.5) / KEY_STRIDE - 0.5
    y = (places[:, 1] + 0.5) / KEY_STRIDE - 0.5
    inside = (x > -0.5) & (x < columns - 0.5) & (y > -0.5) & (y < rows - 0.5)
    seen = (places[:, 2] * inside).flatten(1)
    x, y = x.clamp(0, columns - 1), y.clamp(0, rows - 1)
    left, top = x.floor(), y.floor()
    loss = torch.zeros_like(seen)
    for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            cell = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)
            picked = log_share.gather(1, cell.long().flatten(1)[:, None])[:, 0]
            loss = loss - (across * down).flatten(1) * picked
    return (loss * seen).sum() / seen.sum().clamp_min(1)


def _mean_counted(loss: Tensor, counted: Tensor) -> Tensor:
    return (loss * counted).sum() / counted.sum().clamp_min(1)
