from __future__ import annotations

import math

import pytest
import torch

from rotomem.vos.similarity import (
    anisotropic_similarity,
    augment_memory_key,
    augment_query,
    gather_readout,
    read_memory,
    similarity_of,
    top_k_softmax,
)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_equals_the_formula_written_out(generator: torch.Generator) -> None:
    key = torch.randn(2, 8, 15, generator=generator, dtype=torch.float64)
    query = torch.randn(2, 8, 6, generator=generator, dtype=torch.float64)
    shrinkage = 1 + torch.rand(2, 1, 15, generator=generator, dtype=torch.float64)
    selection = torch.rand(2, 8, 6, generator=generator, dtype=torch.float64)

    squares = (key[:, :, :, None] - query[:, :, None, :]).square() * selection[:, :, None, :]
    expected = -shrinkage.transpose(1, 2) * squares.sum(dim=1) / math.sqrt(8)

    actual = anisotropic_similarity(key, shrinkage, query, selection)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def test_hand_calculation() -> None:
    # C = 1: S = -2 / sqrt(1) * 0.5 * (3 - 1)^2 = -4
    one = torch.ones(1, 1, 1)
    assert anisotropic_similarity(3 * one, 2 * one, one, 0.5 * one).item() == pytest.approx(-4)


def test_a_key_matches_itself_perfectly(generator: torch.Generator) -> None:
    key = torch.randn(1, 8, 5, generator=generator)
    similarity = anisotropic_similarity(key, torch.ones(1, 1, 5), key, torch.ones(1, 8, 5))
    torch.testing.assert_close(similarity.diagonal(dim1=1, dim2=2), torch.zeros(1, 5), rtol=0, atol=1e-5)


def test_float32_survives_a_half_precision_region(generator: torch.Generator) -> None:
    memory = augment_memory_key(10 + torch.randn(50, 8, generator=generator), torch.ones(50, 1))
    query = augment_query(10 + torch.randn(4, 8, generator=generator), torch.ones(4, 8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = similarity_of(query, memory)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, similarity_of(query, memory), rtol=0, atol=0)


def test_fewer_elements_than_top_k_are_all_read() -> None:
    similarity = torch.tensor([[0.0, math.log(3)]])
    indices, weights = top_k_softmax(similarity, 30)
    dense = torch.zeros(1, 2).scatter(1, indices, weights)
    torch.testing.assert_close(dense, torch.tensor([[0.25, 0.75]]))


def test_top_k_ignores_the_rest() -> None:
    indices, weights = top_k_softmax(torch.tensor([[1.0, 5.0, 5.0, 0.0]]), 2)
    assert sorted(indices[0].tolist()) == [1, 2]
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.5]]))


def test_similarities_below_minus_103_do_not_give_nan() -> None:
    # exp(-110) is 0 in float32, and 0 / 0 is the published NaN.
    _, weights = top_k_softmax(torch.tensor([[-110.0, -110.0, -500.0]]), 30)
    torch.testing.assert_close(weights.sort().values, torch.tensor([[0.0, 0.5, 0.5]]))


def test_a_query_that_may_read_nothing_reads_zeros() -> None:
    indices, weights = top_k_softmax(torch.full((1, 4), -torch.inf), 2)
    assert weights.tolist() == [[0.0, 0.0]]
    assert gather_readout(torch.ones(4, 3), indices, weights).tolist() == [[0.0, 0.0, 0.0]]


def test_gathering_equals_the_dense_product(generator: torch.Generator) -> None:
    similarity = torch.randn(7, 40, generator=generator)
    values = torch.randn(40, 6, generator=generator)
    gathered = gather_readout(values, *top_k_softmax(similarity, 5))
    torch.testing.assert_close(gathered, read_memory(similarity, values, top_k=5))
    assert not torch.allclose(gathered, read_memory(similarity, values))
