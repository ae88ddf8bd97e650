"""Where a flow-predicted mask is wrong: the appearance-based mask selector (section 3.2, appendix 0.A.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rotomem.errors import SettingError
from rotomem.motion.config import SelectorConfig
from rotomem.motion.frames import check_frame_size
from rotomem.motion.transformer import SCORES_AT_ONCE, ClipEncoder
from rotomem.motion.unet import Decoder, RgbMaskEncoder

SCALES = 4
STRIDE = 1 << SCALES
FALSE_POSITIVE, CORRECT, FALSE_NEGATIVE = 0, 1, 2
"""Channels of the error map. The middle one is what the mask has right, object and background."""
ERROR_CHANNELS = 3
FRAMES_AT_ONCE = 8


class ErrorNetwork(nn.Module):
    """The selector's network; published tensors have its name in front of theirs."""

    def __init__(self, config: SelectorConfig) -> None:
        super().__init__()
        width = config.token_width
        self.encoder = RgbMaskEncoder(1, config.width, SCALES)
        self.mlp = nn.Linear(width + config.feature_dim, width)
        self.transformer_enc = ClipEncoder(width, config.heads, config.feedforward, config.layers)
        self.decoder = Decoder(config.width, SCALES, ERROR_CHANNELS)

    def forward(
        self, images: Tensor, masks: Tensor, features: Tensor, frames_at_once: int, scores_at_once: int
    ) -> Tensor:
        """Return error logits (T, 3, H, W) of one object's masks (T, H, W) in one clip.

        Without gradients, frames pass the U-Net ``frames_at_once`` at a time, and what its decoder needs of its encoder
        is made a second time instead of kept, so that memory does not grow with the clip.
        """
        chunks = len(images) if torch.is_grad_enabled() else frames_at_once
        pieces = list(zip(torch.split(images, chunks), torch.split(masks[:, None], chunks), strict=True))
        bottlenecks = []
        for piece_images, piece_masks in pieces:
            *skips, coarsest = self.encoder.encode(piece_images, piece_masks)
            bottlenecks.append(coarsest.permute(0, 2, 3, 1))
        tokens = self.mlp(torch.cat([torch.cat(bottlenecks), features], dim=3))
        clip = self.transformer_enc(tokens[None], scores_at_once=scores_at_once)[0].permute(0, 3, 1, 2)
        logits = []
        for (piece_images, piece_masks), piece_clip in zip(pieces, torch.split(clip, chunks), strict=True):
            if len(pieces) > 1:
                *skips, _ = self.encoder.encode(piece_images, piece_masks)
            logits.append(self.decoder(piece_clip, skips))
        return torch.cat(logits)


class Selector(nn.Module):
    """Predicts where masks are too large and too small. The tensors have the published selector's names.

    An object's masks are judged on their own, from all frames of the clip together: by how steadily they change, and
    by whether they cover one semantic thing.
    """

    def __init__(self, config: SelectorConfig | None = None) -> None:
        super().__init__()
        self.config = config or SelectorConfig()
        self.selector = ErrorNetwork(self.config)

    def forward(
        self,
        images: Tensor,
        masks: Tensor,
        features: Tensor,
        *,
        frames_at_once: int = FRAMES_AT_ONCE,
        scores_at_once: int = SCORES_AT_ONCE,
    ) -> Tensor:
        """Return the error maps' logits (B, T, K, 3, H, W); their softmax over axis 3 is the error map.

        The channels are :data:`FALSE_POSITIVE`, :data:`CORRECT` and :data:`FALSE_NEGATIVE`.

        Args:
            images: (B, T, 3, H, W) normalised frames, H and W multiples of 16; any T.
            masks: (B, T, K, H, W) in {0, 1}; any K.
            features: (B, T, H/16, W/16, feature_dim) appearance features: DINO ViT-S/16's.
            frames_at_once: frames that pass the U-Net together when no gradients are asked for.
            scores_at_once: query-key pairs per block of attention. Both decide memory, never the result.

        Raises:
            SettingError: shapes that do not belong together.
        """
        self._check(images, masks, features)
        clips = []
        for clip_images, clip_masks, clip_features in zip(images, masks, features, strict=True):
            objects = [
                self.selector(clip_images, object_masks, clip_features, frames_at_once, scores_at_once)
                for object_masks in clip_masks.unbind(dim=1)
            ]
            clips.append(torch.stack(objects, dim=1))
        return torch.stack(clips)

    def _check(self, images: Tensor, masks: Tensor, features: Tensor) -> None:
        batch, count = images.shape[:2]
        height, width = images.shape[-2:]
        check_frame_size(height, width, STRIDE)
        grid = (batch, count, height // STRIDE, width // STRIDE, self.config.feature_dim)
        if tuple(features.shape) != grid:
            raise SettingError(
                f"the selector needs features of shape {grid} for these frames, not {tuple(features.shape)}"
            )
        if masks.ndim != 5 or not masks.shape[2] or masks[:, :, 0].shape != images[:, :, 0].shape:
            raise SettingError(f"masks of shape {tuple(masks.shape)} do not fit frames of shape {tuple(images.shape)}")


OWN_LEAST_ERROR = 0.3
"""Of a pixel, from which the errors count that our own selectors predict. So young, they doubt every pixel a little,
which in sum is more than what they see: on held-out synthetic shots the masks that they select have a J of 0.695 with
all doubts, no more than all masks have, and 0.750 so. It was chosen there."""


def least_error(config: SelectorConfig) -> float:
    """Return the error of a pixel from which it counts: 0 for the published selector, whose errors are all summed."""
    return 0.0 if config.is_published else OWN_LEAST_ERROR


def relative_error(error_map: Tensor, masks: Tensor, *, least: float = 0.0) -> Tensor:
    """Return the predicted area in error over the mask's area (..., T, K), 0 for a perfect mask, without a bound above.

    As in the published code probabilities are summed, and the area is one pixel larger than it is, so an empty mask's
    error is finite.

    Args:
        error_map: (..., T, K, 3, H, W) probabilities.
        masks: (..., T, K, H, W) in {0, 1}.
        least: pixels that are less likely wrong do not count, but where the mask is empty; see :func:`least_error`.
    """
    wrong = error_map[..., FALSE_POSITIVE, :, :] + error_map[..., FALSE_NEGATIVE, :, :]
    area = masks.sum(dim=(-2, -1))
    counts = (wrong >= least) | (area == 0)[..., None, None]
    return (wrong * counts).sum(dim=(-2, -1)) / (area + 1)


def exemplar_scores(error: Tensor) -> Tensor:
    """Return scores (..., T, K) that sum to 1 over the clip: the less relative error (..., T, K), the more."""
    return torch.softmax(-error, dim=-2)


def choose_exemplars(scores: Tensor, count: int) -> Tensor:
    """Return the frames (..., K, t) of the ``count`` best masks of each object, ascending; t = min(count, T).

    Args:
        scores: (..., T, K).
    """
    best = scores.transpose(-2, -1).topk(min(count, scores.shape[-2]), dim=-1).indices
    return best.sort(dim=-1).values
