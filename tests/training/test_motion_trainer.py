"""Training and adapting the motion networks, with networks and clips small enough for seconds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rotomem.errors import PlateMissingError, SettingError
from rotomem.motion import (
    Corrector,
    CorrectorConfig,
    FlowConfig,
    FlowSegmenter,
    Selector,
    SelectorConfig,
    normalise_frames,
)
from rotomem.motion.losses import mask_losses
from rotomem.motion.selector import CORRECT
from rotomem.motion.unet import Decoder
from rotomem.propagation.motion_networks import load_motion_network
from rotomem.training import motion_clips
from rotomem.training.clips import HELD_OUT_SEED
from rotomem.training.curves import draw_curves, palette_of
from rotomem.training.motion_adaptation import adapt_networks, open_shots
from rotomem.training.motion_clips import MotionSpec, imitate_flow_masks, make_motion_clips
from rotomem.training.motion_exemplars import true_exemplars
from rotomem.training.motion_start import FIRST_SHARE, TRANSFORMER_RATE
from rotomem.training.motion_trainer import (
    TRAINERS,
    ClipShape,
    CorrectorTrainer,
    FlowTrainer,
    MotionTrainingSettings,
    inside_masks,
)
from rotomem.training.schedule import Horizon
from rotomem.training.trainer import LOG, WEIGHTS
from rotomem.vos import Network, save_weights
from tiny_motion import TINY_CORRECTOR, TINY_FLOW, TINY_SELECTOR, tiny_motion_networks
from tiny_networks import TINY

SPEC = MotionSpec(seed=11, batch=3, frames=3, height=48, width=80)


@pytest.fixture(scope="module")
def key_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "key.safetensors"
    save_weights(Network(TINY).state_dict(), path, TINY)
    return path


def settings(key_weights: Path, **changes: Any) -> MotionTrainingSettings:
    values = {
        "horizon": Horizon(steps=4),
        "shape": ClipShape(2, 3, 32, 48),
        "workers": 0,
        "key_weights": key_weights,
        "validation_groups": 1,
    }
    return MotionTrainingSettings(**{**values, **changes})  # type: ignore[arg-type]


def tiny_config(what: str) -> FlowConfig | SelectorConfig | CorrectorConfig:
    configs: dict[str, FlowConfig | SelectorConfig | CorrectorConfig] = {
        "flow": TINY_FLOW,
        "selector": dataclasses.replace(TINY_SELECTOR, feature_dim=TINY.feature_dims[2]),
        "corrector": dataclasses.replace(TINY_CORRECTOR, feature_dim=TINY.feature_dims[1]),
    }
    return configs[what]


def test_every_moving_thing_is_one_object_and_they_do_not_overlap() -> None:
    clips = make_motion_clips(SPEC)
    assert clips.modal.sum(dim=2).max() <= 1 + 1e-4
    assert (clips.amodal - clips.modal).min() >= -1e-4
    assert (clips.present.sum(dim=1) >= 1).all()
    assert clips.flow.shape == (3, 3, 4, 48, 80)
    again = make_motion_clips(SPEC)
    torch.testing.assert_close(again.flow, clips.flow)
    assert (clips.packed().to(torch.device("cpu")).modal - clips.modal).abs().max() <= 0.5 / 255 + 1e-6


def test_imitated_masks_are_sometimes_sound_and_mostly_faulty() -> None:
    truth = torch.zeros(8, 10, 1, 48, 80)
    truth[..., 12:36, 20:50] = 1
    masks = imitate_flow_masks(truth, generator=torch.Generator().manual_seed(0))
    right = (masks * truth).sum((-2, -1)) / torch.maximum(masks, truth).sum((-2, -1))
    sound = (right == 1).float().mean().item()
    # A quarter is left as it is; some more escape every fault.
    assert 0.2 < sound < 0.5
    assert (right == 0).float().mean().item() > 0.03
    assert right.std() > 0.15


@pytest.mark.parametrize("what", sorted(TRAINERS))
def test_training_goes_on_exactly_after_a_kill(tmp_path: Path, key_weights: Path, what: str) -> None:
    make: Any = TRAINERS[what]
    straight = make(settings(key_weights), tmp_path / "straight", tiny_config(what))
    straight.train(steps=2)
    straight.train()
    make(settings(key_weights), tmp_path / "killed", tiny_config(what)).train(steps=2)
    resumed = make(settings(key_weights), tmp_path / "killed", tiny_config(what))
    assert resumed.state.step == 2
    scores = resumed.train()

    assert straight.state.step == resumed.state.step == 4
    for name, weight in straight.state.weights.items():
        assert torch.equal(weight, resumed.state.weights[name]), name
    assert all(0 <= value <= 1 for value in scores.__dict__.values())
    draw_curves(
        tmp_path / "killed" / LOG,
        tmp_path / "curves.png",
        losses=palette_of(["loss"]),
        scores=palette_of(scores.__dict__),
    )
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None
    assert picture.std() > 5


def test_curves_show_a_step_that_was_done_again_once(tmp_path: Path) -> None:
    rows = [{"step": step, "minutes": step / 2, "loss": 1 / step, "mask": 0.1} for step in range(1, 9)]
    check = {"step": 8, "minutes": 4.0, "validation": {"j": 0.5}}
    lost = [{**row, "minutes": 9.0, "loss": 7.0} for row in rows[4:7]]
    pictures = []
    for name, log in (("straight", [*rows, check]), ("killed", [*rows[:4], *lost, *rows[4:], check])):
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in log))
        draw_curves(tmp_path / name, tmp_path / "c.png", losses=palette_of(["loss"]), scores=palette_of(["j"]))
        pictures.append((tmp_path / "c.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_the_flow_segmenter_learns_to_tell_what_moves(tmp_path: Path, key_weights: Path) -> None:
    config = dataclasses.replace(TINY_FLOW, width=2)
    trainer = FlowTrainer(settings(key_weights, horizon=Horizon(steps=80), peak_rate=2e-2), tmp_path, config)
    clip = make_motion_clips(MotionSpec(seed=11, batch=2, frames=3, height=32, width=48))
    losses = [float(trainer.step_on(clip)["mask"]) for _ in range(80)]
    # Knowing each object's size and nothing of its place is the most that one learns without a look at the flow.
    share = clip.amodal.mean(dim=(1, 3, 4), keepdim=True).clamp(1e-4, 1 - 1e-4)
    blind = float(mask_losses(share.logit().expand_as(clip.amodal), clip.amodal).mean())
    assert np.mean(losses[-5:]) < 0.7 * blind
    trainer.save()
    assert load_motion_network(tmp_path / WEIGHTS, FlowSegmenter, FlowConfig).config == config


@pytest.mark.parametrize("what", sorted(TRAINERS))
def test_transformers_learn_slowly(tmp_path: Path, key_weights: Path, what: str) -> None:
    make: Any = TRAINERS[what]
    trainer = make(settings(key_weights), tmp_path, tiny_config(what))
    shares = trainer.rate_shares()
    assert shares.keys() == dict(trainer.network.named_parameters()).keys()
    slow = ("transformer", "encoder_posi", "encoder_query", "encoder_time", "embed", "slots")
    for name, share in shares.items():
        held_back = any(part in name for part in slow) or (what == "flow" and "conv" not in name)
        assert share == (TRANSFORMER_RATE if held_back else 1.0), name


@pytest.mark.parametrize("what", ["flow", "selector"])
def test_training_begins_with_small_masks_or_errors(tmp_path: Path, key_weights: Path, what: str) -> None:
    make: Any = TRAINERS[what]
    trainer = make(settings(key_weights), tmp_path, tiny_config(what))
    (decoder,) = (module for module in trainer.network.modules() if isinstance(module, Decoder))
    drawn = decoder.conv.bias.sigmoid() if what != "selector" else decoder.conv.bias.softmax(dim=0)
    expected = torch.full((3,), FIRST_SHARE)
    if what == "selector":
        expected[CORRECT] = 1 - 2 * FIRST_SHARE
    assert torch.allclose(drawn, expected, atol=1e-6)


@pytest.mark.parametrize(("lasting", "alike"), [(1.0, True), (0.0, False)])
def test_faults_may_lie_at_one_place_throughout_a_clip(
    monkeypatch: pytest.MonkeyPatch, lasting: float, alike: bool
) -> None:
    only_lost_parts = {"LOSE_PART": 1.0, "GAIN_PART": 0.0, "SHIFTED": 0.0, "LOST": 0.0, "DEFORMED": 0.0, "SOUND": 0.0}
    for name, share in {**only_lost_parts, "LASTING": lasting}.items():
        monkeypatch.setattr(motion_clips, name, share)
    truth = torch.zeros(6, 4, 1, 48, 80)
    truth[..., 12:36, 20:60] = 1
    masks = imitate_flow_masks(truth, generator=torch.Generator().manual_seed(0))
    assert (masks < truth).any()
    assert torch.equal(masks, masks[:, :1].expand_as(masks)) == alike


def test_a_fresh_corrector_returns_the_masks_that_it_is_given(tmp_path: Path, key_weights: Path) -> None:
    config = tiny_config("corrector")
    assert isinstance(config, CorrectorConfig)
    config = dataclasses.replace(config, corrects=True)
    trainer = CorrectorTrainer(settings(key_weights), tmp_path, config)
    clip = make_motion_clips(MotionSpec(seed=11, batch=1, frames=4, height=64, width=96, sprite_size=1.6))
    images = normalise_frames(clip.images)
    fine = torch.unflatten(trainer.features.fine(images.flatten(0, 1)), 0, (1, 4))
    given = clip.masks
    assert 0.01 < given.mean() < 0.5
    with torch.no_grad():
        logits = trainer.network(images, given, fine, true_exemplars(clip, fine)).logits
    assert torch.equal((logits > 0).float(), given)


def test_training_clips_never_reach_the_held_out_ones(tmp_path: Path, key_weights: Path) -> None:
    trainer = FlowTrainer(settings(key_weights, horizon=Horizon(steps=1 << 20), seed=1000), tmp_path, TINY_FLOW)
    last = trainer.spec_of((1 << 20) - 1)
    assert last.seed + last.batch < HELD_OUT_SEED


def test_another_networks_training_is_refused(tmp_path: Path, key_weights: Path) -> None:
    FlowTrainer(settings(key_weights), tmp_path, TINY_FLOW).save()
    with pytest.raises(SettingError, match="another network"):
        FlowTrainer(settings(key_weights), tmp_path, FlowConfig.small())


def test_small_networks_are_at_most_16_megabytes_together() -> None:
    small = FlowSegmenter(FlowConfig.small()), Selector(SelectorConfig.small()), Corrector(CorrectorConfig.small())
    assert 2 * sum(parameter.numel() for network in small for parameter in network.parameters()) <= 16_000_000


def test_keys_inside_a_mask_are_told_from_those_outside() -> None:
    masks = torch.zeros(1, 1, 1, 16, 32)
    masks[..., 3, 9] = 1
    assert inside_masks(masks, (2, 4)).int()[0, 0, 0].tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]


def write_shots(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name / "frames").mkdir(parents=True)
        wall = rng.integers(0, 255, (48, 80, 3), dtype=np.uint8)
        for frame in range(4):
            picture = wall.copy()
            picture[10:30, 10 + 4 * frame : 34 + 4 * frame] = 255
            cv2.imwrite(str(folder / name / "frames" / f"{frame}.png"), picture)


@pytest.mark.parametrize("what", ["flow", "corrector"])
def test_networks_adapt_to_a_folder_of_shots_without_truth(tmp_path: Path, what: str) -> None:
    write_shots(tmp_path / "shots")
    shots = open_shots(tmp_path / "shots")
    assert [len(shot.files) for shot in shots] == [4, 4]
    networks = tiny_motion_networks()
    steps: list[int] = []
    adapt_networks(what, shots, networks, tmp_path / WEIGHTS, steps=3, on_step=lambda step, loss: steps.append(step))
    assert steps == [1, 2, 3]
    before: Any = networks.segmenter if what == "flow" else networks.corrector
    adapted = load_motion_network(tmp_path / WEIGHTS, type(before), type(before.config))
    changed = [not torch.equal(a, b) for a, b in zip(before.parameters(), adapted.parameters(), strict=True)]
    assert any(changed)


def test_a_folder_without_shots_and_the_selector_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlateMissingError, match="one folder a shot"):
        open_shots(tmp_path)
    still = tmp_path / "still"
    (still / "a").mkdir(parents=True)
    for frame in range(3):
        cv2.imwrite(str(still / "a" / f"{frame}.png"), np.full((48, 80, 3), 99, np.uint8))
    with pytest.raises(SettingError, match="no moving object is found in the 1 shots"):
        adapt_networks("flow", open_shots(still), tiny_motion_networks(), tmp_path / WEIGHTS, steps=1)
    with pytest.raises(SettingError, match="selector is not adapted"):
        adapt_networks("selector", [], tiny_motion_networks(), tmp_path / WEIGHTS, steps=1)
