"""Self-supervised adaptation to shots (sections 3.4.2 and 0.A.3): the corrector's own masks are what is learnt from."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotomem.errors import SettingError
from rotomem.motion.correction import assign_pixels, gather_exemplars
from rotomem.motion.corrector import Corrector
from rotomem.motion.flow_segmenter import FlowSegmenter
from rotomem.motion.losses import mask_losses, match_objects, reconstruction_loss, reorder

PUBLISHED_RATE = 2e-5
FRAMES_PER_STEP = 4
NEIGHBOURS = 5
GRADIENT_VALUE = 5.0

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class AdaptationShot:
    """A shot to adapt to, with what the corrector makes of it.

    Args:
        images: (T, 3, H, W) normalised; features: (T, H/8, W/8, C).
        masks: (T, K, H, W) flow-predicted masks in {0, 1}.
        corrected: (T, K, H, W) the corrector's probabilities.
        scores: (T, K) the selector's; exemplar_frames: (K, t) ascending.
    """

    images: Tensor
    features: Tensor
    masks: Tensor
    corrected: Tensor
    scores: Tensor
    exemplar_frames: Tensor


def adapt_corrector(
    network: Corrector,
    shots: Sequence[AdaptationShot],
    *,
    steps: int,
    rate: float = PUBLISHED_RATE,
    seed: int = 0,
    step: Callable[[float], None] = lambda loss: None,
) -> Corrector:
    """Return a copy of the corrector that learnt from its own masks on the exemplars' frames.

    Elsewhere its masks are not good enough to learn from. The boundary term is left out, and the upsampler is shown no
    flow-predicted masks, so that it finds edges in the picture: correct with ``edges_from_masks=False`` afterwards.

    Args:
        steps: of Adam, each on one shot and up to four frames; about 200 for one shot.
        step: called after each with its loss; may raise to stop, which leaves ``network`` as it was.

    Raises:
        SettingError: no shots, or fewer than one step.
    """
    learner, optimizer, generator = _prepare(network, len(shots), steps, rate, seed)
    for _ in range(steps):
        shot = shots[int(torch.randint(len(shots), (), generator=generator))]
        with torch.enable_grad():
            loss = _loss_on(learner, shot, generator)
        _learn(learner, optimizer, loss)
        step(float(loss.detach()))
    return learner.requires_grad_(False).eval()


def adapt_segmenter(
    network: FlowSegmenter,
    shots: Sequence[tuple[Tensor, Tensor]],
    *,
    steps: int,
    rate: float = PUBLISHED_RATE,
    seed: int = 0,
    step: Callable[[float], None] = lambda loss: None,
) -> FlowSegmenter:
    """Return a copy of the flow segmenter that learnt from corrected masks (section 3.4.2).

    Args:
        shots: of each, flow (T, 4, H, W) as :func:`rotomem.motion.flow_input.stack_flow` makes it, and corrected masks
            (T, K, H, W) in {0, 1} at the same size. The paper takes flow of another gap than is segmented afterwards,
            so that the network does not learn the very flow by heart.
        steps: of Adam, each on up to five neighbouring frames of one shot.
        step: called after each with its loss; may raise to stop, which leaves ``network`` as it was.

    Raises:
        SettingError: no shots, or fewer than one step.
    """
    learner, optimizer, generator = _prepare(network, len(shots), steps, rate, seed)
    count = network.config.objects
    device = next(network.parameters()).device
    for _ in range(steps):
        flow, masks = shots[int(torch.randint(len(shots), (), generator=generator))]
        first = int(torch.randint(max(1, len(flow) - NEIGHBOURS + 1), (), generator=generator))
        window = slice(first, first + NEIGHBOURS)
        truth = F.pad(masks[window, :count], (0, 0, 0, 0, 0, max(0, count - masks.shape[1])))[None].to(device)
        with torch.enable_grad(), _mixed(device):
            logits = learner(flow[None, window].to(device)).amodal_logits
            matched = reorder(truth, match_objects(logits, truth))
            loss = mask_losses(logits, matched, boundary=False).mean()
        _learn(learner, optimizer, loss)
        step(float(loss.detach()))
    return learner.requires_grad_(False).eval()


def _prepare(
    network: Network, shots: int, steps: int, rate: float, seed: int
) -> tuple[Network, torch.optim.Adam, torch.Generator]:
    if not shots or steps < 1:
        raise SettingError(f"adaptation needs a shot and a step, not {shots} shots and {steps} steps")
    learner = copy.deepcopy(network).requires_grad_(True).train()
    optimizer = torch.optim.Adam(learner.parameters(), lr=rate)
    return learner, optimizer, torch.Generator().manual_seed(seed)


def _learn(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    torch.nn.utils.clip_grad_value_(network.parameters(), GRADIENT_VALUE)
    optimizer.step()


def _mixed(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def _loss_on(network: Corrector, shot: AdaptationShot, generator: torch.Generator) -> Tensor:
    """Return the loss on some of a shot's exemplar frames, for one group of objects."""
    device = next(network.parameters()).device
    size = network.config.objects
    groups = -(-shot.masks.shape[1] // size)
    first = size * int(torch.randint(groups, (), generator=generator))
    group = slice(first, first + size)
    frames = shot.exemplar_frames[group].cpu()
    filling = size - len(frames)
    usable = torch.unique(frames)
    chosen = usable[torch.randperm(len(usable), generator=generator)[:FRAMES_PER_STEP]].sort().values
    taught = (frames[:, :, None] == chosen).any(dim=1).T  # (F, K): pseudo-labels on an object's own exemplars alone
    masks = F.pad(shot.masks[:, group], (0, 0, 0, 0, 0, filling))
    exemplars = gather_exemplars(
        masks, shot.features, F.pad(shot.scores[:, group], (0, filling)), F.pad(frames.T, (0, filling)).T
    )
    exemplars = type(exemplars)(*(tensor.to(device) for tensor in exemplars))
    truth = F.pad(assign_pixels(shot.corrected[chosen][:, group]), (0, 0, 0, 0, 0, filling))[None].to(device)
    counted = F.pad(taught.float(), (0, filling))[None].to(device)
    features = shot.features[None, chosen].to(device)
    with _mixed(device):
        correction = network(
            shot.images[None, chosen].to(device),
            masks[None, chosen].to(device),
            features,
            exemplars,
            frames=chosen.to(device),
            shown=torch.zeros(1, dtype=torch.bool, device=device),
        )
        rebuilt = network.reconstruct(correction.queries, features.shape[2], features.shape[3])
    losses = mask_losses(correction.logits, truth, boundary=False)
    mask_loss = (losses * counted).sum() / counted.sum().clamp_min(1)
    return mask_loss + reconstruction_loss(rebuilt, features, truth)
