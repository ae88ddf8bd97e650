"""Scoring memory against a query, and reading from what scored best.

One matrix product over augmented keys stands in for the expanded square, so that no (C, N, Q) tensor exists; readout
gathers the few elements that each query keeps instead of multiplying by an affinity that is nearly all zeros.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augment_memory_key(key: Tensor, shrinkage: Tensor) -> Tensor:
    """Return (..., N, 2C+1): the memory's side of :func:`similarity_of`, with scale and sign folded in.

    Args:
        key: (..., N, C).
        shrinkage: (..., N, 1), >= 1.
    """
    scale = shrinkage / math.sqrt(key.shape[-1])
    return torch.cat([-scale * key.square(), 2 * scale * key, -scale], dim=-1)


def augment_query(key: Tensor, selection: Tensor) -> Tensor:
    """Return (..., Q, 2C+1): the query's side of :func:`similarity_of`.

    Args:
        key: (..., Q, C).
        selection: (..., Q, C), in [0, 1].
    """
    weighted = selection * key
    return torch.cat([selection, weighted, (weighted * key).sum(dim=-1, keepdim=True)], dim=-1)


def similarity_of(query: Tensor, memory: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Return (..., Q, N) in float32 from augmented query (..., Q, 2C+1) and memory (..., N, 2C+1).

    Never in half precision: differences of large, nearly equal terms would lose what tells neighbours apart.
    """
    with torch.autocast(query.device.type, enabled=False):
        return torch.matmul(query, memory.transpose(-1, -2), out=out)


def anisotropic_similarity(memory_key: Tensor, shrinkage: Tensor, query_key: Tensor, selection: Tensor) -> Tensor:
    r"""Score every memory element n against every query pixel q.

    .. math:: S_{nq} = -\frac{s_n}{\sqrt{C}} \sum_c e_{cq}(k_{cn} - q_{cq})^2

    Source: XMem (Cheng & Schwing, ECCV 2022), anisotropic L2 similarity. Expanded, so that no (C, N, Q)
    tensor is ever allocated.

    Args:
        memory_key: (B, C, N), N = memorised frames x h x w at stride 16.
        shrinkage: (B, 1, N), >= 1.
        query_key: (B, C, Q).
        selection: (B, C, Q), in [0, 1].

    Returns:
        (B, N, Q), <= 0 up to rounding; 0 is a perfect match.
    """
    memory = augment_memory_key(memory_key.transpose(1, 2), shrinkage.transpose(1, 2))
    query = augment_query(query_key.transpose(1, 2), selection.transpose(1, 2))
    return similarity_of(query, memory).transpose(1, 2)


def top_k_softmax(similarity: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Keep each query's ``top_k`` best elements, or all when there are fewer.

    Shifted by the maximum: without it every weight underflows, and the quotient is NaN, once a query's best
    similarity lies below -103.

    Args:
        similarity: (..., Q, N), at least one element; -inf marks one that may not be read.

    Returns:
        Indices (..., Q, k), int64, and weights (..., Q, k) that sum to one; zeros for a query that may read nothing.
    """
    scores, indices = similarity.topk(min(top_k, similarity.shape[-1]), dim=-1, sorted=False)
    best = scores.amax(dim=-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).min)
    weights = torch.exp(scores - best)
    return indices, weights / weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def gather_readout(values: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Return (Q, C), the weighted sums of rows of ``values``.

    Args:
        values: (N, C), contiguous.
        indices: (Q, k) rows of ``values``.
        weights: (Q, k).
    """
    return F.embedding_bag(indices, values, mode="sum", per_sample_weights=weights.to(values.dtype))


def read_memory(similarity: Tensor, values: Tensor, *, top_k: int | None = None) -> Tensor:
    """Read densely: for small memories, in training and in consolidation.

    Args:
        similarity: (..., Q, N).
        values: (..., N, C).
        top_k: elements that each query reads from; all if None.

    Returns:
        (..., Q, C).
    """
    if top_k is None:
        affinity = similarity.softmax(dim=-1)
    else:
        indices, weights = top_k_softmax(similarity, top_k)
        affinity = torch.zeros_like(similarity).scatter(-1, indices, weights)
    return affinity.to(values.dtype) @ values
