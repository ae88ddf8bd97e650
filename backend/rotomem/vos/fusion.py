"""Joining what depends on the image alone with what depends on an object."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rotomem.errors import SettingError
from rotomem.vos.convolution import Convolution


class ResidualBlock(nn.Module):
    """conv2(relu(conv1(relu(x)))) + x, with a convolution on x where widths differ."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.downsample = Convolution(in_channels, out_channels, 3, padding=1) if in_channels != out_channels else None
        self.conv1 = Convolution(in_channels, out_channels, 3, padding=1)
        self.conv2 = Convolution(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        residual: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return residual + (x if self.downsample is None else self.downsample(x))


class _ChannelGate(nn.Module):
    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        inner = max(1, channels // reduction)
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, inner), nn.ReLU(), nn.Linear(inner, channels))

    def forward(self, x: Tensor) -> Tensor:
        average, maximum = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))
        gate = torch.sigmoid(self.mlp(average) + self.mlp(maximum))
        return x * gate[:, :, None, None]


class _SpatialConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)


class _SpatialGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spatial = _SpatialConv()

    def forward(self, x: Tensor) -> Tensor:
        summary = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        return x * torch.sigmoid(self.spatial.conv(summary))


class AttentionGate(nn.Module):
    """A gate per channel, then a gate per pixel; each multiplies its input.

    Source: CBAM (Woo et al., ECCV 2018). The attribute names are the checkpoint's.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.ChannelGate = _ChannelGate(channels, reduction)
        self.SpatialGate = _SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) to the same shape."""
        gated: Tensor = self.SpatialGate(self.ChannelGate(x))
        return gated


@dataclass(frozen=True)
class FusionImagePart:
    """What a fusion's first block makes of the image feature; the same for every object and every pass.

    Args:
        conv1: (B, C, h, w), the image channels' share of ``block1.conv1``, without bias.
        downsample: (B, C, h, w), the image channels' share of ``block1.downsample``, without bias.
    """

    conv1: Tensor
    downsample: Tensor


class FeatureFusion(nn.Module):
    """Residual block over [image feature, object feature], attention, residual block.

    A convolution over concatenated channels is the sum of convolutions over each part. The image's part is computed
    once per frame and shared by the objects, which is exact up to rounding.
    """

    def __init__(self, image_dim: int, object_dim: int, out_dim: int, gate_reduction: int) -> None:
        super().__init__()
        if image_dim + object_dim == out_dim:
            raise SettingError(
                f"network widths: a fusion of {image_dim} image and {object_dim} object channels cannot be "
                f"{out_dim} wide, the sum; change key_width, value_dim or decoder_widths"
            )
        self.image_dim = image_dim
        self.block1 = ResidualBlock(image_dim + object_dim, out_dim)
        self.attention = AttentionGate(out_dim, gate_reduction)
        self.block2 = ResidualBlock(out_dim, out_dim)

    @property
    def _block1_downsample(self) -> Convolution:
        downsample = self.block1.downsample
        assert downsample is not None  # __init__ refuses equal widths
        return downsample

    def image_part(self, image_feature: Tensor) -> FusionImagePart:
        """Precompute for (B, image_dim, h, w)."""
        channels = slice(self.image_dim)
        return FusionImagePart(
            conv1=self.block1.conv1.partial(F.relu(image_feature), channels, bias=False),
            downsample=self._block1_downsample.partial(image_feature, channels, bias=False),
        )

    def forward(self, image: FusionImagePart, objects: Tensor) -> Tensor:
        """Fuse ``objects`` (B*K, object_dim, h, w) with the image's part (B, ...) into (B*K, out_dim, h, w)."""
        block1, downsample = self.block1, self._block1_downsample
        channels = slice(self.image_dim, None)
        inner = block1.conv1.partial(F.relu(objects), channels)
        inner = inner + for_each_object(image.conv1, len(objects))
        shortcut = downsample.partial(objects, channels)
        shortcut = shortcut + for_each_object(image.downsample, len(objects))
        fused = block1.conv2(F.relu(inner)) + shortcut
        refined: Tensor = self.block2(fused + self.attention(fused))
        return refined


def for_each_object(shared: Tensor, count: int) -> Tensor:
    """Return what a batch's images have (B, ...), as it goes with all their objects (count, ...), count = B*K.

    An axis for the objects that comes and goes would lose the order of memory: with one object of one image, torch
    takes channels last for channels first after that, and all that follows takes several times as long.
    """
    return shared if len(shared) in (1, count) else shared.repeat_interleave(count // len(shared), dim=0)
