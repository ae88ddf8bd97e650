"""From frames and flow to corrected masks."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rotomem.errors import CancelledError, SettingError
from rotomem.motion import MotionMasks, judge, look_at, pipeline, propose, segment_flow
from rotomem.motion.adaptation import AdaptationShot, adapt_corrector, adapt_segmenter
from rotomem.motion.config import SelectorConfig
from rotomem.motion.flow_segmenter import FlowSegmentation
from rotomem.motion.selector import CORRECT, OWN_LEAST_ERROR, least_error, relative_error
from tiny_motion import TINY_FLOW, tiny_motion_networks


class MovingThings(torch.nn.Module):
    """Stands where the segmenter is: finds things by the value of their flow, in an order that changes per window."""

    def __init__(self) -> None:
        super().__init__()
        self.config = TINY_FLOW
        self.place = torch.nn.Parameter(torch.zeros(1))
        self.calls = 0

    def forward(self, flow: torch.Tensor) -> FlowSegmentation:
        found = torch.stack([flow[:, :, 0] > 1.5, (flow[:, :, 0] > 0.5) & (flow[:, :, 0] < 1.5)], dim=2)
        nothing = torch.zeros_like(found[:, :, :1])
        objects = torch.cat([found, nothing], dim=2).roll(self.calls, dims=2)
        self.calls += 1
        return FlowSegmentation(objects.float() * 20 - 10, torch.zeros(1, flow.shape[1], 3))


def two_movers(frames: int) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    images, forward = torch.rand(frames, 3, 48, 80), torch.zeros(frames, 2, 48, 80)
    forward[:, 0, 10:20, 10:20], forward[:, 0, 20:40, 40:70] = 2, 1
    return images, (forward, -forward)


def test_objects_keep_their_names_across_windows_and_the_largest_comes_first() -> None:
    networks = dataclasses.replace(tiny_motion_networks(), segmenter=MovingThings())  # type: ignore[arg-type]
    _, flows = two_movers(75)
    masks = segment_flow(flows, networks, (48, 80))
    assert networks.segmenter.calls > 2  # type: ignore[attr-defined]
    assert masks.shape == (75, 2, 48, 80)
    assert masks[:, 0].sum(dim=(1, 2)).unique().tolist() == [600]
    assert masks[:, 1].sum(dim=(1, 2)).unique().tolist() == [100]


@pytest.mark.parametrize("frames", [1, 4, 12])
def test_a_clip_of_any_length_gives_masks_errors_and_exemplars(frames: int) -> None:
    images, flows = two_movers(frames)
    told: list[tuple[int, int]] = []
    found = propose(images, flows, tiny_motion_networks(), objects=2, on_progress=lambda *step: told.append(step))
    assert isinstance(found, MotionMasks)
    count = found.masks.shape[1]
    assert 1 <= count <= 2
    assert found.masks.shape == found.error_maps.shape == (frames, count, 48, 80)
    assert found.relative_error.shape == found.confidence.shape == (frames, count)
    assert found.exemplars.shape == (count, min(frames, 10))
    assert 0 <= found.confidence.min() <= found.confidence.max() <= 1
    assert 0 <= found.error_maps.min() <= found.error_maps.max() <= 1
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_cancelling_stops_in_between() -> None:
    images, flows = two_movers(12)
    calls = iter([False, False, True])
    with pytest.raises(CancelledError):
        propose(images, flows, tiny_motion_networks(), cancelled=lambda: next(calls))


def test_frames_and_flow_must_be_as_many() -> None:
    images, flows = two_movers(3)
    with pytest.raises(SettingError, match="2 frames and 3 frames of flow"):
        propose(images[:2], flows, tiny_motion_networks())


def test_an_error_map_is_what_is_not_right() -> None:
    networks = tiny_motion_networks()
    images, _ = two_movers(3)
    appearance = look_at(images, networks, (48, 80))
    masks = torch.zeros(3, 1, 48, 80)
    masks[:, :, 8:24, 8:24] = 1
    judged = judge(appearance, masks, networks.selector)
    with torch.no_grad():
        logits = networks.selector(appearance.images[None], masks[None], appearance.coarse[None])
    torch.testing.assert_close(judged.error_maps, 1 - logits[0].softmax(dim=2)[:, :, CORRECT])
    sure = judged.error_maps * (judged.error_maps >= OWN_LEAST_ERROR)
    torch.testing.assert_close(judged.relative_error, sure.sum(dim=(2, 3)) / (256 + 1))


def test_faint_doubts_count_with_published_weights_and_in_empty_masks() -> None:
    error_map = torch.full((2, 1, 3, 4, 4), 0.1)
    error_map[:, :, CORRECT] = 0.8
    error_map[:, :, 0, 0, 0], error_map[:, :, CORRECT, 0, 0] = 0.7, 0.2
    masks = torch.zeros(2, 1, 4, 4)
    masks[0, :, :2] = 1
    published, ours = (relative_error(error_map, masks, least=least) for least in (0.0, 0.3))
    torch.testing.assert_close(published[:, 0], torch.tensor([(15 * 0.2 + 0.8) / 9, 15 * 0.2 + 0.8]))
    torch.testing.assert_close(ours[:, 0], torch.tensor([0.8 / 9, 15 * 0.2 + 0.8]))
    assert least_error(SelectorConfig()) == 0
    assert least_error(SelectorConfig.small()) == OWN_LEAST_ERROR


def shot(frames: int = 6) -> AdaptationShot:
    networks = tiny_motion_networks()
    images = torch.zeros(frames, 3, 32, 32)
    masks = torch.zeros(frames, 1, 32, 32)
    for frame in range(frames):
        images[frame, :, 8:24, 2 * frame : 2 * frame + 16] = 1
        masks[frame, 0, 8:24, 2 * frame : 2 * frame + 16] = 1
    seen = look_at(images, networks, (32, 32))
    return AdaptationShot(
        seen.images, seen.fine, masks, masks, torch.full((frames, 1), 1 / frames), torch.tensor([[0, 2, 5]])
    )


def test_adaptation_learns_the_exemplars_and_leaves_the_network_alone() -> None:
    network = tiny_motion_networks().corrector
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    losses: list[float] = []
    adapted = adapt_corrector(network, [shot()], steps=40, rate=1e-2, step=losses.append)
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert any(not torch.equal(before[name], tensor) for name, tensor in adapted.state_dict().items())


def test_adaptation_shows_the_upsampler_no_flow_predicted_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[float] = []
    network = tiny_motion_networks().corrector
    skips = type(network.rgbmaskenc).skips

    def note(self: torch.nn.Module, images: torch.Tensor, masks: torch.Tensor) -> list[torch.Tensor]:
        shown.append(float(masks.abs().max()))
        return skips(self, images, masks)  # type: ignore[arg-type]

    monkeypatch.setattr(type(network.rgbmaskenc), "skips", note)
    adapt_corrector(network, [shot()], steps=2)
    assert shown == [0, 0]


def test_the_segmenter_learns_from_corrected_masks() -> None:
    network = tiny_motion_networks().segmenter
    flow, masks = torch.zeros(6, 4, 32, 32), torch.zeros(6, 1, 32, 32)
    flow[:, :, 8:24, 8:24], masks[:, :, 8:24, 8:24] = 3, 1
    losses: list[float] = []
    adapt_segmenter(network, [(flow, masks)], steps=30, rate=1e-2, step=losses.append)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


def test_adapting_to_nothing_is_refused() -> None:
    with pytest.raises(SettingError, match="0 shots"):
        adapt_corrector(tiny_motion_networks().corrector, [], steps=3)


def test_adaptation_is_part_of_a_proposal_and_counts_as_progress() -> None:
    images, flows = two_movers(4)
    plain: list[tuple[int, int]] = []
    adapted: list[tuple[int, int]] = []
    without = propose(images, flows, tiny_motion_networks(), on_progress=lambda *step: plain.append(step))
    found = propose(
        images, flows, tiny_motion_networks(), adapt_steps=3, on_progress=lambda *step: adapted.append(step)
    )
    assert adapted[-1][1] > plain[-1][1] + 3 - 1
    assert not torch.equal(without.masks, found.masks)
    assert pipeline.EXEMPLARS == 10
