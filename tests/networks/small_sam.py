"""A small segment-anything, built from the package's own classes, with random weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rotomem.propagation.torchvision_import import import_beside_torch


def small_sam(seed: int = 0) -> Any:
    """A network that looks at 128 pixels by patches of 16."""
    modeling = import_beside_torch("segment_anything.modeling")
    torch.manual_seed(seed)
    return modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            img_size=128,
            patch_size=16,
            embed_dim=32,
            depth=2,
            num_heads=2,
            mlp_ratio=2.0,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            out_chans=16,
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=16, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_chans=8
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=3,
            transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=16, mlp_dim=32, num_heads=8),
            transformer_dim=16,
            iou_head_depth=3,
            iou_head_hidden_dim=16,
        ),
    ).eval()


def save_small_sam(folder: Path) -> Path:
    """Write its weights as a file that is found as segment-anything's."""
    path = folder / "sam_small.pth"
    torch.save(small_sam().state_dict(), path)
    return path
