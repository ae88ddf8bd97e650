"""Flow as the flow segmenter takes it."""

from __future__ import annotations

import pytest
import torch

from rotomem.errors import SettingError
from rotomem.motion import camera_flow, stack_flow


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


def test_the_cameras_zoom_and_turn_are_taken_away_and_an_object_stays() -> None:
    y, x = torch.meshgrid(torch.arange(96.0) - 48, torch.arange(160.0) - 80, indexing="ij")
    camera = torch.stack([0.05 * x - 0.02 * y + 3, 0.05 * y + 0.02 * x - 1])
    flow = camera.clone()
    flow[:, 30:60, 40:80] += torch.tensor([4.0, 0.0])[:, None, None]
    left = flow - camera_flow(flow[None])[0]
    outside = torch.ones(96, 160, dtype=torch.bool)
    outside[26:64, 36:84] = False
    assert left[:, outside].norm(dim=0).max() < 0.3
    assert left[0, 35:55, 45:75].mean().item() == pytest.approx(4, abs=0.3)


def test_flow_of_two_shapes_is_refused() -> None:
    with pytest.raises(SettingError, match=r"\(3, 2, 16, 16\) and \(2, 2, 16, 16\)"):
        stack_flow(torch.zeros(3, 2, 16, 16), torch.zeros(2, 2, 16, 16), (16, 16))
