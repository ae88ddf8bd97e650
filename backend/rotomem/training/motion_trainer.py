"""Training the flow segmenter, the selector and the corrector on synthetic clips."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from rotomem.engine_names import SHIPPED_WEIGHTS
from rotomem.motion import (
    Corrector,
    CorrectorConfig,
    FlowConfig,
    FlowSegmenter,
    Selector,
    SelectorConfig,
    normalise_frames,
)
from rotomem.motion.losses import error_map_loss, flow_loss, mask_losses, reconstruction_loss, true_error_map
from rotomem.propagation.motion_networks import load_key_features
from rotomem.training import motion_start, schedule
from rotomem.training.clip_stream import ClipStream
from rotomem.training.motion_clips import MotionClips, MotionSpec, make_motion_clips
from rotomem.training.motion_exemplars import true_exemplars
from rotomem.training.motion_validation import (
    CorrectorScores,
    FlowScores,
    SelectorScores,
    held_out_clips,
    score_corrector,
    score_flow,
    score_selector,
)
from rotomem.training.schedule import Horizon
from rotomem.training.trainer import Scores, Trainer
from rotomem.tuning.losses import dice_loss
from rotomem.vos.checkpoint import Configuration

Network = TypeVar("Network", bound=nn.Module)

DROP_BACKGROUND = 0.5
"""Chance of each background query of the corrector to be left out of a step."""
OBJECT_MASKED = 0.5
"""Object Masked Attention: chance of an exemplar key outside the masks to be hidden. Source: Liang et al., Rethinking
Video Segmentation with Masked Video Consistency (2024), section 3.3."""
WITHOUT_MASKS = 0.3
"""Share of clips whose flow-predicted masks the corrector's upsampler is not shown, as it will not be once adapted."""


@dataclass(frozen=True)
class ClipShape:
    """Clips in a step, their frames, and pixels."""

    batch: int
    frames: int
    height: int
    width: int


CPU_SHAPES = {
    "flow": ClipShape(3, 4, 64, 112),
    "selector": ClipShape(1, 5, 96, 160),
    "corrector": ClipShape(1, 5, 96, 160),
}
"""The segmenter's are small: a CPU takes more steps so, and norms by instance and positions from -1 to 1 carry over to
other sizes. What sees appearance needs the size that it is used at: features are 16 and 8 times coarser."""
CUDA_SHAPES = {
    "flow": ClipShape(16, 12, 128, 224),
    "selector": ClipShape(8, 8, 128, 224),
    "corrector": ClipShape(8, 10, 128, 224),
}


@dataclass(frozen=True)
class MotionTrainingSettings:
    """How to train.

    Args:
        horizon: of the whole training.
        shape: of the clips.
        peak_rate: of learning.
        workers: processes that make clips; 0 makes them in this one.
        textures: folder of photographs.
        key_weights: of the key encoder whose features selector and corrector see.
        validate_every_s: seconds between validations; checkpoint_every_s likewise.
        validation_groups: of four held-out clips.
    """

    horizon: Horizon
    shape: ClipShape
    seed: int = 1
    device: str = "cpu"
    peak_rate: float = 2e-3
    weight_decay: float = 0.01
    workers: int = 1
    textures: Path | None = None
    key_weights: Path = SHIPPED_WEIGHTS
    validate_every_s: float = 240.0
    checkpoint_every_s: float = 120.0
    validation_groups: int = 3


class _MotionTrainer(Trainer[Network, MotionClips, Scores]):
    """What the three have in common: their clips.

    Attributes:
        estimated_flow: chance of a step that its flow is DIS's. Selector and corrector see no flow.
        sprite_sizes: of the clips' sprites, step by step in turn; held-out clips have the first. Appearance needs more
            pixels than motion: at 1, half of the objects cover less than a fortieth of the picture, a few cells of the
            features.
        slow: what learns at a share of the rate.
    """

    estimated_flow = 0.0
    sprite_sizes: tuple[float, ...] = (1.6,)
    slow: tuple[type[nn.Module], ...] = motion_start.TRANSFORMERS

    def __init__(
        self, settings: MotionTrainingSettings, folder: Path, make: type[Network], config: Configuration
    ) -> None:
        self.settings = settings
        self._make, self.config = make, config
        super().__init__(settings, folder, self._fresh, config)
        self._held_out: list[MotionClips] = []

    def clip_stream(self, first_step: int) -> ClipStream[MotionSpec, MotionClips]:
        return ClipStream(
            self.spec_of,
            make_motion_clips,
            first_step=first_step,
            workers=self.settings.workers,
            device=self.device,
            textures=self.settings.textures,
        )

    def spec_of(self, step: int) -> MotionSpec:
        """Return what a step is trained on."""
        progress = self.settings.horizon.progress(steps=step, minutes=self.state.minutes)
        shape = self.settings.shape
        return MotionSpec(
            seed=(self.settings.seed << 28) + step * 128,
            batch=shape.batch,
            frames=shape.frames,
            height=shape.height,
            width=shape.width,
            difficulty=schedule.difficulty_at(progress),
            real_flow=0.0 if self.device.type == "cuda" else self.estimated_flow,
            sprite_size=self.sprite_sizes[step % len(self.sprite_sizes)],
        )

    def score_average(self) -> Scores:
        if not self._held_out:
            self._held_out = held_out_clips(
                self.settings.validation_groups, device=self.device, sprite_size=self.sprite_sizes[0]
            )
        network = self._fresh().to(self.device)
        network.load_state_dict(self.state.average)
        return self.score(network, self._held_out)

    @abstractmethod
    def score(self, network: Network, clips: list[MotionClips]) -> Scores:
        """Return the held-out scores of a network."""

    def rate_shares(self) -> Mapping[str, float]:
        return motion_start.rate_shares(self.network, slow=self.slow)

    def _fresh(self) -> Network:
        network = self._make(self.config)
        motion_start.begin_gently(network)
        return network


class FlowTrainer(_MotionTrainer[FlowSegmenter, FlowScores]):
    """Trains the flow segmenter, with OCLR's losses.

    Most flow is exact with an estimator's faults: on clips as hard as these (thin, camouflaged, grainy) DIS itself sees
    so little that even the best threshold on its length gives J 0.35, against 0.62: there is nothing to learn from.
    """

    estimated_flow = 0.15
    sprite_sizes = (1.0, 1.6)
    slow = motion_start.ALL_BUT_CONVOLUTIONS

    def __init__(self, settings: MotionTrainingSettings, folder: Path, config: FlowConfig | None = None) -> None:
        super().__init__(settings, folder, FlowSegmenter, config or FlowConfig.small())
        if self.device.type == "cuda":
            for module in (self.network.encoder, self.network.decoder_am):
                module.compile()

    def losses_on(self, clip: MotionClips) -> dict[str, Tensor]:
        with self.mixed_precision():
            found = self.network(clip.flow)
        loss, masks, order = flow_loss(
            found.amodal_logits, found.order, clip.amodal, clip.modal, clip.depth, clip.present > 0
        )
        return {"loss": loss, "mask": masks, "order": order}

    def score(self, network: FlowSegmenter, clips: list[MotionClips]) -> FlowScores:
        return score_flow(network, clips)


class SelectorTrainer(_MotionTrainer[Selector, SelectorScores]):
    """Trains the selector: each channel's cross-entropy on the error map."""

    def __init__(self, settings: MotionTrainingSettings, folder: Path, config: SelectorConfig | None = None) -> None:
        self.features = load_key_features(settings.key_weights, device=settings.device)
        super().__init__(settings, folder, Selector, config or SelectorConfig.small(self.features.coarse_dim))
        if self.device.type == "cuda":
            for module in (self.network.selector.encoder, self.network.selector.decoder):
                module.compile()

    def _fresh(self) -> Selector:
        network = super()._fresh()
        motion_start.begin_without_errors(network)
        return network

    def losses_on(self, clip: MotionClips) -> dict[str, Tensor]:
        images = normalise_frames(clip.images)
        # One object of each clip: they are judged one by one, and other clips teach more than another object.
        chosen = torch.randint(2, (len(images),), generator=torch.Generator().manual_seed(self.state.step))
        index = chosen.to(self.device)[:, None, None, None, None].expand(-1, images.shape[1], 1, *images.shape[-2:])
        masks, truth = clip.masks.gather(2, index), clip.modal.gather(2, index)
        with self.mixed_precision():
            with torch.no_grad():
                coarse = self.features.coarse(images.flatten(0, 1))
            coarse = torch.unflatten(coarse, 0, tuple(images.shape[:2]))
            logits = self.network(images, masks, coarse)
        return {"loss": error_map_loss(logits, true_error_map(masks, truth))}

    def score(self, network: Selector, clips: list[MotionClips]) -> SelectorScores:
        return score_selector(network, self.features, clips)


class CorrectorTrainer(_MotionTrainer[Corrector, CorrectorScores]):
    """Trains the corrector: masks with their boundaries, and the reconstruction of features.

    Dice is not among the paper's losses. Cross-entropy over the picture makes small objects count by their area, and a
    young corrector, in doubt where they are, takes them away.
    """

    def __init__(self, settings: MotionTrainingSettings, folder: Path, config: CorrectorConfig | None = None) -> None:
        self.features = load_key_features(settings.key_weights, device=settings.device)
        super().__init__(settings, folder, Corrector, config or CorrectorConfig.small(self.features.fine_dim))
        if self.device.type == "cuda":
            for module in (self.network.rgbmaskenc.encoder_rgbmask, self.network.rgbmaskdec):
                module.compile()

    def _fresh(self) -> Corrector:
        network = super()._fresh()
        motion_start.begin_without_changes(network)
        return network

    def losses_on(self, clip: MotionClips) -> dict[str, Tensor]:
        images = normalise_frames(clip.images)
        batch = len(images)
        chance = random.Random(self.settings.seed * 1_000_003 + self.state.step)
        generator = torch.Generator(device=self.device).manual_seed(chance.getrandbits(40))

        def some(share: float, *shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, device=self.device) < share

        with self.mixed_precision():
            with torch.no_grad():
                fine = self.features.fine(images.flatten(0, 1))
            fine = torch.unflatten(fine, 0, tuple(images.shape[:2])).float()
            exemplars = true_exemplars(clip, fine)
            background = ~some(DROP_BACKGROUND, batch, self.network.config.background)
            background[:, 0] |= ~background.any(dim=1)
            hidden = some(OBJECT_MASKED, *exemplars.features.shape[:-1])
            correction = self.network(
                images,
                clip.masks,
                fine,
                exemplars,
                shown=~some(WITHOUT_MASKS, batch),
                kept_background=background,
                kept_exemplars=~hidden | inside_masks(exemplars.masks, tuple(fine.shape[2:4])),
            )
            rebuilt = self.network.reconstruct(correction.queries, fine.shape[2], fine.shape[3])
        masks = mask_losses(correction.logits, clip.modal).mean()
        present = clip.present.repeat_interleave(images.shape[1], dim=0)
        dice = dice_loss(correction.logits.flatten(0, 1), clip.modal.flatten(0, 1), present)
        features = reconstruction_loss(rebuilt, fine, clip.modal)
        return {"loss": masks + dice + features, "mask": masks, "dice": dice, "features": features}

    def score(self, network: Corrector, clips: list[MotionClips]) -> CorrectorScores:
        return score_corrector(network, self.features, clips)


def inside_masks(masks: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return (B, K, t, h, w), whether any pixel of a cell is in the mask (B, K, t, H, W)."""
    small = nn.functional.adaptive_max_pool2d(masks.flatten(0, 2)[:, None], size)[:, 0]
    return torch.unflatten(small, 0, tuple(masks.shape[:3])) > 0


TRAINERS = {"flow": FlowTrainer, "selector": SelectorTrainer, "corrector": CorrectorTrainer}
