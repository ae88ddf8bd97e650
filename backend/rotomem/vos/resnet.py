"""Residual stages that the key encoder (bottlenecks) and the value encoder (basic blocks) are built from.

Source: He et al., Deep Residual Learning (CVPR 2016); the stride sits in a bottleneck's 3×3 convolution. Module names
are those of the published XMem checkpoint.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from rotomem.vos.convolution import Convolution

GROUP_CHANNELS = 8


def make_norm(kind: str, channels: int) -> nn.Module:
    """Return batch normalisation, or group normalisation over about ``GROUP_CHANNELS`` channels each."""
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    groups = max(1, channels // GROUP_CHANNELS)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def _shortcut(in_channels: int, out_channels: int, stride: int, norm: str) -> Shortcut | None:
    if stride == 1 and in_channels == out_channels:
        return None
    conv = Convolution(in_channels, out_channels, 1, stride=stride, bias=False)
    return Shortcut(conv, make_norm(norm, out_channels))


class Shortcut(nn.Sequential):
    """A convolution and its normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        conv, norm = self
        assert isinstance(conv, Convolution)
        return conv.normalised(x, norm)


class Bottleneck(nn.Module):
    """1×1, 3×3 (strided), 1×1 convolutions around a shortcut; the output is ``expansion`` times ``width`` wide."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = Convolution(in_channels, width, 1, bias=False)
        self.bn1 = make_norm(norm, width)
        self.conv2 = Convolution(width, width, 3, stride=stride, padding=1, bias=False, precise=True)
        self.bn2 = make_norm(norm, width)
        self.conv3 = Convolution(width, out_channels, 1, bias=False)
        self.bn3 = make_norm(norm, out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, 4 × width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.conv1.normalised(x, self.bn1))
        x = F.relu(self.conv2.normalised(x, self.bn2))
        return F.relu(self.conv3.normalised(x, self.bn3) + shortcut)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions, the first strided, around a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = Convolution(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = make_norm(norm, width)
        self.conv2 = Convolution(width, width, 3, padding=1, bias=False)
        self.bn2 = make_norm(norm, width)
        self.downsample = _shortcut(in_channels, width, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.conv1.normalised(x, self.bn1))
        return F.relu(self.conv2.normalised(x, self.bn2) + shortcut)


def make_stage(
    block: type[Bottleneck] | type[BasicBlock], in_channels: int, width: int, count: int, stride: int, norm: str
) -> nn.Sequential:
    """Return ``count`` blocks, the first of them strided."""
    out_channels = width * block.expansion
    blocks = [block(in_channels, width, stride, norm)]
    blocks += [block(out_channels, width, 1, norm) for _ in range(count - 1)]
    return nn.Sequential(*blocks)
