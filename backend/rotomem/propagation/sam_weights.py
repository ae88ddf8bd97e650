"""Loading segment-anything's checkpoints into the package's own classes.

Source: Kirillov et al., "Segment Anything", ICCV 2023; the package ``segment-anything``, Apache 2.0.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rotomem.errors import WeightsCorruptError, WeightsMismatchError, WeightsMissingError
from rotomem.propagation.torchvision_import import first_line, import_beside_torch

BEST_FIRST = ("sam_vit_h*.pth", "sam_vit_l*.pth", "sam_vit_b*.pth", "sam_*.pth")
PROMPT_HEADS, PROMPT_LAYERS = 8, 2
"""Of the decoder's transformer; no tensor's shape tells its heads."""
MULTIMASKS = 3


def has_sam_weights(weights_dir: Path) -> bool:
    """Return whether a folder holds weights of segment-anything."""
    return any(weights_dir.glob(BEST_FIRST[-1]))


def find_sam_weights(weights_dir: Path) -> Path:
    """Return the first of the published names, the largest network first; raises ``WeightsMissingError``."""
    for pattern in BEST_FIRST:
        for path in sorted(weights_dir.glob(pattern)):
            return path
    raise WeightsMissingError(
        f"prompts need segment-anything's weights, and {weights_dir} has none; put sam_vit_b_01ec64.pth there, from "
        "https://github.com/facebookresearch/segment-anything#model-checkpoints"
    )


def load_sam(path: Path) -> tuple[Any, str]:
    """Return ``segment_anything.modeling.Sam`` with a checkpoint's weights, and the file's SHA-256.

    The network's sizes are read from the tensors' shapes, so that a checkpoint of any size fits.

    Raises:
        WeightsMissingError: the file or the package segment-anything is not there.
        WeightsMismatchError: the tensors are another network's.
        WeightsCorruptError: the file is no checkpoint.
    """
    modeling = _modeling()
    try:
        content = path.read_bytes()
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise WeightsMissingError(f"there are no weights {path}; put segment-anything's there") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsCorruptError(f"{path} is no checkpoint ({first_line(error)}); download it again") from error
    try:
        network = _build(modeling, state)
        network.load_state_dict(state)
    except (KeyError, RuntimeError, TypeError, AttributeError, ValueError, ZeroDivisionError) as error:
        raise WeightsMismatchError(
            f"{path} does not fit segment-anything's network ({first_line(error)}); give one of its checkpoints"
        ) from error
    return network.eval(), hashlib.sha256(content).hexdigest()


def _modeling() -> Any:
    try:
        return import_beside_torch("segment_anything.modeling")
    except (ImportError, RuntimeError) as error:
        raise WeightsMissingError(
            f"prompts need the packages segment-anything and torchvision, which cannot be imported "
            f"({first_line(error)}): pip install 'rotomem[sam]'"
        ) from error


def _build(modeling: Any, state: Mapping[str, Tensor]) -> Any:
    """Make a network of the sizes that the tensors have."""
    position = state["image_encoder.pos_embed"]
    grid, width = position.shape[1], position.shape[-1]
    patch = state["image_encoder.patch_embed.proj.weight"].shape[-1]
    depth = _count(state, r"image_encoder\.blocks\.(\d+)\.")
    relative = [state[f"image_encoder.blocks.{at}.attn.rel_pos_h"] for at in range(depth)]
    everywhere = tuple(at for at, table in enumerate(relative) if len(table) == 2 * grid - 1)
    windowed = [len(table) for table in relative if len(table) != 2 * grid - 1]
    prompt = state["image_encoder.neck.0.weight"].shape[0]
    hidden = state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0]
    side = grid * patch
    return modeling.Sam(
        image_encoder=modeling.ImageEncoderViT(
            depth=depth,
            embed_dim=width,
            img_size=side,
            mlp_ratio=state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / width,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            num_heads=width // relative[0].shape[1],
            patch_size=patch,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=everywhere,
            window_size=(windowed[0] + 1) // 2 if windowed else 0,
            out_chans=prompt,
        ),
        prompt_encoder=modeling.PromptEncoder(
            embed_dim=prompt,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=state["prompt_encoder.mask_downscaling.3.weight"].shape[0],
        ),
        mask_decoder=modeling.MaskDecoder(
            num_multimask_outputs=MULTIMASKS,
            transformer=modeling.TwoWayTransformer(
                depth=PROMPT_LAYERS,
                embedding_dim=prompt,
                mlp_dim=state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
                num_heads=PROMPT_HEADS,
            ),
            transformer_dim=prompt,
            iou_head_depth=_count(state, r"mask_decoder\.iou_prediction_head\.layers\.(\d+)\."),
            iou_head_hidden_dim=hidden,
        ),
    )


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    found = {int(match.group(1)) for name in state if (match := re.match(pattern, name))}
    return max(found) + 1 if found else 0
