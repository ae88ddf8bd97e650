"""Moving objects from optical flow alone: OCLR's flow model (Xie, Xie and Zisserman, NeurIPS 2022)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotomem.errors import SettingError
from rotomem.motion.config import FlowConfig
from rotomem.motion.frames import check_frame_size, grid_positions
from rotomem.motion.transformer import (
    SCORES_AT_ONCE,
    Attention,
    ClipEncoder,
    LayerNorm,
    Mlp,
    Projection,
    head_products,
)
from rotomem.motion.unet import Decoder, Encoder

FLOW_CHANNELS = 4
SCALES = 4
STRIDE = 1 << SCALES


class FlowSegmentation(NamedTuple):
    """What the flow segmenter says of a clip.

    ``amodal_logits`` (B, T, K, H, W): each object's whole shape, hidden parts included.
    ``order`` (B, T, K): larger is further back; one figure per object, repeated over the frames.
    """

    amodal_logits: Tensor
    order: Tensor


class DecoderLayer(nn.Module):
    """Queries look at one another, then at the clip, then pass an MLP; post-norm."""

    def __init__(self, width: int, heads: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.multihead_attn = Attention(width, heads)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = LayerNorm(width)
        self.norm2 = LayerNorm(width)
        self.norm3 = LayerNorm(width)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        queries = self.norm1(queries + self.self_attn(queries, queries))
        queries = self.norm2(queries + self.multihead_attn(queries, memory))
        passed: Tensor = self.norm3(queries + self.linear2(F.relu(self.linear1(queries))))
        return passed


class QueryDecoder(nn.Module):
    """Decoder layers one after another: queries (N, L, width) against a clip's tokens (N, M, width)."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(config.token_width, config.heads, config.feedforward) for _ in range(config.layers)
        )

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        for layer in self.layers:
            queries = layer(queries, memory)
        return queries


class ObjectQueries(nn.Module):
    """One learnt query per object, in every frame, refined against the clip."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.transformer_decoder = QueryDecoder(config)
        self.encoder_time = Projection(1, config.token_width)
        self.motion_embed = nn.Embedding(config.objects, config.token_width)

    def forward(self, clip: Tensor) -> Tensor:
        """Return the queries (B, K, T, width) for features (B, T, h, w, width)."""
        count = clip.shape[1]
        times = self.encoder_time(grid_positions(count, like=clip))
        queries = self.motion_embed.weight[:, None] + times
        refined: Tensor = self.transformer_decoder(queries.flatten(0, 1).expand(len(clip), -1, -1), clip.flatten(1, 3))
        return torch.unflatten(refined, 1, (-1, count))


class FlowSegmenter(nn.Module):
    """OCLR's flow model. The tensors have its published names.

    Per frame a U-Net's encoder reads the flow; frames look at one another; a query per object and frame looks at the
    whole clip; each head's product of query and pixel is what the U-Net's decoder draws the object's shape from.
    """

    def __init__(self, config: FlowConfig | None = None) -> None:
        super().__init__()
        self.config = config or FlowConfig()
        width = self.config.token_width
        heads, feedforward = self.config.heads, self.config.feedforward
        self.encoder = Encoder(FLOW_CHANNELS, self.config.width, SCALES)
        self.transformer_enc = ClipEncoder(width, heads, feedforward, self.config.layers)
        self.transformer_dec = ObjectQueries(self.config)
        self.heatmap = Mlp(self.config.objects * heads, width, closed=True)
        self.classhead = Mlp(width, feedforward, 1)
        self.decoder_am = Decoder(self.config.width, SCALES, self.config.objects)

    def forward(self, flow: Tensor, *, scores_at_once: int = SCORES_AT_ONCE) -> FlowSegmentation:
        """Find up to ``config.objects`` moving objects in a clip.

        Args:
            flow: (B, T, 4, H, W) pixels at this size: forward u, v, then backward u, v, as
                :func:`rotomem.motion.flow_input.stack_flow` makes it. Any T; H and W are multiples of 16.
            scores_at_once: query-key pairs per block of attention; see :class:`rotomem.motion.transformer.Attention`.

        Raises:
            SettingError: another number of channels, no frames, or a size that is no multiple of 16.
        """
        if flow.ndim != 5 or flow.shape[2] != FLOW_CHANNELS or not flow.shape[1]:
            raise SettingError(
                f"flow of shape {tuple(flow.shape)} is not (clips, frames, {FLOW_CHANNELS}, height, width)"
            )
        check_frame_size(flow.shape[3], flow.shape[4], STRIDE)
        batch, count = flow.shape[:2]
        *skips, coarsest = self.encoder(flow.flatten(0, 1))
        features = torch.unflatten(coarsest.permute(0, 2, 3, 1), 0, (batch, count))
        clip = self.transformer_enc(features, scores_at_once=scores_at_once)
        queries = self.transformer_dec(clip)
        logits = self.decoder_am(self._attention_maps(clip, queries), skips)
        order = self.classhead(queries.amax(dim=2)).squeeze(2)
        return FlowSegmentation(
            amodal_logits=torch.unflatten(logits, 0, (batch, count)), order=order[:, None].expand(-1, count, -1)
        )

    def _attention_maps(self, clip: Tensor, queries: Tensor) -> Tensor:
        """Return (B·T, width, h, w): what each pixel has in common with the queries of its own frame."""
        height, width = clip.shape[2:4]
        by_frame = queries.transpose(1, 2).flatten(0, 1)
        products = head_products(by_frame, clip.flatten(0, 1).flatten(1, 2), self.config.heads)
        maps: Tensor = self.heatmap(products.transpose(1, 2).flatten(2))
        return torch.unflatten(maps.transpose(1, 2), 2, (height, width))
