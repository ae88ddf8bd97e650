from __future__ import annotations

import pytest
import torch

from rotomem.vos.aggregate import aggregate, aggregate_log_odds


def test_one_object_by_hand() -> None:
    # p1 = 0.8, p0 = 0.2: odds 4 and 1/4, so 4 / 4.25
    probability = aggregate(torch.full((1, 1, 1, 1), 0.8))
    assert probability.flatten().tolist() == pytest.approx([0.25 / 4.25, 4 / 4.25])


def test_two_objects_by_hand() -> None:
    # p0 = 0.5 * 0.25 = 0.125: odds 1/7, 1 and 3
    probability = aggregate(torch.tensor([0.5, 0.75]).view(1, 2, 1, 1))
    total = 1 / 7 + 1 + 3
    assert probability.flatten().tolist() == pytest.approx([1 / 7 / total, 1 / total, 3 / total])


def test_certain_masks_stay_finite() -> None:
    masks = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).view(3, 2, 1, 1)
    assert torch.isfinite(aggregate_log_odds(masks)).all()
    probability = aggregate(masks)[..., 0, 0]
    torch.testing.assert_close(probability[0], torch.tensor([1.0, 0.0, 0.0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(probability[1], torch.tensor([0.0, 1.0, 0.0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(probability[2], torch.tensor([0.0, 0.5, 0.5]), rtol=0, atol=1e-6)


def test_probabilities_sum_to_one() -> None:
    masks = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(aggregate(masks).sum(dim=1), torch.ones(2, 4, 5))
