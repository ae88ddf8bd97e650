"""What a propagation's mattes tell, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rotomem.suggestion import FrameSigns, frame_signs, matte_entropy, pass_disagreement, temporal_instability


def square(side: int, *, at: tuple[int, int] = (4, 4)) -> Tensor:
    matte = torch.zeros(32, 48)
    matte[at[0] : at[0] + side, at[1] : at[1] + side] = 1
    return matte


def test_disagreement_is_the_share_of_pixels_that_one_pass_has_alone() -> None:
    forward = torch.stack([square(4), square(4), square(4), torch.zeros(32, 48)])[:, None]
    backward = torch.stack([square(4), square(4, at=(4, 6)), square(4, at=(20, 20)), torch.zeros(32, 48)])[:, None]
    # Two columns off: 8 + 8 of the 24 pixels that either has. Shares are of the larger: (16 + 8) pixels, 16 apart.
    assert pass_disagreement(forward, backward).tolist() == pytest.approx([0, 16 / 24, 1, 0])


def test_entropy_is_one_bit_at_a_half_and_none_where_the_matte_is_sure() -> None:
    unsure = torch.where(square(4) > 0, 0.5, 0.0)
    half_unsure = square(4).clone()
    half_unsure[4:6, 4:8] = 0.5
    mattes = torch.stack([square(4), unsure, half_unsure, torch.zeros(32, 48)])[:, None]
    assert matte_entropy(mattes).tolist() == pytest.approx([0, 1, 0.5, 0])


def test_moving_without_changing_shape_is_stable_and_growing_is_not() -> None:
    moving = torch.stack([square(4, at=(4, 4 + 8 * frame)) for frame in range(4)])
    assert temporal_instability(moving).tolist() == [0, 0, 0, 0]
    # Frame 2 alone is 8 wide: of its 64 pixels 48 are apart from each neighbour's 16.
    pulsing = torch.stack([square(4), square(4), square(8), square(4), square(4)])
    assert temporal_instability(pulsing).tolist() == pytest.approx([0, 0.375, 0.75, 0.375, 0], abs=0.03)


def test_an_object_that_leaves_is_unstable_where_it_leaves() -> None:
    leaving = torch.stack([square(4), square(4), torch.zeros(32, 48), torch.zeros(32, 48)])
    assert temporal_instability(leaving).tolist() == [0, 0.5, 0.5, 0]


def test_one_frame_has_no_neighbour_to_differ_from() -> None:
    assert temporal_instability(square(4)[None]).tolist() == [0]


def make_frame_signs(area: list[float], annotated: list[int]) -> FrameSigns:
    figures = np.full(len(area), 0.2)
    return frame_signs(np.array(area), annotated, uncertainty=figures, disagreement=figures, instability=figures)


def test_an_empty_matte_between_drawn_ones_has_lost_its_object() -> None:
    signs = make_frame_signs([0.1, 0.1, 0.001, 0.0, 0.1], [0, 4])
    assert signs.lost.tolist() == [False, False, True, True, False]
    assert signs.visible.all()
    assert signs.uncertainty.tolist() == [0.2, 0.2, 1, 1, 0.2]


def test_an_empty_matte_next_to_one_drawn_empty_has_no_object() -> None:
    signs = make_frame_signs([0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1], [0, 3, 6])
    assert signs.lost.tolist() == [False, True, False, False, False, True, False]
    assert signs.visible.tolist() == [True, True, False, True, False, True, True]


def test_a_small_object_is_not_lost_for_being_small_nor_without_a_matte() -> None:
    signs = make_frame_signs([0.001, 0.0009, np.nan, 0.0008], [0])
    assert not signs.lost.any()
    assert signs.visible.all()
