"""Any number of objects, any clip length, any aspect ratio; memory that grows with a clip and not with its square."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.errors import SettingError
from rotomem.motion import Corrector, CorrectorConfig, FlowSegmenter, Selector, working_size
from rotomem.motion.correction import assign_pixels, correct_masks, gather_exemplars
from rotomem.motion.corrector import GIVEN_LOGIT
from rotomem.motion.selector import choose_exemplars, exemplar_scores
from rotomem.motion.transformer import SCORES_AT_ONCE, Attention, ClipEncoder
from tiny_motion import FEATURES, TINY_CORRECTOR, TINY_FLOW, TINY_SELECTOR, mean_colours


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 16, 32), (2, 16, 96), (5, 64, 16), (9, 32, 48)])
def test_the_flow_segmenter_takes_any_clip(frames: int, height: int, width: int) -> None:
    with torch.no_grad():
        found = FlowSegmenter(TINY_FLOW).eval()(torch.randn(1, frames, 4, height, width))
    assert found.amodal_logits.shape == (1, frames, 3, height, width)
    assert found.order.shape == (1, frames, 3)
    assert torch.isfinite(found.amodal_logits).all()


@pytest.mark.parametrize(("frames", "objects"), [(1, 1), (3, 5), (10, 2)])
def test_the_selector_judges_each_object_by_itself(frames: int, objects: int) -> None:
    network = Selector(TINY_SELECTOR).eval()
    images, masks = torch.randn(1, frames, 3, 32, 16), torch.rand(1, frames, objects, 32, 16).round()
    features = torch.randn(1, frames, 2, 1, FEATURES)
    with torch.no_grad():
        together = network(images, masks, features)
        alone = network(images, masks[:, :, -1:], features)
    assert together.shape == (1, frames, objects, 3, 32, 16)
    torch.testing.assert_close(together[:, :, -1:], alone)


def test_blocks_of_frames_and_scores_change_nothing() -> None:
    network = Selector(TINY_SELECTOR).eval()
    images, masks = torch.randn(1, 7, 3, 32, 32), torch.rand(1, 7, 1, 32, 32).round()
    features = torch.randn(1, 7, 2, 2, FEATURES)
    with torch.no_grad():
        whole = network(images, masks, features, frames_at_once=100)
        blocks = network(images, masks, features, frames_at_once=2, scores_at_once=50)
    torch.testing.assert_close(whole, blocks, atol=1e-5, rtol=1e-4)


def test_a_hundred_frames_never_need_all_scores_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = []

    def note(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        pairs.append(query.shape[0] * query.shape[2] * key.shape[2])
        return torch.zeros(*query.shape[:3], value.shape[3])

    monkeypatch.setattr(F, "scaled_dot_product_attention", note)
    encoder = ClipEncoder(width=8, heads=2, feedforward=8, layers=1)
    with torch.no_grad():
        encoder(torch.zeros(2, 100, 8, 14, 8))  # 11,200 tokens a clip: 125 million pairs, two clips
    assert max(pairs) <= SCORES_AT_ONCE
    assert sum(pairs) == 2 * 11_200**2


def test_tokens_look_at_other_frames_alone() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2).eval()
    tokens, frames = torch.randn(1, 6, 8), torch.tensor([0, 0, 1, 1, 2, 2])
    changed = tokens.clone()
    changed[0, 1] += 1
    with torch.no_grad():
        before = attention(tokens, tokens, query_frames=frames, key_frames=frames)
        after = attention(tokens, changed, query_frames=frames, key_frames=frames)
    torch.testing.assert_close(before[0, :2], after[0, :2])
    assert (before[0, 2:] - after[0, 2:]).abs().max() > 1e-4


@pytest.mark.parametrize(("frames", "objects", "exemplars"), [(1, 1, 10), (3, 4, 10), (16, 2, 2)])
def test_the_corrector_takes_any_clip_and_number_of_objects(frames: int, objects: int, exemplars: int) -> None:
    network = Corrector(TINY_CORRECTOR).eval()
    images, masks = torch.randn(frames, 3, 16, 40), torch.rand(frames, objects, 16, 40).round()
    scores = exemplar_scores(torch.rand(frames, objects))
    chosen = choose_exemplars(scores, exemplars)
    assert chosen.shape == (objects, min(frames, exemplars))
    corrected = correct_masks(network, images, masks, mean_colours(images, 8), scores, chosen)
    assert corrected.shape == (frames, objects, 16, 40)
    assert torch.isfinite(corrected).all()
    assert assign_pixels(corrected).sum(dim=1).max() <= 1


def test_an_objects_group_does_not_see_the_next_group() -> None:
    torch.manual_seed(3)
    network = Corrector(TINY_CORRECTOR).eval()
    images, masks = torch.randn(4, 3, 16, 16), torch.rand(4, 5, 16, 16).round()
    scores, features = exemplar_scores(torch.rand(4, 5)), mean_colours(images, 8)
    chosen = choose_exemplars(scores, 2)
    both = correct_masks(network, images, masks, features, scores, chosen)
    first = correct_masks(network, images, masks[:, :3], features, scores[:, :3], chosen[:3])
    torch.testing.assert_close(both[:, :3], first)


def test_masks_are_drawn_anew_or_what_is_to_change_of_them() -> None:
    torch.manual_seed(2)
    published = Corrector(TINY_CORRECTOR).eval()
    ours = Corrector(dataclasses.replace(TINY_CORRECTOR, corrects=True)).eval()
    ours.load_state_dict(published.state_dict())
    images, masks = torch.randn(4, 3, 16, 16), torch.rand(4, 3, 16, 16).round()
    scores, features = exemplar_scores(torch.rand(4, 3)), mean_colours(images, 8)
    seen = (images, masks, features, scores, choose_exemplars(scores, 2))
    for sight in (True, False):
        drawn, changed = (correct_masks(net, *seen, edges_from_masks=sight).logit() for net in (published, ours))
        torch.testing.assert_close(changed, drawn + GIVEN_LOGIT * masks, rtol=1e-3, atol=1e-3)
    blind, seeing = (correct_masks(published, *seen, edges_from_masks=sight) for sight in (False, True))
    exemplars = gather_exemplars(masks, features, scores, seen[4])
    with torch.no_grad():
        without = published(images[None], torch.zeros_like(masks)[None], features[None], exemplars).logits[0]
    torch.testing.assert_close(blind, without.sigmoid())
    assert (seeing - blind).abs().max() > 0.01


def test_a_configuration_takes_sizes_and_yes_or_no() -> None:
    assert CorrectorConfig.from_json(CorrectorConfig.small().to_json()) == CorrectorConfig.small()
    assert not CorrectorConfig.from_json('{"width": 16}').corrects
    for text, wrong in (('{"corrects": 1}', "true or false"), ('{"width": true}', "whole number above 0")):
        with pytest.raises(SettingError, match=wrong):
            CorrectorConfig.from_json(text)


def test_dropped_background_and_hidden_exemplars_change_the_queries() -> None:
    torch.manual_seed(1)
    network = Corrector(TINY_CORRECTOR).eval()
    images, masks = torch.randn(4, 3, 16, 16), torch.rand(4, 3, 16, 16).round()
    features = torch.randn(4, 2, 2, FEATURES)
    scores = exemplar_scores(torch.rand(4, 3))
    exemplars = gather_exemplars(masks, features, scores, choose_exemplars(scores, 3))
    given = (images[None], masks[None], features[None], exemplars)
    with torch.no_grad():
        whole = network(*given).queries
        kept = torch.tensor([[True, False, True, True]])
        dropped = network(*given, kept_background=kept).queries
        hidden = torch.ones(1, 3, 3, 2, 2, dtype=torch.bool)
        hidden[..., 0, 0] = False
        masked = network(*given, kept_exemplars=hidden).queries
    assert (whole[:, :3] - dropped[:, :3]).abs().max() > 1e-5
    assert (whole[:, :3] - masked[:, :3]).abs().max() > 1e-5
    assert torch.isfinite(dropped).all()


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(1080, 1920, (128, 224)), (1920, 1080, (224, 128)), (10, 4000, (16, 1792))]
)
def test_the_working_size_keeps_the_aspect_ratio(height: int, width: int, expected: tuple[int, int]) -> None:
    size = working_size(height, width)
    assert size[0] % 16 == size[1] % 16 == 0
    assert size == expected


def test_frames_of_a_wrong_size_are_named() -> None:
    with pytest.raises(SettingError, match="multiples of 16, not 20×16"):
        FlowSegmenter(TINY_FLOW)(torch.zeros(1, 2, 4, 16, 20))
