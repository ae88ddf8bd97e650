"""Mattes carried along flow whose answer is known by hand."""

from __future__ import annotations

import torch

from rotomem.vos.flow_prior import carry_through_clip, flow_agreement, join_priors


def shifting_clip(step_px: int, frames: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A square that moves right by ``step_px`` per frame: mattes, forward and backward flow."""
    mattes = torch.zeros(1, frames, 1, 32, 48)
    for frame in range(frames):
        mattes[0, frame, 0, 8:24, 8 + frame * step_px : 20 + frame * step_px] = 1
    forward = torch.zeros(1, frames, 2, 32, 48)
    forward[:, :-1, 0] = step_px
    backward = torch.zeros(1, frames, 2, 32, 48)
    backward[:, 1:, 0] = -step_px
    return mattes, forward, backward


def test_a_matte_is_carried_exactly_along_whole_pixel_flow_from_both_sides() -> None:
    mattes, forward, backward = shifting_clip(3, 5)

    before, after = carry_through_clip(mattes, (0, 4), forward, backward)

    assert sorted(before) == [1, 2, 3, 4]
    assert sorted(after) == [0, 1, 2, 3]
    torch.testing.assert_close(before[3][0], mattes[:, 3])
    torch.testing.assert_close(after[1][0], mattes[:, 1])


def test_the_nearest_annotated_frame_is_carried_and_annotated_frames_get_their_neighbours() -> None:
    mattes, forward, backward = shifting_clip(2, 5)
    mattes[:, 2] *= 0.5

    before, after = carry_through_clip(mattes, (0, 2), forward, backward)

    assert before[3][0].max() == 0.5
    assert before[2][0].max() == 1.0
    assert sorted(after) == [0, 1]


def test_trust_is_lost_where_flows_disagree_and_where_they_leave_the_picture() -> None:
    _, forward, backward = shifting_clip(4, 2)
    agreement = flow_agreement(forward[:, 0], backward[:, 1])
    assert agreement[0, 0, 10, 10] == 1
    assert agreement[0, 0, 10, 46] == 0

    backward[0, 1, 0, :, :24] = 4
    disputed = flow_agreement(forward[:, 0], backward[:, 1])
    # The return misses by 8 px, at a tolerance of 0.5 + 0.04 * (4 + 4) = 0.82 px.
    assert disputed[0, 0, 10, 10] < 1e-6


def test_trust_of_several_steps_is_the_product_of_each() -> None:
    mattes, forward, backward = shifting_clip(0, 4)
    # Each return misses by 0.54 px: the tolerance 0.5 + 0.04 * 0.54 = 0.5216 px, so 2 ** -(0.54 / 0.5216) ** 2.
    backward[:, 1:, 1] = 0.54
    _, after = carry_through_clip(mattes, (3,), forward, backward)
    step = 2 ** -((0.54 / 0.5216) ** 2)
    torch.testing.assert_close(after[2][1][0, 0, 16, 24], torch.tensor(step))
    torch.testing.assert_close(after[0][1][0, 0, 16, 24], torch.tensor(step**3))


def test_a_side_without_annotation_is_all_zeros_in_the_prior() -> None:
    like = torch.zeros(2, 3, 8, 8)
    matte, trust = torch.full((2, 3, 8, 8), 0.7), torch.full((2, 1, 8, 8), 0.4)
    prior = join_priors(None, (matte, trust), like=like)
    assert prior.shape == (2, 3, 4, 8, 8)
    assert prior[:, :, 0].abs().sum() == prior[:, :, 2].abs().sum() == 0
    assert (prior[:, :, 1] == matte).all()
    assert (prior[:, :, 3] == 0.4).all()
