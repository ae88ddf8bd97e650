"""Training the network: steps, checkpoints, validation, and a time budget that always leaves usable weights."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from rotomem.errors import SettingError
from rotomem.training import schedule
from rotomem.training.checkpoint_state import TrainingState, load_state, round_state, save_state
from rotomem.training.clip_stream import ClipStream
from rotomem.training.clips import ClipSpec
from rotomem.training.schedule import Horizon, Stage
from rotomem.training.validation import Validation, ValidationScores
from rotomem.training.video_masking import tube_mask
from rotomem.tuning.clip_batch import ClipBatch
from rotomem.tuning.clip_pass import PassPlan, PassResult, propagate_clip
from rotomem.tuning.losses import correspondence_loss, dice_loss, hardest_bce
from rotomem.vos import Network, NetworkConfig, save_weights

log = logging.getLogger(__name__)

WEIGHTS, LOG = "weights.safetensors", "log.jsonl"
AVERAGE_RATE = 0.999
GRADIENT_NORM = 1.0
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


@dataclass(frozen=True)
class StepReport:
    """One step's losses, and where training stands."""

    step: int
    minutes: float
    progress: float
    loss: float
    mask: float
    dice: float
    correspondence: float
    seconds: float
    waited_s: float
    side: int


class VosTrainer:
    """Trains in a folder; what that already holds is gone on from."""

    def __init__(self, settings: TrainingSettings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.device = torch.device(settings.device)
        self.network, self.state = _start(settings, folder, self.device)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=settings.peak_rate,
            fused=self.device.type == "cuda",
        )
        self._hand_moments_to_optimizer()
        self._validation: Validation | None = None
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
            for module in (self.network.key_encoder, self.network.value_encoder, self.network.decoder):
                module.compile()
            if settings.network.prior_channels:
                self.network.decoder.prior_encoder.compile()

    @property
    def progress(self) -> float:
        return self.settings.horizon.progress(steps=self.state.step, minutes=self.state.minutes)

    def train(
        self,
        *,
        minutes: float | None = None,
        steps: int | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        on_validation: Callable[[ValidationScores], None] | None = None,
    ) -> ValidationScores:
        """Train until the horizon or this piece's budget is reached; the folder holds usable weights whenever it ends.

        Args:
            minutes, steps: of this piece; None for no such limit.
        """
        first_step, start = self.state.step, time.monotonic()
        saved = validated = start
        spare = 0.0
        with ClipStream(
            self._spec_of,
            first_step=first_step,
            workers=self.settings.workers,
            device=self.device,
            textures=self.settings.textures,
        ) as stream:
            while self.progress < 1:
                now = time.monotonic()
                if steps is not None and self.state.step - first_step >= steps:
                    break
                # The last validation and checkpoint must fit too.
                if minutes is not None and now - start + spare >= minutes * 60:
                    break
                report = self._timed_step(stream, now)
                self._log(asdict(report))
                if on_step is not None:
                    on_step(report)
                if time.monotonic() - saved > self.settings.checkpoint_every_s:
                    self.save()
                    saved = time.monotonic()
                if time.monotonic() - validated > self.settings.validate_every_s:
                    before = time.monotonic()
                    self._validate(on_validation)
                    validated = time.monotonic()
                    spare = validated - before + 2
        self.save()
        return self._validate(on_validation)

    def step_on(self, clip: ClipBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take one optimizer step; returns loss, mask, Dice and correspondence loss."""
        self.network.train()
        chance = random.Random(self.settings.seed * 1_000_003 + self.state.step)
        rate = schedule.learning_rate(self.settings.peak_rate, self.progress)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
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
        with self._mixed_precision():
            result = propagate_clip(self.network, clip, plan, visible=visible)
        mask, dice, correspondence = self._losses(clip, result)
        loss = mask + 0.5 * dice + schedule.correspondence_weight(self.progress) * correspondence
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for parameter in self.network.parameters():
            # Two-frame clips never update sensory memory; AdamW must count the same steps for every parameter all the
            # same, since a checkpoint keeps that count but once.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self._optimizer.step()
        self.state.step += 1
        self._average()
        return loss.detach(), mask.detach(), dice.detach(), correspondence.detach()

    def save(self) -> None:
        """Write the checkpoint to go on from, and the averaged weights in half precision to use."""
        self._take_moments_from_optimizer()
        round_state(self.state)
        save_state(self.state, self.folder)
        half = {name: tensor.half() for name, tensor in self.state.average.items()}
        save_weights(half, self.folder / WEIGHTS, self.network.config)

    def _timed_step(self, stream: ClipStream, start: float) -> StepReport:
        clip = stream.next()
        waited = time.monotonic() - start
        values = [float(value) for value in self.step_on(clip)]
        seconds = time.monotonic() - start
        self.state.minutes += seconds / 60
        if not all(value == value for value in values):
            raise SettingError(
                f"the loss is not a number at step {self.state.step}; go on from the last checkpoint with a lower rate"
            )
        loss, mask, dice, correspondence = values
        return StepReport(
            step=self.state.step,
            minutes=self.state.minutes,
            progress=self.progress,
            loss=loss,
            mask=mask,
            dice=dice,
            correspondence=correspondence,
            seconds=seconds,
            waited_s=waited,
            side=clip.images.shape[-1],
        )

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

    def _average(self) -> None:
        rate = min(AVERAGE_RATE, (1 + self.state.step) / (10 + self.state.step))
        with torch.no_grad():
            names = list(self.state.average)
            torch._foreach_lerp_(
                [self.state.average[name] for name in names], [self.state.weights[name] for name in names], 1 - rate
            )

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

    def _validate(self, on_validation: Callable[[ValidationScores], None] | None) -> ValidationScores:
        if self._validation is None:
            self._validation = Validation(self.device, groups=self.settings.validation_groups)
        network = Network(self.network.config)
        network.load_state_dict(self.state.average)
        scores = self._validation.score(network.to(self.device))
        self._log({"step": self.state.step, "minutes": self.state.minutes, "validation": asdict(scores)})
        if on_validation is not None:
            on_validation(scores)
        return scores

    def _log(self, row: dict[str, object]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _mixed_precision(self) -> contextlib.AbstractContextManager[object]:
        if self.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _hand_moments_to_optimizer(self) -> None:
        for name, parameter in self.network.named_parameters():
            if name in self.state.first_moment:
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.state.step), device=self._step_device()),
                    "exp_avg": self.state.first_moment[name].to(self.device),
                    "exp_avg_sq": self.state.second_moment[name].to(self.device),
                }

    def _step_device(self) -> torch.device:
        return self.device if self.device.type == "cuda" else torch.device("cpu")

    def _take_moments_from_optimizer(self) -> None:
        for name, parameter in self.network.named_parameters():
            moments = self._optimizer.state.get(parameter)
            if moments:
                self.state.first_moment[name] = moments["exp_avg"]
                self.state.second_moment[name] = moments["exp_avg_sq"]


def _start(settings: TrainingSettings, folder: Path, device: torch.device) -> tuple[Network, TrainingState]:
    """The network and state to begin with: those of the folder's checkpoint, or new ones."""
    torch.manual_seed(settings.seed)
    network = Network(settings.network).to(device)
    weights = dict(network.named_parameters())
    saved = load_state(folder)
    if saved is None:
        average = {name: weight.detach().clone() for name, weight in weights.items()}
        return network, TrainingState(settings.network.to_json(), dict(weights), average)
    if NetworkConfig.from_json(saved.network_config) != settings.network:
        raise SettingError(f"{folder} holds the training of another network; give --size as there, or another folder")
    network.load_state_dict(saved.weights)
    saved.weights = dict(weights)
    saved.average = {name: tensor.to(device) for name, tensor in saved.average.items()}
    return network, saved
