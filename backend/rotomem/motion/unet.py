"""The U-Net halves that flow segmenter, selector and corrector share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.01


class ConvBlock(nn.Module):
    """Two 3×3 convolutions without bias, each normalised per channel and instance, then leaky: (N, C, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, name: str) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = []
        for index, channels in ((1, in_channels), (2, out_channels)):
            layers += [
                (f"{name}conv{index}", nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False)),
                (f"{name}norm{index}", nn.InstanceNorm2d(out_channels)),
                (f"{name}act{index}", nn.LeakyReLU(SLOPE)),
            ]
        self.conv_block = nn.Sequential(OrderedDict(layers))

    def forward(self, features: Tensor) -> Tensor:
        convolved: Tensor = self.conv_block(features)
        return convolved


class Encoder(nn.Module):
    """Halves the resolution ``scales`` times, doubling the channels: (N, C, H, W) to one tensor per resolution.

    Args:
        in_channels: of the input.
        width: channels at full resolution.
        scales: how often the resolution is halved.
    """

    def __init__(self, in_channels: int, width: int, scales: int) -> None:
        super().__init__()
        self.scales = scales
        self.encoder1 = ConvBlock(in_channels, width, "enc1")
        for level in range(2, scales + 1):
            in_width, out_width = width << (level - 2), width << (level - 1)
            self.add_module(f"encoder{level}", ConvBlock(in_width, out_width, f"enc{level}"))
        self.bottleneck = ConvBlock(width << (scales - 1), width << scales, "bottleneck")

    def forward(self, images: Tensor, *, bottleneck: bool = True) -> list[Tensor]:
        """Return features (N, width·2^i, H/2^i, W/2^i), full resolution first, the bottleneck's last if wanted."""
        features = [self.encoder1(images)]
        for level in range(2, self.scales + 1):
            features.append(self.get_submodule(f"encoder{level}")(F.max_pool2d(features[-1], 2)))
        if bottleneck:
            features.append(self.bottleneck(F.max_pool2d(features[-1], 2)))
        return features


class RgbMaskEncoder(Encoder):
    """An encoder of frames and masks; each has its own block at full resolution before they are joined."""

    def __init__(self, mask_channels: int, width: int, scales: int) -> None:
        super().__init__(2 * width, width, scales)
        self.encoder1_rgb = ConvBlock(3, width, "enc1_r")
        self.encoder1_mask = ConvBlock(mask_channels, width, "enc1_m")

    def encode(self, images: Tensor, masks: Tensor, *, bottleneck: bool = True) -> list[Tensor]:
        """Return the features of frames (N, 3, H, W) and masks (N, mask_channels, H, W), as :class:`Encoder` does."""
        joined = torch.cat([self.encoder1_rgb(images), self.encoder1_mask(masks)], dim=1)
        features: list[Tensor] = self(joined, bottleneck=bottleneck)
        return features


class Decoder(nn.Module):
    """Doubles the resolution ``scales`` times with the encoder's features beside: to (N, out_channels, H, W)."""

    def __init__(self, width: int, scales: int, out_channels: int) -> None:
        super().__init__()
        self.scales = scales
        for level in range(scales, 0, -1):
            channels = width << (level - 1)
            self.add_module(f"upconv{level}", nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2))
            self.add_module(f"decoder{level}", ConvBlock(2 * channels, channels, f"dec{level}"))
        self.conv = nn.Conv2d(width, out_channels, kernel_size=1)

    def forward(self, features: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Return logits (N, out_channels, H, W).

        Args:
            features: (N, width·2^scales, h, w) at the coarsest resolution.
            skips: the encoder's features, full resolution first.
        """
        for level in range(self.scales, 0, -1):
            enlarged = self.get_submodule(f"upconv{level}")(features)
            features = self.get_submodule(f"decoder{level}")(torch.cat([enlarged, skips[level - 1]], dim=1))
        logits: Tensor = self.conv(features)
        return logits
