"""NaN and infinite pixels are replaced and reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rotomem.plates import read_plate_frame
from rotomem.plates.repair import repair_pixels


def test_a_clean_image_is_returned_as_it_is() -> None:
    pixels = np.ones((4, 5, 3), np.float32)
    repaired, count = repair_pixels(pixels)
    assert repaired is pixels
    assert count == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_bad_sample_becomes_the_median_of_its_neighbours(bad: float) -> None:
    pixels = np.arange(9, dtype=np.float32).reshape(3, 3, 1).repeat(3, axis=2)
    pixels[1, 1, 0] = bad
    repaired, count = repair_pixels(pixels)
    assert count == 1
    assert repaired[1, 1, 0] == 4.0  # The median of 0 1 2 3 5 6 7 8.
    assert (repaired[1, 1, 1:] == 4.0).all()  # The good channels are as they were.
    assert not np.isfinite(pixels[1, 1, 0])  # The input is not changed.


def test_a_corner_has_three_neighbours_and_a_firefly_does_not_win() -> None:
    pixels = np.zeros((3, 3, 1), np.float32)
    pixels[0, 0], pixels[0, 1], pixels[1, 0], pixels[1, 1] = np.nan, 2.0, 1.0, 60000.0
    repaired, _ = repair_pixels(pixels)
    assert repaired[0, 0, 0] == 2.0


def test_bad_neighbours_do_not_count() -> None:
    pixels = np.full((3, 3, 1), np.nan, np.float32)
    pixels[0, 2], pixels[2, 2] = 1.0, 3.0
    repaired, count = repair_pixels(pixels)
    assert count == 7
    np.testing.assert_array_equal(repaired[..., 0], [[0, 1, 1], [0, 2, 2], [0, 3, 3]])


def test_opposite_infinities_are_both_found() -> None:
    pixels = np.ones((4, 4, 1), np.float32)
    pixels[0, 0], pixels[3, 3] = np.inf, -np.inf
    repaired, count = repair_pixels(pixels)
    assert count == 2
    assert (repaired == 1.0).all()


def test_a_frame_without_a_finite_pixel_becomes_black() -> None:
    repaired, count = repair_pixels(np.full((300, 300, 3), np.nan, np.float32))
    assert count == 90000
    assert not repaired.any()


def test_a_plate_frame_says_how_many_were_replaced(tmp_path: Path, write_image) -> None:
    pixels = np.full((6, 6, 3), 0.5, np.float32)
    pixels[2, 2] = np.nan
    pixels[4, 4, 1] = np.inf
    frame = read_plate_frame(write_image(tmp_path / "p.exr", pixels), 1012)
    assert frame.repaired_pixels == 2
    assert (frame.pixels == 0.5).all()
    assert frame.warnings[0].startswith("frame 1012 has 2 NaN or infinite pixels, replaced by their neighbours")
