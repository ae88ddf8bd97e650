"""Losses of the motion networks against hand calculations."""

from __future__ import annotations

import math

import pytest
import torch

from rotomem.motion.corrector import Reconstruction
from rotomem.motion.losses import (
    BOUNDARY_WEIGHT,
    boundary_band,
    error_map_loss,
    flow_loss,
    mask_losses,
    match_objects,
    modal_from_amodal,
    order_loss,
    reconstruction_loss,
    reorder,
    true_error_map,
)


def square(left: int, side: int = 4, size: int = 16) -> torch.Tensor:
    mask = torch.zeros(size, size)
    mask[4 : 4 + side, left : left + side] = 1
    return mask


def test_the_boundary_band_reaches_as_far_on_both_sides() -> None:
    band = boundary_band(square(4, side=8)[None], radius_px=1)[0]
    # The ring outside of an 8 px square is 10² - 8² pixels, the one inside 8² - 6².
    assert band.sum() == (100 - 64) + (64 - 36)


def test_the_boundary_term_counts_a_fifth_of_the_bands_mean() -> None:
    truth = square(4, side=8)[None]
    logits = torch.zeros_like(truth)
    # Cross-entropy of a coin is log 2 everywhere, in the band as well.
    assert mask_losses(logits, truth).item() == pytest.approx((1 + BOUNDARY_WEIGHT) * math.log(2), rel=1e-5)
    assert mask_losses(logits, truth, boundary=False).item() == pytest.approx(math.log(2), rel=1e-5)


def test_queries_are_matched_to_the_objects_that_they_draw() -> None:
    truth = torch.stack([square(0), square(6), square(11)])[None, None]
    logits = 8 * truth[:, :, [2, 0, 1]] - 4
    order = match_objects(logits, truth)
    assert order.tolist() == [[2, 0, 1]]
    assert torch.equal(reorder(truth, order) > 0.5, logits > 0)
    loss, masks, _ = flow_loss(
        20 * logits, torch.zeros(1, 1, 3), truth, truth, torch.arange(3.0)[None], torch.ones(1, 3, dtype=torch.bool)
    )
    assert masks < 1e-3
    assert loss < 0.1


def test_what_is_nearer_hides_what_is_behind() -> None:
    amodal = torch.stack([square(4), square(6)])[None, None]
    modal = modal_from_amodal(amodal, torch.tensor([[0.0, 1.0]]))[0, 0]
    assert modal[0].sum() == 16
    assert modal[1].sum().item() == pytest.approx(8, abs=0.01)


def test_order_counts_pairs_of_objects_that_are_there() -> None:
    depth, present = torch.tensor([[0, 1, 2]]), torch.tensor([[True, True, False]])
    right = order_loss(torch.tensor([[-3.0, 3.0, 0.0]]), depth, present)
    wrong = order_loss(torch.tensor([[3.0, -3.0, 0.0]]), depth, present)
    assert right.item() == pytest.approx(math.log1p(math.exp(-6)), rel=1e-4)
    assert wrong.item() == pytest.approx(math.log1p(math.exp(6)), rel=1e-4)


def test_the_error_map_says_what_is_too_much_and_what_is_missing() -> None:
    ours, theirs = square(4), square(6)
    wrong, right, missing = true_error_map(ours, theirs)
    assert wrong.sum() == 8
    assert missing.sum() == 8
    assert right.sum() == 256 - 16
    sure = torch.stack([wrong, right, missing]) * 40
    assert error_map_loss(sure, true_error_map(ours, theirs)) < 1e-3
    assert error_map_loss(-sure, true_error_map(ours, theirs)) > 1


def test_a_perfect_reconstruction_costs_nothing() -> None:
    truth = torch.zeros(1, 1, 1, 16, 16)
    truth[..., 8:] = 1
    features = torch.randn(1, 1, 2, 2, 5)
    alpha = torch.zeros(1, 2, 1, 2, 2, 1)
    alpha[:, 0, :, :, 1] = 1
    alpha[:, 1, :, :, 0] = 1
    rebuilt = Reconstruction(features[:, None].expand(-1, 2, -1, -1, -1, -1), alpha)
    assert reconstruction_loss(rebuilt, features, truth) < 1e-3
    assert reconstruction_loss(rebuilt, features + 1, truth).item() == pytest.approx(1, abs=1e-3)
