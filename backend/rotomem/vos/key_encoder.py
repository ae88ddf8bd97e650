"""Image to features at three scales, and features to key, shrinkage and selection. Neither sees a mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rotomem.vos.config import NetworkConfig
from rotomem.vos.convolution import Convolution
from rotomem.vos.resnet import Bottleneck, make_norm, make_stage


class KeyEncoder(nn.Module):
    """ResNet-50 without its fourth stage."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, blocks, norm = config.key_width, config.key_blocks, config.norm
        f4_dim, f8_dim, _ = config.feature_dims
        self.conv1 = Convolution(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = make_norm(norm, width)
        self.res2 = make_stage(Bottleneck, width, width, blocks[0], 1, norm)
        self.layer2 = make_stage(Bottleneck, f4_dim, 2 * width, blocks[1], 2, norm)
        self.layer3 = make_stage(Bottleneck, f8_dim, 4 * width, blocks[2], 2, norm)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features at strides 16, 8 and 4 of (B, 3, H, W), H and W multiples of 16."""
        f8, f4 = self.finer(image)
        f16 = self.layer3(f8)
        return f16, f8, f4

    def finer(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features at strides 8 and 4 alone, for about half the arithmetic."""
        x = F.relu(self.conv1.normalised(image, self.bn1))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        f4: Tensor = self.res2(x)
        f8: Tensor = self.layer2(f4)
        return f8, f4


class KeyProjection(nn.Module):
    """Features at stride 16 to what memory is addressed by."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        f16_dim = config.feature_dims[2]
        self.key_proj = Convolution(f16_dim, config.key_dim, 3, padding=1, precise=True)
        self.d_proj = nn.Conv2d(f16_dim, 1, 3, padding=1)
        self.e_proj = Convolution(f16_dim, config.key_dim, 3, padding=1, precise=True)

    def forward(self, f16: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return key (B, C, h, w), shrinkage (B, 1, h, w) >= 1 and selection (B, C, h, w) in [0, 1], float32.

        Always computed in float32: rounding keys to half moves similarities by up to 0.07, since nearly equal squares
        cancel in them.
        """
        with torch.autocast(f16.device.type, enabled=False):
            f16 = f16.float()
            return self.key_proj(f16), self.d_proj(f16).square() + 1, self.e_proj(f16).sigmoid()
