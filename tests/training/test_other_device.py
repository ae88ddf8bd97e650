"""Shots and losses on a device that is not the CPU: nothing is made elsewhere, and nothing waits for a figure of it.

Torch's ``meta`` device stands in for a GPU: it refuses operations with tensors of another device, and has no data, so
that reading a figure back fails too. What a GPU computes is not shown by it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor

from rotomem.training.clips import ClipSpec, make_clips
from rotomem.training.motion_clips import MotionSpec, make_motion_clips
from rotomem.training.motion_trainer import TRAINERS, ClipShape, MotionTrainingSettings
from rotomem.training.schedule import Horizon
from rotomem.training.synthetic import generate_batch
from rotomem.training.vos_trainer import TrainingSettings, VosTrainer
from rotomem.vos import Network, save_weights
from tiny_motion import TINY_CORRECTOR, TINY_FLOW, TINY_SELECTOR
from tiny_networks import TINY, TINY_WITH_CUE

META = torch.device("meta")
Batch = TypeVar("Batch")


class _Generator(torch.Generator):
    """One for ``meta``, which has none: its draws have a device, and no values."""

    def __new__(cls, device: object = "cpu") -> _Generator:
        return super().__new__(cls)

    @property
    def device(self) -> torch.device:
        return META


@contextlib.contextmanager
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let code that asks for a generator or for mixed precision on ``meta`` go on without."""
    with monkeypatch.context() as patch:
        patch.setattr(torch, "Generator", _Generator)
        patch.setattr(torch, "autocast", lambda *arguments, **options: contextlib.nullcontext())
        yield


def moved(batch: Batch) -> Batch:
    """The same batch without its data."""
    tensors = {
        field.name: getattr(batch, field.name).to(META)
        for field in dataclasses.fields(batch)  # type: ignore[arg-type]
        if isinstance(getattr(batch, field.name), Tensor)
    }
    return dataclasses.replace(batch, **tensors)  # type: ignore[type-var]


def losses_on_meta(trainer: Any, clip: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    trainer.device = META
    trainer.network.to(META)
    if hasattr(trainer, "features"):
        trainer.features._encoder.to(META)
    with on_meta(monkeypatch):
        losses: dict[str, Tensor] = trainer.losses_on(moved(clip))
        losses["loss"].backward()
    return losses


@pytest.mark.parametrize("movers", [False, True])
def test_shots_are_made_on_the_device_alone(monkeypatch: pytest.MonkeyPatch, movers: bool) -> None:
    with on_meta(monkeypatch):
        shots = generate_batch(range(12), frames=3, height=48, width=80, device=META, targets=3, movers=movers)
    for field in dataclasses.fields(shots):
        assert getattr(shots, field.name).device == META, field.name


def test_propagation_is_trained_on_the_device_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = VosTrainer(TrainingSettings(horizon=Horizon(steps=4), network=TINY_WITH_CUE, workers=0), tmp_path)
    clip = make_clips(ClipSpec(seed=5, batch=2, frames=4, side=64))
    losses = losses_on_meta(trainer, clip, monkeypatch)
    assert all(loss.device == META for loss in losses.values())


@pytest.mark.parametrize("what", sorted(TRAINERS))
def test_motion_networks_are_trained_on_the_device_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    weights = tmp_path / "key.safetensors"
    save_weights(Network(TINY).state_dict(), weights, TINY)
    settings = MotionTrainingSettings(
        horizon=Horizon(steps=4), shape=ClipShape(2, 4, 48, 80), workers=0, key_weights=weights
    )
    make: Any = TRAINERS[what]
    config = {
        "flow": TINY_FLOW,
        "selector": dataclasses.replace(TINY_SELECTOR, feature_dim=TINY.feature_dims[2]),
        "corrector": dataclasses.replace(TINY_CORRECTOR, feature_dim=TINY.feature_dims[1]),
    }[what]
    clip = make_motion_clips(MotionSpec(seed=11, batch=2, frames=4, height=48, width=80, real_flow=0.0))
    losses = losses_on_meta(make(settings, tmp_path / what, config), clip, monkeypatch)
    assert all(loss.device == META for loss in losses.values())
