"""What training any network takes: steps, checkpoints, validation, and a time budget that always leaves weights."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from rotomem.errors import SettingError
from rotomem.training import schedule
from rotomem.training.checkpoint_state import TrainingState, load_state, round_state, save_state
from rotomem.training.schedule import Horizon
from rotomem.vos import save_weights
from rotomem.vos.checkpoint import Configuration

log = logging.getLogger(__name__)

WEIGHTS, LOG = "weights.safetensors", "log.jsonl"
AVERAGE_RATE = 0.999
GRADIENT_NORM = 1.0

Network = TypeVar("Network", bound=nn.Module)
Scores = TypeVar("Scores")


class Batch(Protocol):
    """What a step learns from."""

    @property
    def images(self) -> Tensor:
        """(B, T, 3, H, W)."""


Clips = TypeVar("Clips", bound=Batch)
ClipsOut = TypeVar("ClipsOut", bound=Batch, covariant=True)


class Stream(Protocol[ClipsOut]):
    """Batches in order; to be used in a ``with`` statement."""

    def __enter__(self) -> Stream[ClipsOut]: ...

    def __exit__(self, *raised: Any) -> None: ...

    def next(self) -> ClipsOut:
        """Return the next step's batch."""


class Settings(Protocol):
    """What every trainer is told; see ``vos_trainer.TrainingSettings``."""

    @property
    def horizon(self) -> Horizon: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def peak_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def validate_every_s(self) -> float: ...
    @property
    def checkpoint_every_s(self) -> float: ...


@dataclass(frozen=True)
class StepReport:
    """One step's losses by name, the one that is minimised as ``loss``, and where training stands."""

    step: int
    minutes: float
    progress: float
    losses: Mapping[str, float]
    seconds: float
    waited_s: float
    side: int


class Trainer(ABC, Generic[Network, Clips, Scores]):
    """Trains in a folder; what that already holds is gone on from.

    Args:
        make_network: called with torch seeded.
        config: of the network; a folder's checkpoint must be of the same.
    """

    def __init__(
        self, settings: Settings, folder: Path, make_network: Callable[[], Network], config: Configuration
    ) -> None:
        self.folder = folder
        self.device = torch.device(settings.device)
        self._common = settings
        self._config = config
        torch.manual_seed(settings.seed)
        self.network = make_network().to(self.device)
        self.state = self._begin()
        self._optimizer = torch.optim.AdamW(
            self._parameter_groups(), lr=settings.peak_rate, fused=self.device.type == "cuda"
        )
        self._hand_moments_to_optimizer()
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")

    @abstractmethod
    def clip_stream(self, first_step: int) -> Stream[Clips]:
        """Return the batches from a step on."""

    @abstractmethod
    def losses_on(self, clip: Clips) -> dict[str, Tensor]:
        """Return losses by name; ``loss`` is minimised."""

    @abstractmethod
    def score_average(self) -> Scores:
        """Return the held-out scores, a dataclass, of the averaged weights."""

    def rate_shares(self) -> Mapping[str, float]:
        """Return by name the share of the rate of learning at which a parameter learns; 1 where it is not named."""
        return {}

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Matrices, which decay, and the rest, by their share of the rate."""
        shares = self.rate_shares()
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            decay = self._common.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((decay, shares.get(name, 1.0)), []).append(parameter)
        return [
            {"params": parameters, "weight_decay": decay, "share": share}
            for (decay, share), parameters in groups.items()
        ]

    @property
    def progress(self) -> float:
        return self._common.horizon.progress(steps=self.state.step, minutes=self.state.minutes)

    def train(
        self,
        *,
        minutes: float | None = None,
        steps: int | None = None,
        on_step: Callable[[StepReport], None] | None = None,
        on_validation: Callable[[Scores], None] | None = None,
    ) -> Scores:
        """Train until the horizon or this piece's budget is reached; the folder holds usable weights whenever it ends.

        Args:
            minutes, steps: of this piece; None for no such limit.
        """
        first_step, start = self.state.step, time.monotonic()
        saved = validated = start
        spare = 0.0
        with self.clip_stream(first_step) as stream:
            while self.progress < 1:
                now = time.monotonic()
                if steps is not None and self.state.step - first_step >= steps:
                    break
                # The last validation and checkpoint must fit too.
                if minutes is not None and now - start + spare >= minutes * 60:
                    break
                report = self._timed_step(stream, now)
                row = asdict(report)
                self._log({**row.pop("losses"), **row})
                if on_step is not None:
                    on_step(report)
                if time.monotonic() - saved > self._common.checkpoint_every_s:
                    self.save()
                    saved = time.monotonic()
                if time.monotonic() - validated > self._common.validate_every_s:
                    before = time.monotonic()
                    self._validate(on_validation)
                    validated = time.monotonic()
                    spare = validated - before + 2
        self.save()
        return self._validate(on_validation)

    def step_on(self, clip: Clips) -> dict[str, Tensor]:
        """Take one optimizer step; returns the losses by name."""
        self.network.train()
        rate = schedule.learning_rate(self._common.peak_rate, self.progress)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group["share"]
        losses = self.losses_on(clip)
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(losses["loss"])
        for parameter in self.network.parameters():
            # Some clips leave a part of the network out; AdamW must count the same steps for every parameter all the
            # same, since a checkpoint keeps that count but once.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), GRADIENT_NORM)
        self._optimizer.step()
        self.state.step += 1
        self._average()
        return {name: loss.detach() for name, loss in losses.items()}

    def save(self) -> None:
        """Write the checkpoint to go on from, and the averaged weights in half precision to use."""
        self._take_moments_from_optimizer()
        round_state(self.state)
        save_state(self.state, self.folder)
        half = {name: tensor.half() for name, tensor in self.state.average.items()}
        save_weights(half, self.folder / WEIGHTS, self._config)

    def mixed_precision(self) -> contextlib.AbstractContextManager[object]:
        """Return the context to run networks in: bfloat16 on CUDA."""
        if self.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _timed_step(self, stream: Stream[Clips], start: float) -> StepReport:
        clip = stream.next()
        waited = time.monotonic() - start
        losses = {name: float(value) for name, value in self.step_on(clip).items()}
        seconds = time.monotonic() - start
        self.state.minutes += seconds / 60
        if not all(value == value for value in losses.values()):
            raise SettingError(
                f"the loss is not a number at step {self.state.step}; go on from the last checkpoint with a lower rate"
            )
        return StepReport(
            step=self.state.step,
            minutes=self.state.minutes,
            progress=self.progress,
            losses=losses,
            seconds=seconds,
            waited_s=waited,
            side=clip.images.shape[-1],
        )

    def _average(self) -> None:
        rate = min(AVERAGE_RATE, (1 + self.state.step) / (10 + self.state.step))
        with torch.no_grad():
            names = list(self.state.average)
            torch._foreach_lerp_(
                [self.state.average[name] for name in names], [self.state.weights[name] for name in names], 1 - rate
            )

    def _validate(self, on_validation: Callable[[Scores], None] | None) -> Scores:
        scores = self.score_average()
        figures = asdict(scores)  # type: ignore[call-overload]
        self._log({"step": self.state.step, "minutes": self.state.minutes, "validation": figures})
        if on_validation is not None:
            on_validation(scores)
        return scores

    def _log(self, row: dict[str, object]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

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

    def _begin(self) -> TrainingState:
        """The state to begin with: that of the folder's checkpoint, or a new one."""
        weights = dict(self.network.named_parameters())
        saved = load_state(self.folder)
        if saved is None:
            average = {name: weight.detach().clone() for name, weight in weights.items()}
            return TrainingState(self._config.to_json(), dict(weights), average)
        if json.loads(saved.network_config) != json.loads(self._config.to_json()):
            raise SettingError(
                f"{self.folder} holds the training of another network; give --size as there, or another folder"
            )
        self.network.load_state_dict(saved.weights)
        saved.weights = dict(weights)
        saved.average = {name: tensor.to(self.device) for name, tensor in saved.average.items()}
        return saved
