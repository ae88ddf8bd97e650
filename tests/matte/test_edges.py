"""The guided filter against its formula, and edges that move to where the plate has them."""

from __future__ import annotations

import numpy as np
import pytest

from rotomem.matte import guided_filter, snap_edges

SIZE = 96
INSIDE, OUTSIDE = np.array([0.7, 0.4, 0.2], np.float32), np.array([0.2, 0.3, 0.5], np.float32)


def disk(centre_x: float, radius: float, *, size: int = SIZE) -> np.ndarray:
    """An anti-aliased disk in the middle row: the mean of 8 x 8 samples per pixel."""
    y, x = (np.mgrid[: size * 8, : size * 8] + 0.5) / 8
    inside = (x - centre_x) ** 2 + (y - size / 2) ** 2 < radius**2
    return inside.reshape(size, 8, size, 8).mean(axis=(1, 3)).astype(np.float32)


def plate_of(matte: np.ndarray, *, grain: float = 0.0) -> np.ndarray:
    colours = matte[..., None] * INSIDE + (1 - matte[..., None]) * OUTSIDE
    noise = np.random.default_rng(7).normal(0, grain, colours.shape) if grain else 0.0
    return np.clip(colours + noise, 0, 1).astype(np.float32)


def error(matte: np.ndarray, truth: np.ndarray) -> float:
    """Sum of differences, in pixels of coverage."""
    return float(np.abs(matte - truth).sum())


TRUTH = disk(48, 24)


def test_guided_filter_shrinks_the_fit_by_epsilon_as_the_paper_says() -> None:
    # He et al., equations 14 and 15: slope = (cov + eps I)^-1 cov(I, p), offset = mean(p) - slope . mean(I).
    # Columns alternate between two colours d apart, the matte is 0 and 1 on them. A 3 x 3 window has shares 1/3 and
    # 2/3: cov = 2/9 d d^T, cov(I, p) = 2/9 d, so that slope . d = c |d|^2 / (c |d|^2 + eps) with c = 2/9.
    step = INSIDE - OUTSIDE
    columns = np.arange(12) % 2
    guide = (OUTSIDE + np.tile(columns[None, :, None], (12, 1, 1)) * step).astype(np.float32)
    matte = np.tile(columns, (12, 1)).astype(np.float32)
    epsilon = 0.05
    spread = 2 / 9 * float(step @ step)
    rise = spread / (spread + epsilon)
    # Offsets around a pixel: its own window has share 1/3 or 2/3 of its colour, its two neighbours the other share.
    result = guided_filter(guide, matte, radius_px=1, epsilon=epsilon)
    own, other = 1 / 3, 2 / 3
    share_of_ones = np.mean([own, other, other])  # over the three windows around a column of ones
    expected_one = share_of_ones + rise * (1 - share_of_ones)
    assert result[6, 5] == pytest.approx(expected_one, abs=1e-4)
    assert result[6, 6] == pytest.approx(1 - expected_one, abs=1e-4)


def test_colours_on_a_line_are_fitted_without_losing_precision() -> None:
    guide = plate_of(TRUTH)
    assert np.abs(guided_filter(guide, TRUTH, radius_px=3, epsilon=1e-6) - TRUTH).max() < 0.01


def test_a_flat_plate_leaves_the_mean_of_the_mean() -> None:
    # No colour to lean on: slope 0, offset the window's mean; the filter is a box blur applied twice.
    matte = np.zeros((21, 21), np.float32)
    matte[10, 10] = 1.0
    result = guided_filter(np.full((21, 21, 3), 0.5, np.float32), matte, radius_px=1, epsilon=1e-4)
    twice = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]) / 81
    assert result[8:13, 8:13] == pytest.approx(twice, abs=1e-6)


def test_the_fast_filter_agrees_with_the_full_one_on_a_smooth_plate() -> None:
    ramp = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (128, 1))
    guide = np.stack([ramp, ramp.T, 0.5 * ramp], axis=-1)
    full = guided_filter(guide, ramp, radius_px=8, epsilon=1e-4)
    fast = guided_filter(guide, ramp, radius_px=8, epsilon=1e-4, subsample=4)
    assert np.abs(full - fast)[16:-16, 16:-16].max() < 0.01


def test_an_edge_that_is_right_already_stays_right() -> None:
    # "Right" to a tenth of an 8-bit step on average over the disk's ~150 edge pixels.
    snapped = snap_edges(TRUTH, plate_of(TRUTH))
    assert error(snapped, TRUTH) < 150 * 0.1
    assert np.abs(snapped - TRUTH).max() < 0.02


@pytest.mark.parametrize("grain", [0.0, 0.01])
@pytest.mark.parametrize("subsample", [1, 2])
@pytest.mark.parametrize(
    "off", [disk(50, 24), disk(45, 24), disk(48, 26), disk(48, 22)], ids=["right", "left", "larger", "smaller"]
)
def test_an_edge_that_is_off_lands_where_the_plate_has_it(off: np.ndarray, grain: float, subsample: int) -> None:
    snapped = snap_edges(off, plate_of(TRUTH, grain=grain), subsample=subsample)
    assert error(snapped, TRUTH) < 0.1 * error(off, TRUTH)


def test_a_blurred_edge_gets_the_sharpness_of_the_plate() -> None:
    import cv2

    blurred = cv2.GaussianBlur(TRUTH, (0, 0), 2.5)
    snapped = snap_edges(blurred, plate_of(TRUTH))
    assert error(snapped, TRUTH) < 0.1 * error(blurred, TRUTH)


def test_solid_parts_away_from_the_edge_stay_bit_for_bit() -> None:
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    distance = np.abs(np.hypot(x - 50, y - 48) - 24)
    off = disk(50, 24)
    snapped = snap_edges(off, plate_of(TRUTH, grain=0.05), radius_px=6)
    far = distance > 8
    assert np.array_equal(snapped[far], off[far])
    assert set(np.unique(snapped[far])) == {0.0, 1.0}


def test_an_edge_that_the_plate_does_not_show_stays_put() -> None:
    off = disk(50, 24)
    grain_alone = np.random.default_rng(3).normal(0.5, 0.05, (SIZE, SIZE, 3)).astype(np.float32)
    assert np.abs(snap_edges(off, grain_alone) - off).mean() < 0.01
    assert snap_edges(off, np.full((SIZE, SIZE, 3), 0.5, np.float32)) == pytest.approx(off, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_matte_without_an_edge_comes_back_as_it_is(value: float) -> None:
    matte = np.full((20, 30), value, np.float32)
    snapped = snap_edges(matte, plate_of(TRUTH)[:20, :30])
    assert np.array_equal(snapped, matte)
    assert snapped is not matte


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (5, 40)])
def test_tiny_plates_are_no_trouble(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    matte = rng.random(size).astype(np.float32)
    snapped = snap_edges(matte, rng.random((*size, 3)).astype(np.float32), subsample=2)
    assert snapped.shape == size
    assert np.isfinite(snapped).all()
    assert snapped.min() >= 0
    assert snapped.max() <= 1
