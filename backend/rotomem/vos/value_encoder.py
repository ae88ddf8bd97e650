"""Image, an object's mask and the other objects' masks to the value that is memorised."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rotomem.vos.config import NetworkConfig
from rotomem.vos.convolution import Convolution
from rotomem.vos.fusion import FeatureFusion
from rotomem.vos.resnet import BasicBlock, make_norm, make_stage
from rotomem.vos.sensory import DeepUpdate


class ValueEncoder(nn.Module):
    """ResNet-18 to its third stage on five channels, fused with the image feature."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width, blocks, norm = config.value_width, config.value_blocks, config.norm
        self.conv1 = Convolution(5, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = make_norm(norm, width)
        self.layer1 = make_stage(BasicBlock, width, width, blocks[0], 1, norm)
        self.layer2 = make_stage(BasicBlock, width, 2 * width, blocks[1], 2, norm)
        self.layer3 = make_stage(BasicBlock, 2 * width, 4 * width, blocks[2], 2, norm)
        self.fuser = FeatureFusion(config.feature_dims[2], 4 * width, config.value_dim, config.gate_reduction)
        self.hidden_reinforce = DeepUpdate(config)

    def forward(self, image: Tensor, f16: Tensor, masks: Tensor, others: Tensor) -> Tensor:
        """Return values (B, K, value_dim, h, w).

        Args:
            image: (B, 3, H, W), normalised.
            f16: (B, C, h, w), the key encoder's feature of ``image``.
            masks: (B, K, H, W) in [0, 1].
            others: (B, K, H, W), for each object the sum of the other objects' masks.
        """
        batch, count = masks.shape[:2]
        images = image[:, None].expand(-1, count, -1, -1, -1)
        x = torch.cat([images, masks[:, :, None], others[:, :, None]], dim=2).flatten(0, 1)
        # Pooling before the rectifier is the published order; the two commute, and pooled maps are a quarter the size.
        x = F.relu(F.max_pool2d(self.conv1.normalised(x, self.bn1), 3, stride=2, padding=1))
        x = self.layer3(self.layer2(self.layer1(x)))
        value: Tensor = self.fuser(self.fuser.image_part(f16), x)
        return torch.unflatten(value, 0, (batch, count))
