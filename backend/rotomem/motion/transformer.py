"""Transformer layers of the motion networks: frames look at other frames, never at themselves.

Attention is worked out for a block of queries at a time, so memory grows with a clip's length, not with its square.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotomem.motion.frames import grid_positions

SCORES_AT_ONCE = 1 << 23
"""Query-key pairs of one head in a block of attention."""


class LayerNorm(nn.Module):
    """Normalisation of the last axis by the unbiased standard deviation, ε added to that and not to the variance.

    Published weights were trained so; ``nn.LayerNorm`` gives other numbers.
    """

    def __init__(self, width: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon

    def forward(self, tokens: Tensor) -> Tensor:
        centred = tokens - tokens.mean(dim=-1, keepdim=True)
        deviation = tokens.std(dim=-1, keepdim=True)
        return self.weight * centred / (deviation + self.epsilon) + self.bias


class Projection(nn.Module):
    """A linear layer from coordinates (..., n) in [-1, 1] to what is added to tokens (..., width)."""

    def __init__(self, in_features: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_features, width)

    def forward(self, positions: Tensor) -> Tensor:
        projected: Tensor = self.proj(positions)
        return projected


class Mlp(nn.Module):
    """Linear layers with ReLU between, and after the last one where ``closed``."""

    def __init__(self, *widths: int, closed: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.mlp = nn.Sequential(*(layers if closed else layers[:-1]))

    def forward(self, tokens: Tensor) -> Tensor:
        passed: Tensor = self.mlp(tokens)
        return passed


class Attention(nn.Module):
    """Multi-head attention. Its tensors have the names that ``nn.MultiheadAttention`` gives them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query (N, heads, L, d), key and value (N, heads, M, d) of tokens (N, L, width), (N, M, width)."""
        width = self.out_proj.in_features
        query = F.linear(queries, self.in_proj_weight[:width], self.in_proj_bias[:width])
        both = F.linear(keys, self.in_proj_weight[width:], self.in_proj_bias[width:])
        key, value = torch.split(both, width, dim=2)
        return self._by_head(query), self._by_head(key), self._by_head(value)

    def merge(self, attended: Tensor) -> Tensor:
        """Return the output (N, L, width) for what each head read, (N, heads, L, d)."""
        merged: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return merged

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        *,
        query_frames: Tensor | None = None,
        key_frames: Tensor | None = None,
        scores_at_once: int = SCORES_AT_ONCE,
    ) -> Tensor:
        """Return what ``queries`` (N, L, width) read from ``keys`` (N, M, width), of shape (N, L, width).

        Args:
            query_frames: (L,) the frame that each query is of; with ``key_frames`` (M,), which must hold another frame
                for each, pairs of one frame are left out.
            scores_at_once: query-key pairs per block and head. It decides memory, never the result.
        """
        query, key, value = self.project(queries, keys)
        if query_frames is None or key_frames is None:
            return self.merge(F.scaled_dot_product_attention(query, key, value))
        rows = max(1, scores_at_once // key.shape[2])
        attended = [
            F.scaled_dot_product_attention(block, key, value, attn_mask=frames[:, None] != key_frames)
            for block, frames in zip(torch.split(query, rows, dim=2), torch.split(query_frames, rows), strict=True)
        ]
        return self.merge(torch.cat(attended, dim=2))

    def _by_head(self, tokens: Tensor) -> Tensor:
        return torch.unflatten(tokens, 2, (self.heads, -1)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Tokens look at the tokens of other frames, then pass an MLP; sums are normalised after (post-norm)."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = LayerNorm(width)
        self.norm2 = LayerNorm(width)

    def forward(self, tokens: Tensor, frames: Tensor | None, scores_at_once: int) -> Tensor:
        looked = self.self_attn(tokens, tokens, query_frames=frames, key_frames=frames, scores_at_once=scores_at_once)
        tokens = self.norm1(tokens + looked)
        passed: Tensor = self.norm2(tokens + self.linear2(F.relu(self.linear1(tokens))))
        return passed


class TransformerEncoder(nn.Module):
    """Encoder layers one after another: tokens (N, L, width), of frames (L,), or of a single one (None)."""

    def __init__(self, width: int, heads: int, feedforward: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, feedforward) for _ in range(layers))

    def forward(self, tokens: Tensor, frames: Tensor | None, scores_at_once: int) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens, frames, scores_at_once)
        return tokens


class ClipEncoder(nn.Module):
    """Adds time and place to a clip's features, and lets frames look at one another.

    Args:
        width: channels of a token.
        heads: of the attention.
        feedforward: channels inside the MLPs.
        layers: encoder layers.
    """

    def __init__(self, width: int, heads: int, feedforward: int, layers: int) -> None:
        super().__init__()
        self.encoder_positime = Projection(3, width)
        self.transformer_encoder = TransformerEncoder(width, heads, feedforward, layers)

    def forward(self, features: Tensor, *, scores_at_once: int = SCORES_AT_ONCE) -> Tensor:
        """Return features (N, T, h, w, width) of the same shape; each of the N clips is read on its own."""
        count, height, width = features.shape[1:4]
        tokens = features + self.encoder_positime(grid_positions(count, height, width, like=features))
        # In a clip of one frame there is nothing else to look at.
        several = count > 1
        frames = torch.arange(count, device=features.device).repeat_interleave(height * width) if several else None
        clips = [self.transformer_encoder(clip[None], frames, scores_at_once) for clip in tokens.flatten(1, 3).unbind()]
        encoded: Tensor = torch.unflatten(torch.cat(clips), 1, (count, height, width))
        return encoded


def head_products(queries: Tensor, keys: Tensor, heads: int) -> Tensor:
    """Return each head's plain dot products (N, Q, M, heads) of queries (N, Q, width) and keys (N, M, width)."""
    by_head = [torch.unflatten(tokens, 2, (heads, -1)) for tokens in (queries, keys)]
    return torch.einsum("nqhd,nmhd->nqmh", *by_head)
