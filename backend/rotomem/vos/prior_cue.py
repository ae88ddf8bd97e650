"""Mattes carried along by optical flow, as a further cue for the decoder.

The published network has none of this; it exists where ``NetworkConfig.prior_channels`` is not 0. A flow-carried matte
is sharp and often right, and wrong without a sign of it where flow fails; the memory readout knows better there, but
only at stride 16. The decoder sees both, and decides pixel by pixel how far it believes the carried matte.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rotomem.vos.config import NetworkConfig
from rotomem.vos.resnet import make_norm

PRIOR_CHANNELS = 4
"""Matte carried from the annotated frame before, from the one after, and the trust in each, in [0, 1]."""
DOUBT = 0.05
LOGIT_LIMIT = 4.0


@dataclass(frozen=True)
class PriorFeatures:
    """What the decoder adds at strides 16, 8 and 4, and what the edge head refines, each (B*K, C, H', W').

    Args:
        half: at stride 2.
        blend: (B*K, 1, H, W), log-odds of both carried mattes blended by trust; 0 where neither is trusted.
    """

    add16: Tensor
    add8: Tensor
    add4: Tensor
    half: Tensor
    blend: Tensor


def blend_log_odds(prior: Tensor) -> Tensor:
    """Log-odds (B, 1, H, W) of the two carried mattes of (B, 4, H, W), weighted by trust, within ±``LOGIT_LIMIT``."""
    before, after, trust_before, trust_after = prior.float()[:, :, None].unbind(dim=1)
    total = trust_before + trust_after
    probability = (trust_before * before + trust_after * after + 0.5 * DOUBT) / (total + DOUBT)
    return torch.logit(probability.clamp(0, 1), eps=1e-4).clamp(-LOGIT_LIMIT, LOGIT_LIMIT)


class PriorEncoder(nn.Module):
    """Image and carried mattes to features at strides 2, 4, 8 and 16: the falling side of a slim U-Net."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.prior_width
        widths = (width, 2 * width, 3 * width, 4 * width)
        channels = (3 + config.prior_channels, *widths)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels[index], channels[index + 1], 3, stride=2, padding=1, bias=False),
                make_norm("group", channels[index + 1]),
                nn.ReLU(),
                nn.Conv2d(channels[index + 1], channels[index + 1], 3, padding=1, bias=False),
                make_norm("group", channels[index + 1]),
                nn.ReLU(),
            )
            for index in range(4)
        )
        width16, width8, _ = config.decoder_widths
        self.to4 = _silent_projection(widths[1], width8)
        self.to8 = _silent_projection(widths[2], width16)
        self.to16 = _silent_projection(widths[3], width16)

    def forward(self, image: Tensor, prior: Tensor) -> PriorFeatures:
        """Encode an image (B, 3, H, W), normalised, with the priors (B, K, 4, H, W) of its objects."""
        count = prior.shape[1]
        priors = prior.flatten(0, 1)
        images = image[:, None].expand(-1, count, -1, -1, -1).flatten(0, 1)
        half = self.stages[0](torch.cat([images, priors * 2 - 1], dim=1))
        quarter = self.stages[1](half)
        eighth = self.stages[2](quarter)
        sixteenth = self.stages[3](eighth)
        return PriorFeatures(
            add16=self.to16(sixteenth),
            add8=self.to8(eighth),
            add4=self.to4(quarter),
            half=half,
            blend=blend_log_odds(priors),
        )


class EdgeHead(nn.Module):
    """Logits at stride 4 to full size: a residual found at stride 2, and a gate on the carried mattes."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.prior_width
        self.narrow = nn.Conv2d(config.decoder_widths[2], width, 1)
        self.mix = nn.Conv2d(2 * width, width, 3, padding=1)
        # Two values for each of the four pixels under one at stride 2.
        self.out = nn.Conv2d(width, 8, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]  # a convolution with bias

    def forward(self, g4: Tensor, logits: Tensor, cue: PriorFeatures) -> Tensor:
        """Return logits (B*K, 1, H, W) from ``g4`` (B*K, C, H/4, W/4) and ``logits`` (B*K, 1, H/4, W/4)."""
        coarse = F.interpolate(self.narrow(F.relu(g4)), scale_factor=2, mode="bilinear", align_corners=False)
        fine = F.relu(self.mix(torch.cat([coarse, cue.half.to(coarse.dtype)], dim=1)))
        residual, belief = F.pixel_shuffle(self.out(fine), 2).float()[:, :, None].unbind(dim=1)
        upsampled = F.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=False)
        refined: Tensor = upsampled + residual + (belief + 0.5).sigmoid() * cue.blend
        return refined


def _silent_projection(in_dim: int, out_dim: int) -> nn.Conv2d:
    """A 1×1 convolution that starts at zero, so that a network trained without the cue is unchanged at first."""
    projection = nn.Conv2d(in_dim, out_dim, 1)
    nn.init.zeros_(projection.weight)
    nn.init.zeros_(projection.bias)  # type: ignore[arg-type]  # a convolution with bias
    return projection
