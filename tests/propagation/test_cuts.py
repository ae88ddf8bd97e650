"""Cuts are found; fades, dissolves, flashes and fast motion are none."""

from __future__ import annotations

import numpy as np
import pytest

from moving_scene import MovingScene, Square
from rotomem.propagation.classical_motion import find_cuts, split_at_cuts

FRAMES = range(1001, 1025)


class Edit:
    """Frames 1001 to 1024 of an edit, made by ``picture(index)``."""

    size = (160, 240)

    def __init__(self, picture) -> None:
        self._picture = picture

    def image(self, frame: int) -> np.ndarray:
        return np.clip(self._picture(frame - FRAMES[0]), 0.0, 1.0).astype(np.float32)


ONE = MovingScene([Square((40, 60), (4, 1))], pan=(2, 0), seed=1)
TWO = MovingScene([Square((120, 40), (-3, 0))], pan=(-1, 1), seed=50)
BLUE = np.array([0.5, 0.8, 1.0], np.float32)


def two(index: int) -> np.ndarray:
    return BLUE * TWO.image(index)


def test_cuts_are_found_where_they_are() -> None:
    shots = Edit(lambda i: ONE.image(i) if i < 9 or i >= 17 else two(i))
    assert find_cuts(shots, FRAMES) == [1010, 1018]


def test_a_cut_beside_the_first_frame_is_found() -> None:
    assert find_cuts(Edit(lambda i: ONE.image(i) if i < 1 else two(i)), FRAMES) == [1002]


def fade_through_black(i: int) -> np.ndarray:
    return ONE.image(i) * abs(i - 12) / 12 if i < 12 else two(i) * (i - 12) / 12


def fast_fade_in(i: int) -> np.ndarray:
    return ONE.image(i) * min(1.0, i / 5)


def dissolve(i: int) -> np.ndarray:
    share = np.clip((i - 6) / 12, 0, 1)
    return (1 - share) * ONE.image(i) + share * two(i)


def flash(i: int) -> np.ndarray:
    return ONE.image(i) * 0.2 + 0.8 if i == 12 else ONE.image(i)


def light_goes_out(i: int) -> np.ndarray:
    return ONE.image(i) * (1.0 if i < 12 else 0.3)


def fast_pan(i: int) -> np.ndarray:
    return MovingScene(pan=(6, 2), seed=3).image(i)


@pytest.mark.parametrize("picture", [fade_through_black, fast_fade_in, dissolve, flash, light_goes_out, fast_pan])
def test_what_only_looks_like_a_cut_is_none(picture) -> None:
    assert find_cuts(Edit(picture), FRAMES) == []


def test_every_frame_is_looked_at() -> None:
    looked = []
    find_cuts(ONE, range(6), step=lambda: looked.append(1))
    assert len(looked) == 6


def test_a_range_is_split_at_its_cuts() -> None:
    assert split_at_cuts(range(1, 11), []) == [range(1, 11)]
    assert split_at_cuts(range(1, 11), [4, 10]) == [range(1, 4), range(4, 10), range(10, 11)]
