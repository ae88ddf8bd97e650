"""How the motion networks start to learn: transformers near the identity, and slowly; masks small, or as given.

Their post-norm transformers forget the clip otherwise. Objects cover a thirtieth of a picture, so what lowers the loss
first is to draw less everywhere; the shortest way to that is to make all tokens alike, and once they are (a spread of
0.01 over positions, of 0.84 at the start, after 900 steps), nothing leads back: every query then draws the same.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from rotomem.motion import Corrector
from rotomem.motion.flow_segmenter import DecoderLayer
from rotomem.motion.selector import CORRECT
from rotomem.motion.slot_attention import SlotDecoderLayer
from rotomem.motion.transformer import Attention, EncoderLayer, Mlp, Projection
from rotomem.motion.unet import Decoder

TRANSFORMER_RATE = 0.05
"""Of the peak rate of learning, for the kinds that a network's trainer names."""
TRANSFORMERS = (EncoderLayer, SlotDecoderLayer, Projection, nn.Embedding)
"""Held back in selector and corrector. What turns the corrector's attention into pictures is none, and is not."""
ALL_BUT_CONVOLUTIONS = (*TRANSFORMERS, DecoderLayer, Mlp)
"""Held back in the flow segmenter, as it was trained."""
FIRST_BRANCH = 0.1
"""Of their usual size, the weights with which attention and MLPs add to a token at first."""
FIRST_SHARE = 0.05
"""Of the picture, that is drawn at first."""


def begin_gently(network: nn.Module) -> None:
    """Make a fresh network's transformers nearly the identity, and its masks (or errors) nearly empty; in place."""
    odds = math.log(FIRST_SHARE / (1 - FIRST_SHARE))
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, Attention):
                module.out_proj.weight.mul_(FIRST_BRANCH)
            elif isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in ("linear2", "linear2_2"):
                module.weight.mul_(FIRST_BRANCH)
            elif isinstance(module, Decoder):
                module.conv.bias.fill_(odds)  # type: ignore[union-attr]


def begin_without_errors(network: nn.Module) -> None:
    """Let a fresh selector take nearly every pixel for correct; in place."""
    for module in network.modules():
        if isinstance(module, Decoder):
            with torch.no_grad():
                module.conv.bias.zero_()  # type: ignore[union-attr]
                module.conv.bias[CORRECT] = math.log((1 - 2 * FIRST_SHARE) / FIRST_SHARE)  # type: ignore[index]


def begin_without_changes(network: Corrector) -> None:
    """Let a fresh corrector draw next to nothing: one that corrects returns the masks that it is given; in place."""
    with torch.no_grad():
        network.rgbmaskdec.decoder_m.conv.weight.mul_(FIRST_BRANCH)


def rate_shares(network: nn.Module, *, slow: tuple[type[nn.Module], ...]) -> dict[str, float]:
    """Return each parameter's share of the rate of learning by its name: 1, in modules of the ``slow`` kinds less."""
    held_back = {
        f"{name}.{own}"
        for name, module in network.named_modules()
        if isinstance(module, slow)
        for own, _ in module.named_parameters()
    }
    return {name: TRANSFORMER_RATE if name in held_back else 1.0 for name, _ in network.named_parameters()}
