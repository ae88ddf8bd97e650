"""Cross-attention in which queries compete for keys, as in Slot Attention (section 3.3, "Transformer Module")."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotomem.motion.transformer import Attention, LayerNorm


class SlotAttention(Attention):
    """Each key is shared out among the queries; a query reads the mean of the keys, by what it got of each."""

    def compete(
        self,
        queries: Tensor,
        keys: Tensor,
        *,
        allowed: Tensor | None = None,
        competing: Tensor | None = None,
        kept_keys: Tensor | None = None,
    ) -> Tensor:
        """Return what ``queries`` (B, L, width) read from ``keys`` (B, M, width), of shape (B, L, width).

        Args:
            allowed: (L, M) or (B, L, M) the pairs that may meet; all, if None, and where none would be left.
            competing: (B, L) the queries that take part; the others get nothing. All, if None.
            kept_keys: (B, M) the keys that are read. All, if None.
        """
        query, key, value = self.project(queries, keys)
        # Half precision would overflow in sums over thousands of keys.
        scores = (query @ key.transpose(2, 3)).float() / math.sqrt(query.shape[3])
        blocked = _blocked(allowed, competing, scores)
        if blocked is not None:
            scores = scores.masked_fill(blocked, -torch.inf)
            # A key that no query may have goes to none.
            scores = scores.masked_fill(blocked.all(dim=2, keepdim=True), 0)
        shares = scores.softmax(dim=2)
        if blocked is not None:
            shares = shares.masked_fill(blocked, 0)
        if kept_keys is not None:
            shares = shares * kept_keys[:, None, None].to(shares.dtype)
        total = shares.sum(dim=3, keepdim=True)
        weights = shares / total.masked_fill(total == 0, 1)
        return self.merge(weights.to(value.dtype) @ value)


class SlotDecoderLayer(nn.Module):
    """Queries look at one another, compete for the target frames, pass an MLP, and do so again with the exemplars."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.multihead_attn = SlotAttention(width, heads)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.multihead_attn2 = SlotAttention(width, heads)
        self.linear2_1 = nn.Linear(width, feedforward)
        self.linear2_2 = nn.Linear(feedforward, width)
        self.norm1 = LayerNorm(width)
        self.norm2 = LayerNorm(width)
        self.norm3 = LayerNorm(width)
        self.norm4 = LayerNorm(width)
        self.norm5 = LayerNorm(width)

    def forward(
        self,
        queries: Tensor,
        targets: Tensor,
        exemplars: Tensor,
        *,
        query_frames: Tensor,
        target_frames: Tensor,
        exemplar_frames: Tensor,
        competing: Tensor | None = None,
        kept_exemplars: Tensor | None = None,
    ) -> Tensor:
        """Return the queries (B, L, width) after looking at targets (B, M, width) and exemplars (B, E, width).

        Args:
            query_frames: (L,) the target frame of each query; among keys it does not look at its own frame's.
            target_frames: (M,) the frame of each target key.
            exemplar_frames: (B, E) the frame of each exemplar key.
            competing: (B, L) the queries that take part.
            kept_exemplars: (B, E) the exemplar keys that are read.
        """
        queries = self.norm1(queries + self.self_attn(queries, queries))
        others = query_frames[:, None] != target_frames
        read = self.multihead_attn.compete(queries, targets, allowed=others, competing=competing)
        queries = self.norm2(queries + read)
        queries = self.norm3(queries + self.linear2(F.relu(self.linear1(queries))))
        read = self.multihead_attn2.compete(
            queries,
            exemplars,
            allowed=query_frames[:, None] != exemplar_frames[:, None],
            competing=competing,
            kept_keys=kept_exemplars,
        )
        queries = self.norm4(queries + read)
        passed: Tensor = self.norm5(queries + self.linear2_2(F.relu(self.linear2_1(queries))))
        return passed


def _blocked(allowed: Tensor | None, competing: Tensor | None, scores: Tensor) -> Tensor | None:
    """Return the pairs (B or 1, 1, L, M) that may not meet, or None if all may.

    In a clip of one frame there is nothing else to look at: where no pair would be left, all are.
    """
    if allowed is None and competing is None:
        return None
    blocked = torch.zeros((1, 1, *scores.shape[2:]), dtype=torch.bool, device=scores.device)
    if allowed is not None:
        pairs = allowed if allowed.ndim == 3 else allowed[None]
        blocked = blocked | (~pairs & pairs.any(dim=2).any(dim=1)[:, None, None])[:, None]
    if competing is not None:
        blocked = blocked | ~competing[:, None, :, None]
    return blocked
