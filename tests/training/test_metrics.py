"""J, F and T against hand-worked masks."""

from __future__ import annotations

import numpy as np
import pytest

from rotomem.training import binarise, boundary_f, boundary_map, region_j, temporal_stability


def square(size: int, top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def test_j_is_intersection_over_union() -> None:
    # 4x4 squares, one column apart: 3*4 shared, 5*4 in all.
    assert region_j(square(10, 2, 2, 4), square(10, 2, 3, 4)) == pytest.approx(12 / 20)


def test_two_empty_mattes_agree_fully() -> None:
    empty = np.zeros((6, 6), np.float32)
    assert region_j(empty, empty) == 1.0
    assert boundary_f(empty, empty) == 1.0


def test_an_empty_matte_against_an_object_scores_nothing() -> None:
    empty, there = np.zeros((10, 10), bool), square(10, 2, 2, 4)
    assert region_j(empty, there) == 0.0
    assert boundary_f(empty, there) == 0.0
    assert boundary_f(there, empty) == 0.0


def test_a_soft_matte_is_cut_above_one_half() -> None:
    matte = np.array([[0.0, 0.5, 0.5001, 1.0]], np.float32)
    assert binarise(matte).tolist() == [[False, False, True, True]]


def test_the_boundary_of_a_square_is_a_ring_half_a_pixel_up_and_left() -> None:
    # A 2x2 square at (2, 2): every pixel of rows 1-3, columns 1-3 but (2, 2) sees a change right, below or diagonally.
    expected = np.zeros((6, 6), bool)
    expected[1:4, 1:4] = True
    expected[2, 2] = False
    assert np.array_equal(boundary_map(square(6, 2, 2, 2)), expected)


def test_an_object_cut_by_the_frame_has_no_boundary_there() -> None:
    half = np.zeros((4, 6), bool)
    half[:, 3:] = True
    expected = np.zeros((4, 6), bool)
    expected[:, 2] = True
    assert np.array_equal(boundary_map(half), expected)


def test_f_counts_boundary_pixels_within_the_bound() -> None:
    # Two straight edges, 3 px apart in a frame 20 high: within 3 px all match, within 2 px none do.
    ours, truth = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    ours[:, 8:] = True
    truth[:, 11:] = True
    assert boundary_f(ours, truth, bound_px=3) == 1.0
    assert boundary_f(ours, truth, bound_px=2) == 0.0


def test_f_is_the_harmonic_mean_of_precision_and_recall() -> None:
    # Truth: one edge of 20 pixels. Ours: that edge and a second one, 10 px off. P = 20/40, R = 20/20.
    ours, truth = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    truth[:, 5:] = True
    ours[:, 5:15] = True
    assert boundary_f(ours, truth, bound_px=1) == pytest.approx(2 * 0.5 * 1.0 / 1.5)


def test_the_bound_is_a_disk_not_a_box() -> None:
    # Single pixels 2 right and 2 down apart are 2.83 px apart: outside a disk of 2, inside one of 3. A single pixel's
    # boundary is its 2x2 block up and left, so that the nearest of the two blocks' pixels are (1, 1) apart: 1.41 px.
    ours, truth = np.zeros((12, 12), bool), np.zeros((12, 12), bool)
    ours[4, 4] = True
    truth[6, 6] = True
    assert boundary_f(ours, truth, bound_px=1) == 0.0
    # Within 2 px of ours' block (3..4, 3..4) lie (5, 5), 1.41 away, and (5, 6) and (6, 5), 2.24 away do not: 1 of 4.
    assert boundary_f(ours, truth, bound_px=2) == pytest.approx(0.25)


def test_the_default_bound_is_eight_thousandths_of_the_diagonal_rounded_up() -> None:
    # 300 x 400: diagonal 500, 0.008 * 500 = 4 px exactly.
    ours, truth = np.zeros((300, 400), bool), np.zeros((300, 400), bool)
    truth[:, 100:] = True
    ours[:, 104:] = True
    assert boundary_f(ours, truth) == 1.0
    ours[:, 104:105] = False
    assert boundary_f(ours, truth) == 0.0


def test_a_matte_that_changes_as_the_truth_does_is_fully_stable() -> None:
    moving = np.stack([square(12, 2, 2, 4), square(12, 2, 5, 4)])
    assert temporal_stability(moving, moving) == 1.0
    assert temporal_stability(np.zeros_like(moving), np.zeros_like(moving)) == 1.0


def test_an_error_that_stays_costs_no_stability() -> None:
    still, beside = np.stack([square(12, 2, 2, 4)] * 2), np.stack([square(12, 3, 4, 4)] * 2)
    assert temporal_stability(beside, still) == 1.0


def test_a_matte_that_drops_out_is_half_stable() -> None:
    # 16 pixels vanish that should not; the union is those 16.
    dropout = np.stack([square(12, 2, 2, 4), np.zeros((12, 12), bool)])
    still = np.stack([square(12, 2, 2, 4)] * 2)
    assert temporal_stability(dropout, still) == 1 - 16 / (2 * 16)
    assert temporal_stability(dropout[::-1], still) == 1 - 16 / (2 * 16)


def test_a_matte_left_behind_misses_the_change() -> None:
    # The truth loses a column of 4 and wins one; the union is 5 columns.
    still, moving = np.stack([square(12, 2, 2, 4)] * 2), np.stack([square(12, 2, 2, 4), square(12, 2, 3, 4)])
    assert temporal_stability(still, moving) == 1 - 8 / (2 * 20)


def test_an_error_that_travels_with_the_object_costs_its_leading_and_trailing_pixels() -> None:
    # The matte has a column too many on the right: column 6, then 7. The union is columns 2 to 7.
    truth = np.stack([square(12, 2, 2, 4), square(12, 2, 3, 4)])
    wide = truth | np.roll(truth, 1, axis=2)
    assert temporal_stability(wide, truth) == pytest.approx(1 - 8 / (2 * 24))


def test_a_matte_that_moves_against_the_truth_is_not_stable_at_all() -> None:
    left, right = square(12, 2, 0, 4), square(12, 2, 6, 4)
    assert temporal_stability(np.stack([left, right]), np.stack([right, left])) == 0.0


def test_stability_cuts_soft_mattes_as_j_does() -> None:
    truth = np.stack([square(12, 2, 2, 4)] * 2)
    soft = truth * np.array([0.6, 0.9], np.float32)[:, None, None]
    assert temporal_stability(soft, truth) == 1.0
