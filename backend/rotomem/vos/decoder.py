"""Memory readout and image features to mask logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rotomem.vos.config import NetworkConfig
from rotomem.vos.convolution import Convolution
from rotomem.vos.fusion import FeatureFusion, FusionImagePart, ResidualBlock, for_each_object
from rotomem.vos.prior_cue import EdgeHead, PriorEncoder, PriorFeatures
from rotomem.vos.sensory import LightUpdate


@dataclass(frozen=True)
class DecoderImagePart:
    """What the decoder makes of the image alone: 39 % of its arithmetic, shared by objects and passes.

    Args:
        fusion: the image's part of the fusion at stride 16.
        skip8: (B, C, H/8, W/8), the skip convolution of f8.
        skip4: (B, C, H/4, W/4), the skip convolution of f4.
    """

    fusion: FusionImagePart
    skip8: Tensor
    skip4: Tensor


class UpBlock(nn.Module):
    """Twice the size: skip feature plus the upsampled object feature, then a residual block."""

    def __init__(self, skip_dim: int, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.skip_conv = Convolution(skip_dim, in_dim, 3, padding=1)
        self.out_conv = ResidualBlock(in_dim, out_dim)

    def forward(self, skip: Tensor, g: Tensor, cue: Tensor | None = None) -> Tensor:
        """Combine ``skip`` (B, in_dim, 2h, 2w), already convolved, with ``g`` (B*K, in_dim, h, w).

        ``cue`` (B*K, in_dim, 2h, 2w) is added where there is one.
        """
        upsampled = F.interpolate(g, scale_factor=2, mode="bilinear", align_corners=False)
        combined = upsampled + for_each_object(skip, len(g))
        refined: Tensor = self.out_conv(combined if cue is None else combined + cue)
        return refined


class Decoder(nn.Module):
    """Fusion at stride 16, two up blocks, one convolution to a logit."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width16, width8, width4 = config.decoder_widths
        f4_dim, f8_dim, f16_dim = config.feature_dims
        self.fuser = FeatureFusion(f16_dim, config.value_dim + config.hidden_dim, width16, config.gate_reduction)
        self.hidden_update = LightUpdate(config)
        self.up_16_8 = UpBlock(f8_dim, width16, width8)
        self.up_8_4 = UpBlock(f4_dim, width8, width4)
        self.pred = nn.Conv2d(width4, 1, 3, padding=1)
        if config.prior_channels:
            self.prior_encoder = PriorEncoder(config)
            self.edge_head = EdgeHead(config)
            # Training starts from the carried mattes as they are, not from noise laid over them.
            nn.init.zeros_(self.pred.weight)
            nn.init.zeros_(self.pred.bias)  # type: ignore[arg-type]  # a convolution with bias

    def image_part(self, f16: Tensor, f8: Tensor, f4: Tensor) -> DecoderImagePart:
        """Precompute for one frame's features."""
        return DecoderImagePart(
            fusion=self.fuser.image_part(f16), skip8=self.up_16_8.skip_conv(f8), skip4=self.up_8_4.skip_conv(f4)
        )

    def forward(
        self,
        image: DecoderImagePart,
        readout: Tensor,
        hidden: Tensor,
        *,
        update_hidden: bool,
        cue: PriorFeatures | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return logits (B, K, H, W) and the sensory memory (B, K, hidden_dim, h, w), updated if asked to.

        Args:
            readout: (B, K, value_dim, h, w).
            hidden: (B, K, hidden_dim, h, w), sensory memory before this frame.
            cue: of flow-carried mattes; without it, as published, logits are those of stride 4, enlarged.
        """
        batch, count = readout.shape[:2]
        g16 = self.fuser(image.fusion, torch.cat([readout, hidden.to(readout.dtype)], dim=2).flatten(0, 1))
        if cue is not None:
            g16 = g16 + cue.add16
        g8 = self.up_16_8(image.skip8, g16, cue.add8 if cue else None)
        g4 = self.up_8_4(image.skip4, g8, cue.add4 if cue else None)
        logits = self.pred(F.relu(g4))
        if update_hidden:
            updated = self.hidden_update(g16, g8, g4, logits, hidden.flatten(0, 1))
            hidden = torch.unflatten(updated, 0, (batch, count))
        if cue is not None:
            logits = self.edge_head(g4, logits, cue)
        else:
            logits = F.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=False)
        return torch.unflatten(logits[:, 0], 0, (batch, count)), hidden
