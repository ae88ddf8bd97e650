"""Tuning a copy of a network to one shot."""

from __future__ import annotations

from pathlib import Path

import torch

from rotomem.tuning.clip_batch import ClipBatch
from rotomem.tuning.clip_pass import PassPlan, propagate_clip
from rotomem.tuning.shot_augmentation import AnnotatedFrames, sample_pairs
from rotomem.tuning.shot_tuning import TunedNetwork, TuningCache, TuningProgress, TuningSettings, tuned_network
from rotomem.vos import Network, save_weights
from tiny_networks import TINY_WITH_CUE


def red_square_shot(frames: int) -> AnnotatedFrames:
    """A red square that moves over a blue ground."""
    images = torch.zeros(frames, 3, 96, 128)
    images[:, 2] = 0.6
    mattes = torch.zeros(frames, 1, 96, 128)
    for frame in range(frames):
        mattes[frame, 0, 30:70, 10 + 20 * frame : 50 + 20 * frame] = 1
    images[:, 0:1] = mattes * 0.9
    images[:, 2:3] *= 1 - mattes
    return AnnotatedFrames(images, mattes, torch.ones(frames, 1, dtype=torch.bool))


def mean_j(network: Network, shot: AnnotatedFrames) -> float:
    """J of the last frame, the others annotated, without any carried matte."""
    images, mattes = shot.images[None], shot.mattes[None]
    count = images.shape[1]
    clip = ClipBatch(
        images=images,
        truth=mattes,
        annotations=mattes[:, :-1],
        priors=torch.zeros(1, count, 1, 4, 96, 128),
        places=torch.zeros(1, count, count - 1, 3, 6, 8),
        annotated=tuple(range(count - 1)),
    )
    with torch.no_grad():
        ours = propagate_clip(network, clip, PassPlan()).logits[count - 1][0, 0] > 0
    theirs = mattes[0, -1, 0] > 0.5
    return float((ours & theirs).sum() / (ours | theirs).sum())


def test_a_tuned_network_finds_the_object_and_the_shipped_one_is_untouched() -> None:
    torch.manual_seed(3)
    network = Network(TINY_WITH_CUE).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    shot = red_square_shot(4)
    told = AnnotatedFrames(shot.images[:3], shot.mattes[:3], shot.known[:3])
    reports: list[TuningProgress] = []

    tuned = tuned_network(
        network,
        told,
        TuningSettings(seconds=600, most_steps=50, peak_rate=5e-3, side=64, batch=2),
        on_progress=reports.append,
    )

    assert mean_j(network, shot) < 0.5 < 0.7 < mean_j(tuned, shot)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert len(reports) == 50
    assert 0 < reports[0].share < reports[-1].share == 1
    assert not any(parameter.requires_grad for parameter in tuned.parameters())


def test_frozen_encoders_stay_as_shipped() -> None:
    network = Network(TINY_WITH_CUE)
    settings = TuningSettings(seconds=600, most_steps=2, side=64, freeze_encoders=True)
    tuned = tuned_network(network, red_square_shot(2), settings)
    kept = dict(network.named_parameters())
    changed = {name.split(".")[0] for name, p in tuned.named_parameters() if not torch.equal(p, kept[name])}
    assert changed == {"decoder"}


def test_cancelling_returns_what_was_learned_until_then() -> None:
    steps: list[TuningProgress] = []
    tuned_network(
        Network(TINY_WITH_CUE),
        red_square_shot(1),
        TuningSettings(seconds=600, side=64),
        on_progress=steps.append,
        cancelled=lambda: len(steps) >= 2,
    )
    assert len(steps) == 2


def test_pairs_keep_image_and_matte_together_and_count_what_is_known() -> None:
    shot = red_square_shot(3)
    known = torch.tensor([[True], [False], [False]])
    generator = torch.Generator().manual_seed(1)
    clip, counted = sample_pairs(
        AnnotatedFrames(shot.images, shot.mattes, known), batch=32, memorised=2, side=64, generator=generator
    )
    assert clip.annotated == (0, 1)
    assert clip.images.shape == (32, 3, 3, 64, 64)
    inside = clip.truth[:, :, 0] > 0.99
    redder = clip.images[:, :, 0] > clip.images[:, :, 2]
    assert redder[inside].float().mean() > 0.97
    assert redder[clip.truth[:, :, 0] < 0.01].float().mean() < 0.03
    # Known on one frame only, which as a query has no known frame to read from.
    assert counted.sum() == 0


def test_the_cache_finds_a_revision_goes_on_from_the_latest_and_forgets_old_ones(tmp_path: Path) -> None:
    cache = TuningCache(tmp_path, base_sha256="ab" * 32)
    assert cache.latest("sh010") is None
    networks = [Network(TINY_WITH_CUE) for _ in range(3)]
    for revision, network in enumerate(networks, start=4):
        cache.keep("sh010", revision, TunedNetwork(network, revision / 7))
    cache.keep("sh010/other", 9, TunedNetwork(networks[0]))

    found = cache.find("sh010", 6)
    assert found is not None
    weight = networks[2].decoder.pred.weight
    assert torch.equal(found.network.decoder.pred.weight, weight.half().float())
    assert found.share == 6 / 7
    latest = cache.latest("sh010")
    assert latest is not None
    assert torch.equal(latest.network.decoder.pred.weight, weight.half().float())
    assert cache.find("sh010", 4) is None
    assert TuningCache(tmp_path, base_sha256="cd" * 32).latest("sh010") is None


def test_a_damaged_tuned_network_is_tuned_anew_instead_of_used(tmp_path: Path) -> None:
    cache = TuningCache(tmp_path, base_sha256="ab" * 32)
    cache.keep("sh010", 1, TunedNetwork(Network(TINY_WITH_CUE)))
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert cache.find("sh010", 1) is None


def test_a_network_that_was_kept_before_shares_were_noted_has_all_of_its_steps(tmp_path: Path) -> None:
    cache = TuningCache(tmp_path, base_sha256="ab" * 32)
    network = Network(TINY_WITH_CUE)
    cache.keep("sh010", 1, TunedNetwork(network, 0.5))
    (path,) = tmp_path.glob("*.safetensors")
    save_weights(network.state_dict(), path, network.config)
    found = cache.find("sh010", 1)
    assert found is not None
    assert found.share == 1.0
