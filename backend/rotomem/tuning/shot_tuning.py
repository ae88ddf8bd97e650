"""Tuning a copy of the network to one shot, from its annotated frames alone.

The shipped weights are never touched. A tuned copy is kept by shot and revision, and the next round goes on from it.
"""

from __future__ import annotations

import copy
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from rotomem.errors import WeightsError
from rotomem.tuning.clip_pass import PassPlan, propagate_clip
from rotomem.tuning.losses import dice_loss, hardest_bce
from rotomem.tuning.shot_augmentation import AnnotatedFrames, sample_pairs
from rotomem.vos import Network, load_network, save_weights

log = logging.getLogger(__name__)

AVERAGE_RATE = 0.97
HARD_SHARE = 0.25
GRADIENT_NORM = 1.0
WARM_UP = 0.05
SHARE = "tuning_share"
"""Note of a kept network: see ``TunedNetwork.share``."""


@dataclass(frozen=True)
class TuningSettings:
    """How a network is tuned to a shot.

    Args:
        most_steps: tuning ends after as many; the same steps give the same network.
        seconds: budget; tuning ends at it if that comes first.
        peak_rate: of learning.
        side: of the views learned from, pixels, a multiple of 16; batch: how many in a step.
        freeze_encoders: leave keys and values as shipped; only the decoder and its cue learn.
    """

    seconds: float = 85.0
    most_steps: int = 120
    peak_rate: float = 6e-4
    side: int = 160
    batch: int = 2
    freeze_encoders: bool = False
    seed: int = 0


@dataclass(frozen=True)
class TuningProgress:
    """Where tuning stands: its share of the budget from 0 to 1, steps taken, the last step's loss."""

    share: float
    steps: int
    loss: float


def tuned_network(
    network: Network,
    frames: AnnotatedFrames,
    settings: TuningSettings | None = None,
    *,
    on_progress: Callable[[TuningProgress], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Network:
    """Return a copy of ``network``, in evaluation mode, that knows this shot's objects better.

    Args:
        network: the shipped one, or that of an earlier round of the same shot; left as it is.
        frames: on the network's device.
        cancelled: asked after every step; what was learned until then is returned.
    """
    settings = settings or TuningSettings()
    learner = _copy_of(network)
    if settings.freeze_encoders:
        for module in (learner.key_encoder, learner.key_proj, learner.value_encoder):
            module.requires_grad_(False)
    learned = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=settings.peak_rate, weight_decay=0.0)
    average = [parameter.detach().clone() for parameter in learned]
    device = next(learner.parameters()).device
    generator = torch.Generator(device=device).manual_seed(settings.seed)
    start, steps, share = time.monotonic(), 0, 0.0
    while share < 1 and not cancelled():
        for group in optimizer.param_groups:
            group["lr"] = settings.peak_rate * min(1.0, (share + 0.01) / WARM_UP) * (1 - 0.9 * share)
        loss = _take_step(learner, frames, settings, optimizer, learned, generator)
        steps += 1
        share = min(1.0, max((time.monotonic() - start) / settings.seconds, steps / settings.most_steps))
        rate = min(AVERAGE_RATE, steps / (steps + 10))
        torch._foreach_lerp_(average, [parameter.detach() for parameter in learned], 1 - rate)
        if on_progress is not None:
            on_progress(TuningProgress(share, steps, loss))
    with torch.no_grad():
        for parameter, value in zip(learned, average, strict=True):
            parameter.copy_(value)
    log.info("tuned to %d annotated frames in %d steps, %.0f s", len(frames.images), steps, time.monotonic() - start)
    return learner.requires_grad_(False).eval()


def _take_step(
    learner: Network,
    frames: AnnotatedFrames,
    settings: TuningSettings,
    optimizer: torch.optim.Optimizer,
    learned: list[torch.nn.Parameter],
    generator: torch.Generator,
) -> float:
    memorised = 1 + int(torch.randint(min(2, len(frames.images)), (), generator=generator, device=generator.device))
    clip, counted = sample_pairs(
        frames, batch=settings.batch, memorised=memorised, side=settings.side, generator=generator
    )
    mixed = torch.autocast(generator.device.type, dtype=torch.bfloat16, enabled=generator.device.type == "cuda")
    with torch.enable_grad(), mixed:
        (logits,) = propagate_clip(learner, clip, PassPlan()).logits.values()
        truth = clip.truth[:, -1]
        loss = hardest_bce(logits, truth, counted, share=HARD_SHARE) + 0.5 * dice_loss(logits, truth, counted)
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_norm_(learned, GRADIENT_NORM)
    optimizer.step()
    return float(loss.detach())


def _copy_of(network: Network) -> Network:
    learner = copy.deepcopy(network)
    return learner.requires_grad_(True).train()


@dataclass(frozen=True)
class TunedNetwork:
    """A network for one shot.

    Args:
        share: of the steps of a first round that it has had, in (0, 1]; less than 1 where time was too short.
    """

    network: Network
    share: float = 1.0


class TuningCache:
    """Tuned networks in a folder, by shot, revision and the weights that they started from.

    Args:
        folder: made when something is kept.
        base_sha256: of the shipped weights; a tuned network of other weights is never found.
    """

    KEPT_PER_SHOT = 2

    def __init__(self, folder: Path, base_sha256: str) -> None:
        self._folder = folder
        self._base = base_sha256[:16]

    def find(self, shot: str, revision: int, *, device: torch.device | str = "cpu") -> TunedNetwork | None:
        """The network tuned to just this revision of a shot's annotations, if it was kept."""
        return self._load(self._path(shot, revision), device)

    def latest(self, shot: str, *, device: torch.device | str = "cpu") -> TunedNetwork | None:
        """The network of the newest revision that was kept, to go on from."""
        for path in reversed(self._kept(shot)):
            tuned = self._load(path, device)
            if tuned is not None:
                return tuned
        return None

    def keep(self, shot: str, revision: int, tuned: TunedNetwork) -> None:
        """Keep a tuned network, in half precision, and forget the shot's oldest. Raises ``OutputUnwritableError``."""
        network = tuned.network
        tensors = {name: tensor.half() for name, tensor in network.state_dict().items()}
        save_weights(tensors, self._path(shot, revision), network.config, {SHARE: repr(tuned.share)})
        for path in self._kept(shot)[: -self.KEPT_PER_SHOT]:
            path.unlink(missing_ok=True)
            path.with_name(path.name + ".sha256").unlink(missing_ok=True)

    def _path(self, shot: str, revision: int) -> Path:
        safe = re.sub(r"[^A-Za-z0-9_-]", "_", shot)
        return self._folder / f"{safe}-{self._base}-{revision:06d}.safetensors"

    def _kept(self, shot: str) -> list[Path]:
        stem = self._path(shot, 0).name.removesuffix("000000.safetensors")
        return sorted(self._folder.glob(f"{stem}*.safetensors"))

    @staticmethod
    def _load(path: Path, device: torch.device | str) -> TunedNetwork | None:
        if not path.exists():
            return None
        try:
            loaded = load_network(path, device=device)
            return TunedNetwork(loaded.network, float(loaded.notes.get(SHARE, 1.0)))
        except WeightsError as error:
            log.warning("a tuned network is tuned anew: %s", error)
            return None
