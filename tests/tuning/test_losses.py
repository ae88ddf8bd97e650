from __future__ import annotations

import math

import pytest
import torch

from rotomem.training.video_masking import tube_mask
from rotomem.tuning.losses import correspondence_loss, dice_loss, hardest_bce
from rotomem.vos import FrameFeatures
from rotomem.vos.network import Pyramid


def features(key: torch.Tensor) -> FrameFeatures:
    batch, _, rows, columns = key.shape
    nothing = torch.zeros(batch, 1, rows, columns)
    return FrameFeatures(
        key=key,
        shrinkage=torch.ones(batch, 1, rows, columns),
        selection=torch.ones_like(key),
        f16=nothing,
        finer=Pyramid(nothing, nothing),
    )


def test_hardest_bce_counts_the_worst_share_of_pixels_alone() -> None:
    logits = torch.zeros(1, 1, 2, 2)
    logits[0, 0, 0, 0] = -3.0
    truth = torch.ones(1, 1, 2, 2)
    # Three pixels at log 2, one at log(1 + e^3).
    all_pixels = hardest_bce(logits, truth, torch.ones(1, 1), share=1.0)
    worst = hardest_bce(logits, truth, torch.ones(1, 1), share=0.25)
    assert float(worst) == pytest.approx(math.log(1 + math.exp(3)))
    assert float(all_pixels) == pytest.approx((3 * math.log(2) + math.log(1 + math.exp(3))) / 4)


def test_a_soft_truth_met_exactly_costs_nothing() -> None:
    truth = torch.full((1, 1, 4, 4), 0.3)
    assert float(hardest_bce(torch.logit(truth), truth, torch.ones(1, 1), share=0.5)) == pytest.approx(0, abs=1e-6)


def test_objects_that_cannot_be_known_are_not_counted() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    truth = torch.zeros(1, 2, 4, 4)
    truth[:, 1] = 1
    known = torch.tensor([[1.0, 0.0]])
    only_first = hardest_bce(logits[:, :1], truth[:, :1], torch.ones(1, 1), share=1.0)
    assert float(hardest_bce(logits, truth, known, share=1.0)) == pytest.approx(float(only_first))


def test_dice_is_nothing_for_a_perfect_matte_and_nearly_one_for_its_opposite() -> None:
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., :16] = 1
    right = torch.where(truth > 0, 30.0, -30.0)
    assert float(dice_loss(right, truth, torch.ones(1, 1))) == pytest.approx(0, abs=1e-4)
    # Smoothing is 0.002 * 1024 = 2.048: 1 - 2.048 / (1024 + 2.048).
    assert float(dice_loss(-right, truth, torch.ones(1, 1))) == pytest.approx(1 - 2.048 / 1026.048, abs=1e-4)


def test_correspondence_falls_as_the_true_cell_stands_out() -> None:
    # Four cells with keys along different axes; the query's cells are the memory's, one column to the left.
    axes = torch.eye(4).reshape(1, 4, 2, 2) * 20
    moved = axes.flip(-1)
    places = torch.zeros(1, 3, 2, 2)
    places[0, 0] = torch.tensor([[23.5, 7.5], [23.5, 7.5]])
    places[0, 1] = torch.tensor([[7.5, 7.5], [23.5, 23.5]])
    places[0, 2] = 1
    assert float(correspondence_loss(features(axes), features(moved), places)) == pytest.approx(0, abs=1e-3)
    # All keys alike: any of four cells is as likely.
    alike = torch.ones(1, 4, 2, 2)
    assert float(correspondence_loss(features(alike), features(alike), places)) == pytest.approx(math.log(4))


def test_hidden_surfaces_teach_no_correspondence() -> None:
    axes = torch.eye(4).reshape(1, 4, 2, 2) * 20
    hidden = torch.zeros(1, 3, 2, 2)
    assert float(correspondence_loss(features(axes), features(axes.flip(-1)), hidden)) == 0


def test_a_tube_hides_the_same_patches_in_all_query_frames_and_none_on_annotated_ones() -> None:
    truth = torch.zeros(64, 4, 1, 64, 64)
    truth[..., 20:40, 20:40] = 1
    generator = torch.Generator().manual_seed(0)
    visible = tube_mask(truth, [1, 3], patch_px=16, generator=generator)
    assert visible.shape == (64, 4, 1, 64, 64)
    assert (visible[:, [0, 2]] == 1).all()
    assert (visible[:, 1] == visible[:, 3]).all()
    cells = visible[:, 1, 0].reshape(64, 4, 16, 4, 16)
    assert (cells.amin((2, 4)) == cells.amax((2, 4))).all()
    hidden = (visible[:, 1] == 0).flatten(1).any(1).float().mean()
    # A quarter of 64 clips; three standard deviations of a binomial are 0.16.
    assert 0.09 < float(hidden) < 0.41
