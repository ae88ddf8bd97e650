"""Colours near an object vote on what belongs to it."""

from __future__ import annotations

import numpy as np
import pytest

from rotomem.propagation.colour_votes import ColourVotes, inside_probability

HEIGHT, WIDTH = 96, 160
RED, BLUE, GREEN = (200, 40, 40), (40, 60, 200), (40, 200, 60)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A red square, which is the object, on blue; a second red square, far off, is not the object."""
    colours = np.full((HEIGHT, WIDTH, 3), BLUE, np.uint8)
    colours[20:60, 20:60] = RED
    colours[56:96, 124:160] = RED
    matte = np.zeros((HEIGHT, WIDTH, 1), np.float32)
    matte[20:60, 20:60] = 1.0
    return colours, matte


def probability(colours: np.ndarray, *, moved_px: float = 0.0) -> np.ndarray:
    displacement = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    displacement[..., 0] = -moved_px
    return inside_probability(ColourVotes(*picture()).count(colours, displacement), (HEIGHT, WIDTH))[..., 0]


def test_the_objects_colour_in_its_place_is_inside_and_the_other_colour_is_not() -> None:
    votes = probability(picture()[0])
    assert votes[40, 40] > 0.95
    assert votes[10, 40] < 0.05
    assert votes[40, 64] < 0.05


def test_the_same_colour_far_away_is_not_the_object() -> None:
    assert probability(picture()[0])[80, 145] < 0.1


def test_votes_move_with_the_flow() -> None:
    colours, _ = picture()
    moved = np.roll(colours, 40, axis=1)
    assert probability(moved, moved_px=40)[40, 80] > 0.95


def test_a_colour_never_seen_says_nothing() -> None:
    colours, _ = picture()
    colours[30:50, 30:50] = GREEN
    assert probability(colours)[40, 40] == pytest.approx(0.5, abs=0.01)


def test_each_object_is_counted_for_itself() -> None:
    colours, matte = picture()
    other = np.zeros_like(matte)
    other[56:96, 124:160] = 1.0
    four = np.concatenate([matte, other, np.zeros_like(matte), matte, other, matte], axis=-1)
    counts = ColourVotes(colours, four).count(colours, np.zeros((HEIGHT, WIDTH, 2), np.float32))
    votes = inside_probability(counts, (HEIGHT, WIDTH))
    assert votes.shape == (HEIGHT, WIDTH, 6)
    assert (votes[40, 40] > 0.5).tolist() == [True, False, False, True, False, True]
    assert (votes[80, 145] > 0.5).tolist() == [False, True, False, False, True, False]
