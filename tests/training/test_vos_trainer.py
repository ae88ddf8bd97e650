"""The trainer end to end, with a network and clips small enough for seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from rotomem.errors import SettingError, WeightsCorruptError
from rotomem.training.checkpoint_state import MANIFEST, PART_BYTES, TrainingState, load_state, round_state, save_state
from rotomem.training.clips import HELD_OUT_SEED, ClipSpec, make_clips
from rotomem.training.curves import draw_curves
from rotomem.training.schedule import Horizon, Stage, learning_rate, stage_at
from rotomem.training.vos_trainer import LOG, WEIGHTS, TrainingSettings, VosTrainer
from rotomem.tuning.clip_batch import ClipBatch
from rotomem.tuning.clip_pass import PassPlan, propagate_clip
from rotomem.vos import Network, NetworkConfig, load_network
from tiny_networks import TINY_WITH_CUE

SPEC = ClipSpec(seed=5, batch=2, frames=4, side=64)


def tiny_settings(**changes: object) -> TrainingSettings:
    values = {
        "horizon": Horizon(steps=4),
        "network": TINY_WITH_CUE,
        "stages": (Stage(0.5, 64, (2, 3), 1, 2), Stage(1.0, 64, (3, 4), 3, 2)),
        "workers": 0,
        "validation_groups": 1,
    }
    return TrainingSettings(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clip() -> ClipBatch:
    return make_clips(SPEC, annotated=(0, 3))


def test_a_specification_gives_the_same_clips_again(clip: ClipBatch) -> None:
    again = make_clips(SPEC, annotated=(0, 3))
    for name in ("images", "truth", "annotations", "priors", "places"):
        torch.testing.assert_close(getattr(again, name), getattr(clip, name), rtol=0, atol=1e-5)


def test_priors_exist_on_query_frames_alone_and_stay_in_range(clip: ClipBatch) -> None:
    assert clip.priors[:, [0, 3]].abs().sum() == 0
    assert clip.priors[:, [1, 2]].abs().sum() > 0
    assert clip.priors.min() >= 0
    assert clip.priors.max() <= 1


def test_places_of_an_unmoving_surface_are_its_own(clip: ClipBatch) -> None:
    seen = clip.places[:, 1, 0, 2] > 0
    moved = (clip.places[:, 1, 0, :2] - clip.places.new_tensor([8.0, 8.0])[:, None, None]).abs()
    # Cells start 16 px apart: a place cannot differ from its cell's middle by more than the shot's motion.
    grid = torch.arange(4) * 16.0
    moved[:, 0] -= grid
    moved[:, 1] -= grid[:, None]
    assert seen.any()
    assert float(moved.abs().amax(1)[seen].median()) < 16


def test_packing_for_travel_costs_at_most_half_a_level(clip: ClipBatch) -> None:
    unpacked = clip.packed().to(torch.device("cpu"))
    assert (unpacked.images - clip.images).abs().max() <= 0.5 / 255 + 1e-6
    assert (unpacked.priors - clip.priors).abs().max() <= 0.5 / 255 + 1e-6
    assert unpacked.annotated == clip.annotated


def test_every_frame_but_the_annotated_is_segmented_and_all_weights_learn(clip: ClipBatch) -> None:
    network = Network(TINY_WITH_CUE)
    result = propagate_clip(network, clip, PassPlan(memorised=frozenset({2})))
    assert sorted(result.logits) == [1, 2]
    assert result.logits[1].shape == (2, 2, 64, 64)
    torch.stack(list(result.logits.values())).square().mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None]
    assert without == []


def test_an_untrained_network_gives_the_carried_mattes_back(clip: ClipBatch) -> None:
    with torch.no_grad():
        logits = propagate_clip(Network(TINY_WITH_CUE).eval(), clip, PassPlan()).logits[1]
    before, after, trust_before, trust_after = clip.priors[:, 1].unbind(2)
    trusted = (trust_before + trust_after) > 0.2
    blended = (before * trust_before + after * trust_after) / (trust_before + trust_after).clamp_min(1e-6)
    sure = trusted & ((blended - 0.5).abs() > 0.2)
    assert sure.float().mean() > 0.2
    assert ((logits > 0) == (blended > 0.5))[sure].all()


def test_annotated_frames_are_known_from_the_start_wherever_they_lie(clip: ClipBatch) -> None:
    network = Network(TINY_WITH_CUE).eval()
    torch.nn.init.normal_(network.decoder.pred.weight)
    with torch.no_grad():
        before = propagate_clip(network, clip, PassPlan()).logits[1]
        changed = clip.annotations.clone()
        changed[:, 1] = 1 - changed[:, 1]
        other = ClipBatch(clip.images, clip.truth, changed, clip.priors, clip.places, clip.annotated)
        after = propagate_clip(network, other, PassPlan()).logits[1]
    assert (before - after).abs().max() > 1e-5


def test_training_goes_on_exactly_after_a_kill(tmp_path: Path) -> None:
    straight = VosTrainer(tiny_settings(), tmp_path / "straight")
    straight.train(steps=2)
    straight.train()
    VosTrainer(tiny_settings(), tmp_path / "killed").train(steps=2)
    resumed = VosTrainer(tiny_settings(), tmp_path / "killed")
    assert resumed.state.step == 2
    resumed.train()

    assert straight.state.step == resumed.state.step == 4
    for name, weight in straight.state.weights.items():
        assert torch.equal(weight, resumed.state.weights[name]), name
        assert torch.equal(straight.state.average[name], resumed.state.average[name]), name


def test_a_piece_leaves_weights_a_log_and_curves(tmp_path: Path) -> None:
    trainer = VosTrainer(tiny_settings(), tmp_path)
    scores = trainer.train(steps=1)

    loaded = load_network(tmp_path / WEIGHTS)
    assert loaded.network.config == TINY_WITH_CUE
    rows = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 1]
    assert 0 <= scores.network <= 1
    draw_curves(tmp_path / LOG, tmp_path / "curves.png")
    picture = cv2.imread(str(tmp_path / "curves.png"))
    assert picture is not None
    assert picture.std() > 5


def test_a_time_budget_that_is_over_at_once_still_leaves_weights(tmp_path: Path) -> None:
    VosTrainer(tiny_settings(horizon=Horizon(minutes=10)), tmp_path).train(minutes=0.0)
    load_network(tmp_path / WEIGHTS)


def test_training_clips_never_reach_the_held_out_ones(tmp_path: Path) -> None:
    trainer = VosTrainer(tiny_settings(horizon=Horizon(steps=1 << 20), seed=1000), tmp_path)
    last = trainer._spec_of((1 << 20) - 1)
    assert last.seed + last.batch < HELD_OUT_SEED


def test_another_networks_training_is_refused(tmp_path: Path) -> None:
    VosTrainer(tiny_settings(), tmp_path).save()
    with pytest.raises(SettingError, match="another network"):
        VosTrainer(tiny_settings(network=NetworkConfig.light()), tmp_path)


def test_checkpoint_parts_stay_below_the_limit_and_damage_is_refused(tmp_path: Path) -> None:
    weights = {f"w{index}": torch.randn(1 << 20) for index in range(6)}
    state = TrainingState(
        TINY_WITH_CUE.to_json(), weights, {name: value * 1.001 for name, value in weights.items()}, step=7
    )
    round_state(state)
    save_state(state, tmp_path)
    parts = sorted(tmp_path.glob("state-*.safetensors"))
    # 6 tensors of 4 MiB and as many differences of 2 MiB.
    assert len(parts) == 3
    assert all(part.stat().st_size <= PART_BYTES + 4096 for part in parts)
    loaded = load_state(tmp_path)
    assert loaded is not None
    assert loaded.step == 7
    assert torch.equal(loaded.average["w3"], state.average["w3"])

    content = bytearray(parts[1].read_bytes())
    content[-1] ^= 1
    parts[1].write_bytes(content)
    with pytest.raises(WeightsCorruptError, match=parts[1].name):
        load_state(tmp_path)


def test_an_interrupted_save_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    state = TrainingState(TINY_WITH_CUE.to_json(), {"w": torch.ones(3)}, {"w": torch.ones(3)}, step=1)
    save_state(state, tmp_path)
    # What a kill between the parts and the manifest leaves behind.
    (tmp_path / "state-0000002-0.safetensors").write_bytes(b"half a file")
    loaded = load_state(tmp_path)
    assert loaded is not None
    assert loaded.step == 1
    assert json.loads((tmp_path / MANIFEST).read_text())["step"] == 1


def test_the_rate_warms_up_and_falls_and_stages_follow_progress() -> None:
    assert learning_rate(1.0, 0.0) == pytest.approx(0.05)
    assert learning_rate(1.0, 0.02) == pytest.approx(1.0)
    # Half of the cosine's way: 0.02 + 0.98 / 2.
    assert learning_rate(1.0, 0.51) == pytest.approx(0.51)
    assert learning_rate(1.0, 1.0) == pytest.approx(0.02)
    stages = (Stage(0.5, 64, (2, 3), 1, 2), Stage(1.0, 96, (3, 4), 3, 2))
    assert [stage_at(stages, at).side for at in (0.0, 0.49, 0.5, 1.0)] == [64, 64, 96, 96]


def test_training_needs_no_client_plate_or_progress_bar_packages() -> None:
    code = (
        "import sys\n"
        "for name in ('zmq', 'msgpack', 'OpenImageIO', 'PyOpenColorIO', 'tqdm'): sys.modules[name] = None\n"
        "import rotomem.training.__main__, rotomem.training.vos_trainer, rotomem.tuning.shot_tuning\n"
        "import rotomem.training.curves, rotomem.training.model_card\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
