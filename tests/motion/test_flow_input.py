"""Flow as the flow segmenter takes it."""

from __future__ import annotations

import pytest
import torch

from rotomem.errors import SettingError
from rotomem.motion import stack_flow


def test_displacements_are_scaled_with_the_picture() -> None:
    flow = torch.zeros(3, 2, 40, 60)
    flow[:, 0], flow[:, 1] = 6, 4
    small = stack_flow(flow, -flow, (20, 15))
    assert small.shape == (3, 4, 20, 15)
    torch.testing.assert_close(small[1, :, 10, 7], torch.tensor([1.5, 2.0, -1.5, -2.0]))


def test_missing_ends_are_the_other_direction_turned_round() -> None:
    forward, backward = torch.full((2, 2, 16, 16), 2.0), torch.full((2, 2, 16, 16), -3.0)
    forward[-1], backward[0] = float("nan"), float("nan")
    stacked = stack_flow(forward, backward, (16, 16))
    assert stacked[0, :, 0, 0].tolist() == [2, 2, -2, -2]
    assert stacked[1, :, 0, 0].tolist() == [3, 3, -3, -3]


def test_a_single_frame_does_not_move() -> None:
    nothing = torch.full((1, 2, 16, 16), float("nan"))
    assert stack_flow(nothing, nothing, (16, 16)).abs().max() == 0


def test_flow_of_two_shapes_is_refused() -> None:
    with pytest.raises(SettingError, match=r"\(3, 2, 16, 16\) and \(2, 2, 16, 16\)"):
        stack_flow(torch.zeros(3, 2, 16, 16), torch.zeros(2, 2, 16, 16), (16, 16))
