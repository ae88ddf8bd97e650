"""Appearance features of single frames: a vision transformer as DINO trained it (Caron et al., ICCV 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotomem.errors import SettingError
from rotomem.motion.config import DinoConfig

NORM_EPSILON = 1e-6


class PatchEmbedding(nn.Module):
    """One token per patch: images (N, 3, H, W) to (N, h, w, width)."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.width, kernel_size=config.patch, stride=config.patch)

    def forward(self, images: Tensor) -> Tensor:
        embedded: Tensor = self.proj(images)
        return embedded.permute(0, 2, 3, 1)


class SelfAttention(nn.Module):
    """Attention of all tokens (N, L, width) to one another."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = torch.unflatten(self.qkv(tokens), 2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return projected


class FeedForward(nn.Module):
    """Two linear layers, token by token."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)

    def forward(self, tokens: Tensor) -> Tensor:
        widened: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return widened


class Block(nn.Module):
    """Attention, then an MLP; each normalises first and is added to what came in."""

    def __init__(self, config: DinoConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.attn = SelfAttention(config.width, config.heads)
        self.norm2 = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.mlp = FeedForward(config.width, config.width * config.expansion)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        mixed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return mixed


class DinoFeatures(nn.Module):
    """DINO's features of single frames. The tensors have the names of the published backbones."""

    def __init__(self, config: DinoConfig | None = None) -> None:
        super().__init__()
        self.config = config or DinoConfig()
        width = self.config.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.config.grid**2, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        self.patch_embed = PatchEmbedding(self.config)
        self.blocks = nn.ModuleList(Block(self.config) for _ in range(self.config.depth))
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)

    def forward(self, images: Tensor) -> Tensor:
        """Return the last block's features after the final norm, without the class token.

        Args:
            images: (N, 3, H, W), normalised as :func:`rotomem.motion.frames.normalise_frames` does; H and W are
                multiples of the patch.

        Returns:
            (N, H / patch, W / patch, width).

        Raises:
            SettingError: a size that patches do not cover.
        """
        height, width = images.shape[-2:]
        patch = self.config.patch
        if height % patch or width % patch:
            raise SettingError(f"frames of {width}×{height} are not a whole number of {patch}-pixel patches")
        patches = self.patch_embed(images)
        rows, columns = patches.shape[1:3]
        patches = patches + self._positions(rows, columns)
        class_token = self.cls_token + self.pos_embed[:, :1]
        tokens = torch.cat([class_token.expand(len(images), -1, -1), patches.flatten(1, 2)], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        features: Tensor = self.norm(tokens)[:, 1:]
        return torch.unflatten(features, 1, (rows, columns))

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Return the position embeddings (1, rows, columns, width), interpolated from the learnt square.

        The published backbones were used with scales a tenth of a patch above the true ones; their bicubic samples
        lie accordingly.
        """
        grid = self.config.grid
        learnt = torch.unflatten(self.pos_embed[:, 1:], 1, (grid, grid))
        if rows == columns == grid:
            return learnt
        scales = [(rows + 0.1) / grid, (columns + 0.1) / grid]
        resized = F.interpolate(learnt.permute(0, 3, 1, 2), scale_factor=scales, mode="bicubic")
        return resized.permute(0, 2, 3, 1)
