"""Training the propagation network: what a step learns from, and its losses."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rotomem.training import schedule
from rotomem.training.clip_stream import ClipStream
from rotomem.training.clips import ClipSpec, make_clips
from rotomem.training.schedule import Horizon, Stage
from rotomem.training.trainer import LOG, WEIGHTS, StepReport, Trainer
from rotomem.training.validation import Validation, ValidationScores
from rotomem.training.video_masking import tube_mask
from rotomem.tuning.clip_batch import ClipBatch
from rotomem.tuning.clip_pass import PassPlan, PassResult, propagate_clip
from rotomem.tuning.losses import correspondence_loss, dice_loss, hardest_bce
from rotomem.vos import Network, NetworkConfig

__all__ = ["LOG", "WEIGHTS", "StepReport", "TrainingSettings", "VosTrainer"]

WITHOUT_CUE = 0.1
MEMORISE = 0.4
TWO_OBJECTS = 0.35


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    Args:
        horizon: of the whole training.
        network: what to train; a folder's checkpoint must be of the same.
        stages: what on.
        peak_rate: of learning.
        video_consistency: hide tubes of query frames; see ``video_masking``.
        workers: processes that make clips; 0 makes them in this one.
        textures: folder of photographs.
        validate_every_s: seconds between validations; checkpoint_every_s likewise.
    """

    horizon: Horizon
    network: NetworkConfig
    stages: tuple[Stage, ...] = schedule.CPU_STAGES
    seed: int = 1
    device: str = "cpu"
    peak_rate: float = 6e-4
    weight_decay: float = 0.05
    video_consistency: bool = True
    workers: int = 1
    textures: Path | None = None
    validate_every_s: float = 300.0
    checkpoint_every_s: float = 120.0
    validation_groups: int = 4


class VosTrainer(Trainer[Network, ClipBatch, ValidationScores]):
    """Trains the propagation network in a folder; what that already holds is gone on from."""

    def __init__(self, settings: TrainingSettings, folder: Path) -> None:
        self.settings = settings
        super().__init__(settings, folder, lambda: Network(settings.network), settings.network)
        self._validation: Validation | None = None
        if self.device.type == "cuda":
            for module in (self.network.key_encoder, self.network.value_encoder, self.network.decoder):
                module.compile()
            if settings.network.prior_channels:
                self.network.decoder.prior_encoder.compile()

    def clip_stream(self, first_step: int) -> ClipStream[ClipSpec, ClipBatch]:
        return ClipStream(
            self._spec_of,
            make_clips,
            first_step=first_step,
            workers=self.settings.workers,
            device=self.device,
            textures=self.settings.textures,
        )

    def losses_on(self, clip: ClipBatch) -> dict[str, Tensor]:
        """Return the loss that is minimised, and its mask, Dice and correspondence parts."""
        chance = random.Random(self.settings.seed * 1_000_003 + self.state.step)
        queries = [frame for frame in range(clip.images.shape[1]) if frame not in clip.annotated]
        plan = PassPlan(
            memorised=frozenset(frame for frame in queries if chance.random() < MEMORISE),
            backward=chance.random() < 0.5,
            with_cue=chance.random() >= WITHOUT_CUE,
        )
        visible = None
        if self.settings.video_consistency:
            generator = torch.Generator(device=self.device).manual_seed(chance.getrandbits(40))
            patch = 32 if clip.images.shape[-1] >= 256 else 16
            visible = tube_mask(clip.truth, queries, patch_px=patch, generator=generator)
        with self.mixed_precision():
            result = propagate_clip(self.network, clip, plan, visible=visible)
        mask, dice, correspondence = self._losses(clip, result)
        loss = mask + 0.5 * dice + schedule.correspondence_weight(self.progress) * correspondence
        return {"loss": loss, "mask": mask, "dice": dice, "correspondence": correspondence}

    def score_average(self) -> ValidationScores:
        if self._validation is None:
            self._validation = Validation(self.device, groups=self.settings.validation_groups)
        network = Network(self.network.config)
        network.load_state_dict(self.state.average)
        return self._validation.score(network.to(self.device))

    def _losses(self, clip: ClipBatch, result: PassResult) -> tuple[Tensor, Tensor, Tensor]:
        share = schedule.hard_share(self.progress)
        annotated = clip.annotations.amax((1, 3, 4)) > 0.5
        masks, dices = [], []
        for frame, logits in result.logits.items():
            truth = clip.truth[:, frame]
            # An object that no annotation shows cannot be known where it appears; where it does not, nothing is right.
            counted = (annotated | (truth.amax((-2, -1)) < 0.5)).float()
            masks.append(hardest_bce(logits, truth, counted, share=share))
            dices.append(dice_loss(logits, truth, counted))
        pairs = [
            correspondence_loss(result.features[source], result.features[frame], clip.places[:, frame, index])
            for index, source in enumerate(clip.annotated)
            for frame in result.logits
        ]
        return torch.stack(masks).mean(), torch.stack(dices).mean(), torch.stack(pairs).mean()

    def _spec_of(self, step: int) -> ClipSpec:
        settings = self.settings
        minutes = self.state.minutes
        progress = settings.horizon.progress(steps=step, minutes=minutes)
        stage = schedule.stage_at(settings.stages, progress)
        return ClipSpec(
            seed=(settings.seed << 28) + step * 128,
            batch=stage.batch,
            frames=random.Random(step).randint(*stage.frames),
            side=stage.side,
            most_annotated=stage.most_annotated,
            difficulty=schedule.difficulty_at(progress),
            # Decoding costs per object; a third of the clips is enough to learn to tell two apart.
            targets=2 if random.Random(-step).random() < TWO_OBJECTS else 1,
            real_flow=0.0 if self.device.type == "cuda" else 0.7,
        )
