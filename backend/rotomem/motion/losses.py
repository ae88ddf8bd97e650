"""What the motion networks learn from (section 3 and appendix 0.A of the paper; OCLR for the flow segmenter).

The paper gives no weights; those of OCLR's code are taken for masks, and 1 for the rest.
"""

from __future__ import annotations

from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.motion.corrector import Reconstruction
from rotomem.motion.selector import CORRECT, ERROR_CHANNELS, FALSE_NEGATIVE, FALSE_POSITIVE

BOUNDARY_PX = 3
BOUNDARY_WEIGHT = 0.2
MODAL_WEIGHT = 0.1
ORDER_WEIGHT = 0.05
TINY = 1e-4


def boundary_band(truth: Tensor, radius_px: int = BOUNDARY_PX) -> Tensor:
    """Return (..., H, W), 1 within ``radius_px`` of the edge of masks (..., H, W), else 0."""
    flat = (truth > 0.5).to(truth.dtype).flatten(0, -3)[:, None]
    side = 2 * radius_px + 1
    swollen = F.max_pool2d(flat, side, stride=1, padding=radius_px)
    shrunk = -F.max_pool2d(-flat, side, stride=1, padding=radius_px)
    return (swollen - shrunk)[:, 0].reshape(truth.shape)


def mask_losses(logits: Tensor, truth: Tensor, *, boundary: bool = True) -> Tensor:
    """Return cross-entropy plus 0.2 of that in the boundary band (equation 6), per mask: (...) of (..., H, W).

    Args:
        truth: in [0, 1].
        boundary: False leaves the second term out, as adaptation does.
    """
    entropy = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
    loss = entropy.mean(dim=(-2, -1))
    if not boundary:
        return loss
    band = boundary_band(truth)
    return loss + BOUNDARY_WEIGHT * (entropy * band).sum(dim=(-2, -1)) / band.sum(dim=(-2, -1)).clamp_min(1)


@torch.no_grad()
def match_objects(logits: Tensor, truth: Tensor) -> Tensor:
    """Return which object of the truth each query is to draw: (B, K), the assignment of least cross-entropy.

    Every permutation is tried; there are 6 of 3 objects.

    Args:
        logits, truth: (B, T, K, H, W).
    """
    count = logits.shape[2]
    size = logits.shape[1] * logits.shape[3] * logits.shape[4]
    ours = logits.float().transpose(1, 2).flatten(2)
    theirs = truth.transpose(1, 2).flatten(2)
    # Cross-entropy is softplus(x) - x y: the first part depends on the query alone.
    cost = (F.softplus(ours).sum(dim=2)[:, :, None] - ours @ theirs.transpose(1, 2)) / size
    cost = torch.nan_to_num(cost)
    orders = torch.tensor(list(permutations(range(count))), device=logits.device)
    totals = cost[:, torch.arange(count, device=logits.device), orders].sum(dim=2)
    return orders[totals.argmin(dim=1)]


def reorder(tensor: Tensor, order: Tensor) -> Tensor:
    """Return (B, T, K, ...) with the objects taken in the order (B, K)."""
    index = order[:, None].reshape(len(order), 1, -1, *([1] * (tensor.ndim - 3)))
    return tensor.gather(2, index.expand(-1, tensor.shape[1], -1, *tensor.shape[3:]))


def order_loss(order: Tensor, depth: Tensor, present: Tensor) -> Tensor:
    """Return how wrongly pairs of objects are put one behind the other; larger figures are further back.

    Args:
        order: (B, K) figures.
        depth: (B, K) true ranks, 0 nearest.
        present: (B, K) bool; only pairs of objects that are there count.
    """
    ahead = order[:, :, None] - order[:, None]
    counted = present[:, :, None] & present[:, None] & (depth[:, :, None] > depth[:, None])
    return (F.softplus(-ahead.float()) * counted).sum() / counted.sum().clamp_min(1)


def modal_from_amodal(amodal: Tensor, order: Tensor) -> Tensor:
    """Return what is seen (B, T, K, H, W) of whole shapes in [0, 1]: each times what those before it leave.

    Args:
        order: (B, K); larger is further back.
    """
    ranks = order.argsort(dim=1).argsort(dim=1)
    before = (ranks[:, None] < ranks[:, :, None]).to(amodal.dtype)
    # An object's row tells which others hide it; in logarithms the product over them is one matrix product.
    left = (1 - amodal).clamp_min(TINY).log()
    hidden = torch.einsum("bkj,btjhw->btkhw", before, left)
    return amodal * hidden.exp()


def flow_loss(
    amodal_logits: Tensor, order: Tensor, amodal: Tensor, modal: Tensor, depth: Tensor, present: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return OCLR's loss, its mask part and its order part, with queries matched to objects.

    Args:
        amodal_logits: (B, T, K, H, W); order: (B, T, K), one figure per object, repeated.
        amodal, modal: (B, T, K, H, W) in [0, 1].
        depth: (B, K) ranks, 0 nearest; present: (B, K) bool.
    """
    chosen = match_objects(amodal_logits, amodal)
    truth, seen = reorder(amodal, chosen), reorder(modal, chosen)
    masks = mask_losses(amodal_logits, truth).mean()
    ranks, there = depth.gather(1, chosen), present.gather(1, chosen)
    ordering = order_loss(order[:, 0], ranks, there)
    shown = modal_from_amodal(amodal_logits.float().sigmoid(), ranks)
    modal_term = F.binary_cross_entropy(shown.clamp(TINY, 1 - TINY), seen)
    return masks + MODAL_WEIGHT * modal_term + ORDER_WEIGHT * ordering, masks, ordering


def true_error_map(masks: Tensor, truth: Tensor) -> Tensor:
    """Return the error map (..., 3, H, W) in {0, 1} (equation 4) of masks (..., H, W) against the truth."""
    ours, theirs = masks > 0.5, truth > 0.5
    channels = [masks] * ERROR_CHANNELS
    channels[FALSE_POSITIVE], channels[FALSE_NEGATIVE] = ours & ~theirs, theirs & ~ours
    channels[CORRECT] = ours == theirs
    return torch.stack(channels, dim=-3).to(masks.dtype)


def error_map_loss(logits: Tensor, error_map: Tensor) -> Tensor:
    """Return the mean cross-entropy over the three channels (equation 5), each in its own right.

    Args:
        logits: (..., 3, H, W), before the softmax over the channels; error_map: likewise, in {0, 1}.
    """
    probability = logits.float().softmax(dim=-3).clamp(TINY, 1 - TINY)
    return F.binary_cross_entropy(probability, error_map)


def reconstruction_loss(rebuilt: Reconstruction, features: Tensor, truth: Tensor) -> Tensor:
    """Return equation 7: features' mean squared error, and cross-entropy of the objects' alphas.

    Args:
        features: (B, T, h, w, C) to rebuild.
        truth: (B, T, K, H, W) masks in [0, 1] of the objects, whose queries come first.
    """
    whole = (rebuilt.features * rebuilt.alpha).sum(dim=1)
    alpha = rebuilt.alpha[:, : truth.shape[2], ..., 0].transpose(1, 2).float()
    small = F.interpolate(truth.flatten(0, 1), size=features.shape[2:4], mode="area")
    small = torch.unflatten(small, 0, tuple(truth.shape[:2]))
    squared = F.mse_loss(whole.float(), features.float())
    return squared + F.binary_cross_entropy(alpha.clamp(TINY, 1 - TINY), small)
