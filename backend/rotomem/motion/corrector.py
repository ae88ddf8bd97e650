"""Masks corrected by the appearance of exemplars: the mask corrector (section 3.3, appendix 0.A.2)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotomem.errors import SettingError
from rotomem.motion.config import CorrectorConfig
from rotomem.motion.frames import check_frame_size, grid_positions
from rotomem.motion.slot_attention import SlotDecoderLayer
from rotomem.motion.transformer import Mlp, Projection, head_products
from rotomem.motion.unet import Decoder, RgbMaskEncoder

SCALES = 3
STRIDE = 1 << SCALES
EPSILON = 1e-9
GIVEN_LOGIT = 5.0
"""What a given mask adds to the logits inside, where the configuration says ``corrects``."""


class Exemplars(NamedTuple):
    """The masks that guide a correction, with their frames' appearance.

    ``masks`` (B, K, t, H, W) in {0, 1}; ``features`` (B, K, t, H/8, W/8, feature_dim); ``weights`` (B, K, t) at least
    0, the selector's scores; ``frames`` (B, K, t) where in the clip they are. Each object has frames of its own; any t
    from 1.
    """

    masks: Tensor
    features: Tensor
    weights: Tensor
    frames: Tensor


class Correction(NamedTuple):
    """``logits`` (B, T, K, H, W) of the corrected masks; ``queries`` (B, Q, T, feature_dim), the objects' first."""

    logits: Tensor
    queries: Tensor


class Reconstruction(NamedTuple):
    """``features`` (B, Q, T, h, w, feature_dim) of each query; ``alpha`` (B, Q, T, h, w, 1), 1 in sum over Q."""

    features: Tensor
    alpha: Tensor


class RgbMaskKeys(nn.Module):
    """What the frames, the flow-predicted masks and the exemplars say before queries look at them."""

    def __init__(self, config: CorrectorConfig) -> None:
        super().__init__()
        self.query_count = config.objects + config.background
        self.encoder_rgbmask = RgbMaskEncoder(config.objects, config.width, SCALES)
        self.encoder_posi = Projection(2, config.feature_dim)
        self.encoder_queryinfo = Projection(1, config.feature_dim)

    def skips(self, images: Tensor, masks: Tensor) -> list[Tensor]:
        """Return the U-Net's features of frames (N, 3, H, W) and masks (N, K, H, W) at full, half and quarter size.

        The published network has a fourth block, at stride 8, whose output nothing reads; it is not run.
        """
        return self.encoder_rgbmask.encode(images, masks, bottleneck=False)

    def exemplar_keys(self, exemplars: Exemplars) -> Tensor:
        """Return keys (B, K·t·h·w, feature_dim): appearance, place, and inside a mask whose it is."""
        objects, (height, width) = exemplars.masks.shape[1], exemplars.features.shape[3:5]
        inside = _resize(exemplars.masks, (height, width), mode="bilinear") > 0.5
        names = self.encoder_queryinfo(grid_positions(self.query_count, like=exemplars.features)[:objects])
        keys: Tensor = exemplars.features + self.encoder_posi(grid_positions(height, width, like=exemplars.features))
        keys = keys + inside[..., None].to(keys.dtype) * names[:, None, None, None]
        return keys.flatten(1, 4)


class SlotDecoder(nn.Module):
    """Decoder layers one after another."""

    def __init__(self, config: CorrectorConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SlotDecoderLayer(config.feature_dim, config.heads, config.feedforward) for _ in range(config.layers)
        )


class QueryTransformer(nn.Module):
    """Queries of objects and background in every target frame, refined against targets and exemplars."""

    def __init__(self, config: CorrectorConfig) -> None:
        super().__init__()
        width = config.feature_dim
        self.heads = config.heads
        self.slots_embedding = nn.Embedding(config.background, width)
        self.encoder_querytime = Projection(2, width)
        self.encoder_positime = Projection(3, width)
        self.transformer_decoder = SlotDecoder(config)
        self.heatmap = Mlp(config.heads, config.bottleneck_width, closed=True)

    def forward(
        self,
        objects: Tensor,
        features: Tensor,
        frames: Tensor,
        exemplar_keys: Tensor,
        exemplar_frames: Tensor,
        competing: Tensor | None,
        kept_exemplars: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return queries (B, Q, T, width) and the objects' attention maps (B, T, K, h, w, bottleneck_width)."""
        batch, count, height, width = features.shape[:4]
        background = self.slots_embedding.weight.expand(batch, -1, -1)
        slots = torch.cat([objects, background], dim=1)
        times = self.encoder_querytime(grid_positions(slots.shape[1], count, like=features))
        queries = (slots[:, :, None] + times).flatten(1, 2)
        targets = features + self.encoder_positime(grid_positions(count, height, width, like=features))
        cells = height * width
        for layer in self.transformer_decoder.layers:
            queries = layer(
                queries,
                targets.flatten(1, 3),
                exemplar_keys,
                query_frames=frames.repeat(slots.shape[1]),
                target_frames=frames.repeat_interleave(cells),
                exemplar_frames=exemplar_frames.flatten(1).repeat_interleave(cells, dim=1),
                competing=None if competing is None else competing.repeat_interleave(count, dim=1),
                kept_exemplars=kept_exemplars,
            )
        refined = torch.unflatten(queries, 1, (-1, count))
        by_frame = refined[:, : objects.shape[1]].transpose(1, 2).flatten(0, 1)
        products = head_products(by_frame, targets.flatten(0, 1).flatten(1, 2), self.heads)
        maps: Tensor = self.heatmap(products)
        return refined, torch.unflatten(torch.unflatten(maps, 2, (height, width)), 0, (batch, count))


class GlobalCorrector(nn.Module):
    """The transformer, and the MLPs by which queries give back the target frames' features."""

    def __init__(self, config: CorrectorConfig) -> None:
        super().__init__()
        width = config.feature_dim
        self.transdec = QueryTransformer(config)
        self.encoder_posi = Projection(2, width)
        self.mlp = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.mlp_feat = nn.Linear(width, width)
        self.mlp_mask1 = nn.Sequential(nn.Linear(width, config.alpha_width), nn.ReLU())
        self.mlp_mask2 = nn.Linear(config.alpha_width, 1)

    def reconstruct(self, queries: Tensor, height: int, width: int) -> Reconstruction:
        places = self.encoder_posi(grid_positions(height, width, like=queries))
        spread = self.mlp(queries[:, :, :, None, None] + places)
        alpha = self.mlp_mask2(self.mlp_mask1(spread)).softmax(dim=1)
        return Reconstruction(features=self.mlp_feat(spread), alpha=alpha)


class MaskDecoder(nn.Module):
    """Draws the objects' masks from their attention maps, with the edges of frames and flow-predicted masks."""

    def __init__(self, config: CorrectorConfig) -> None:
        super().__init__()
        self.decoder_m = Decoder(config.width, SCALES, config.objects)
        self.mlp_mix = nn.Linear(config.objects * config.bottleneck_width, config.bottleneck_width)

    def forward(self, maps: Tensor, skips: list[Tensor]) -> Tensor:
        """Return logits (N, K, H, W) for maps (N, K, h, w, bottleneck_width)."""
        mixed = self.mlp_mix(maps.permute(0, 2, 3, 1, 4).flatten(3))
        logits: Tensor = self.decoder_m(mixed.permute(0, 3, 1, 2), skips)
        return logits


class Corrector(nn.Module):
    """Corrects a window of flow-predicted masks by exemplars. The tensors have the published corrector's names."""

    def __init__(self, config: CorrectorConfig | None = None) -> None:
        super().__init__()
        self.config = config or CorrectorConfig()
        self.rgbmaskenc = RgbMaskKeys(self.config)
        self.rgbglobalcorrector = GlobalCorrector(self.config)
        self.rgbmaskdec = MaskDecoder(self.config)

    def forward(
        self,
        images: Tensor,
        masks: Tensor,
        features: Tensor,
        exemplars: Exemplars,
        *,
        frames: Tensor | None = None,
        shown: Tensor | None = None,
        kept_background: Tensor | None = None,
        kept_exemplars: Tensor | None = None,
    ) -> Correction:
        """Correct the masks of exactly ``config.objects`` objects, K, in a window of any length T.

        :func:`rotomem.motion.correction.correct_masks` takes any number of objects and any clip.

        Args:
            images: (B, T, 3, H, W) normalised frames, H and W multiples of 8.
            masks: (B, T, K, H, W) flow-predicted masks in {0, 1}; all 0 where there is no such object.
            features: (B, T, H/8, W/8, feature_dim) appearance features: DINO ViT-S/8's.
            exemplars: of each object.
            frames: (T,) where in the clip the window's frames are; 0 to T - 1 if None. Queries of a frame look at other
                frames, among targets and exemplars alike.
            shown: (B,) bool, whether the upsampler sees the clip's masks; if not, it draws edges from the frames alone,
                as in adaptation (section 3.4.2); what ``corrects`` adds to the masks all the same. All, if None.
            kept_background: (B, background) the background queries that compete for keys; for training. All, if None.
            kept_exemplars: (B, K, t, H/8, W/8) the exemplar keys that are read; for training. All, if None.

        Raises:
            SettingError: shapes that do not belong together.
        """
        self._check(images, masks, features, exemplars)
        batch, count = images.shape[:2]
        if frames is None:
            frames = torch.arange(count, device=images.device)
        competing = None
        if kept_background is not None:
            objects = kept_background.new_ones(batch, self.config.objects)
            competing = torch.cat([objects, kept_background], dim=1)
        queries, maps = self.rgbglobalcorrector.transdec(
            pool_exemplars(exemplars),
            features,
            frames,
            self.rgbmaskenc.exemplar_keys(exemplars),
            exemplars.frames,
            competing,
            None if kept_exemplars is None else kept_exemplars.flatten(1),
        )
        seen = masks if shown is None else masks * shown[:, None, None, None, None]
        skips = self.rgbmaskenc.skips(images.flatten(0, 1), seen.flatten(0, 1))
        logits = torch.unflatten(self.rgbmaskdec(maps.flatten(0, 1), skips), 0, (batch, count))
        if self.config.corrects:
            logits = logits + GIVEN_LOGIT * masks
        return Correction(logits=logits, queries=queries)

    def reconstruct(self, queries: Tensor, height: int, width: int) -> Reconstruction:
        """Return the features (equation 7) that the queries (B, Q, T, feature_dim) give on a grid of height × width."""
        return self.rgbglobalcorrector.reconstruct(queries, height, width)

    def _check(self, images: Tensor, masks: Tensor, features: Tensor, exemplars: Exemplars) -> None:
        batch, count = images.shape[:2]
        height, width = images.shape[-2:]
        check_frame_size(height, width, STRIDE)
        grid = (height // STRIDE, width // STRIDE, self.config.feature_dim)
        objects, frames = self.config.objects, exemplars.masks.shape[2]
        expected = {
            "masks": (masks, (batch, count, objects, height, width)),
            "features": (features, (batch, count, *grid)),
            "exemplar masks": (exemplars.masks, (batch, objects, frames, height, width)),
            "exemplar features": (exemplars.features, (batch, objects, frames, *grid)),
            "exemplar weights": (exemplars.weights, (batch, objects, frames)),
            "exemplar frames": (exemplars.frames, (batch, objects, frames)),
        }
        for name, (tensor, shape) in expected.items():
            if tuple(tensor.shape) != shape or 0 in shape:
                raise SettingError(f"the corrector needs {name} of shape {shape} here, not {tuple(tensor.shape)}")


def pool_exemplars(exemplars: Exemplars) -> Tensor:
    """Return a query (B, K, feature_dim) per object: the mean of its features inside its exemplars' masks.

    Exemplars count by their weights; one whose mask is lost at stride 8 counts as a vector of zeros.
    """
    inside = _resize(exemplars.masks, tuple(exemplars.features.shape[3:5]), mode="nearest")
    total = torch.einsum("bkthw,bkthwc->bktc", inside, exemplars.features)
    pooled = total / (inside.sum(dim=(3, 4)) + EPSILON)[..., None]
    shares = exemplars.weights / (exemplars.weights.sum(dim=2, keepdim=True) + EPSILON)
    return (pooled * shares[..., None]).sum(dim=2)


def _resize(masks: Tensor, size: tuple[int, ...], mode: str) -> Tensor:
    """Return masks (B, K, t, H, W) at another size."""
    resized = F.interpolate(masks.flatten(0, 1), size=size, mode=mode)
    return torch.unflatten(resized, 0, tuple(masks.shape[:2]))
