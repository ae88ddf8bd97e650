"""What a small flow segmenter says, averaged along flow."""

from __future__ import annotations

import pytest
import torch

from rotomem.errors import CancelledError
from rotomem.motion import FlowSegmenter, steady_motion
from rotomem.motion.steady_motion import KEPT, LEVEL, average_along
from tiny_motion import TINY_FLOW


def test_what_moves_with_the_flow_stays_sharp_and_a_lost_frame_comes_back() -> None:
    frames = torch.zeros(7, 16, 40)
    for index in range(7):
        frames[index, 4:12, 3 + 4 * index : 11 + 4 * index] = 1
    whole = frames.clone()
    frames[3] = 0
    forward = torch.zeros(7, 2, 16, 40)
    forward[:, 0] = 4
    steady = average_along(frames, forward, -forward)
    assert torch.equal(steady > LEVEL, whole > 0.5)
    still = average_along(frames, torch.zeros_like(forward), torch.zeros_like(forward))
    assert not torch.equal(still > LEVEL, whole > 0.5)


def test_weights_fall_from_frame_to_frame_and_add_up_to_one() -> None:
    flow = torch.zeros(3, 2, 8, 8)
    assert torch.allclose(average_along(torch.ones(3, 8, 8), flow, flow), torch.ones(3, 8, 8))
    first = torch.zeros(3, 8, 8)
    first[0] = 1
    shares = average_along(first, flow, flow)[:, 0, 0]
    expected = [1 / (1 + KEPT + KEPT**2), KEPT / (1 + 2 * KEPT), KEPT**2 / (1 + KEPT + KEPT**2)]
    assert shares.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("count", [1, 2, 31])
def test_any_length_is_a_probability_for_each_frame(count: int) -> None:
    torch.manual_seed(0)
    segmenter = FlowSegmenter(TINY_FLOW).eval()
    flows = (torch.randn(count, 2, 20, 30), torch.randn(count, 2, 20, 30))
    windows = []
    moving = steady_motion(flows, segmenter, (16, 32), step=lambda: windows.append(1))
    assert moving.shape == (count, 16, 32)
    assert 0 <= moving.min() <= moving.max() <= 1
    assert len(windows) == (2 if count > 30 else 1)


def test_it_stops_when_told() -> None:
    def stop() -> None:
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        steady_motion((torch.zeros(2, 2, 16, 16),) * 2, FlowSegmenter(TINY_FLOW).eval(), (16, 32), step=stop)
