"""From frames and flow to masks: flow-predicted masks, what the selector says of them, and their correction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.errors import CancelledError, SettingError
from rotomem.motion.adaptation import PUBLISHED_RATE, AdaptationShot, adapt_corrector
from rotomem.motion.correction import assign_pixels, correct_masks
from rotomem.motion.corrector import Corrector
from rotomem.motion.flow_input import stack_flow
from rotomem.motion.flow_segmenter import FlowSegmenter
from rotomem.motion.frames import WORKING_AREA, normalise_frames, windows, working_size
from rotomem.motion.selector import CORRECT, Selector, choose_exemplars, exemplar_scores, least_error, relative_error

FLOW_WINDOW, FLOW_OVERLAP = 30, 10
EXEMPLARS = 10
FRAMES_AT_ONCE = 8

Features = Callable[[Tensor], Tensor]
"""Normalised frames (N, 3, H, W) to appearance features (N, h, w, C)."""


@dataclass(frozen=True)
class MotionNetworks:
    """The networks, in evaluation mode, and what they see with.

    Args:
        coarse_features: at stride 16, for the selector: DINO ViT-S/16, or our own key encoder.
        fine_features: at stride 8, for the corrector: DINO ViT-S/8, or our own key encoder.
        area: pixels of the frames that the networks take.
        adaptation_rate: of learning, in adaptation to a shot.
    """

    segmenter: FlowSegmenter
    selector: Selector
    corrector: Corrector
    coarse_features: Features
    fine_features: Features
    area: int = WORKING_AREA
    adaptation_rate: float = PUBLISHED_RATE


@dataclass(frozen=True)
class Appearance:
    """A shot as the networks see it: ``images`` (T, 3, H, W) normalised, features (T, h, w, C) at strides 16 and 8."""

    images: Tensor
    coarse: Tensor
    fine: Tensor


@dataclass(frozen=True)
class Judgement:
    """What the selector says of masks.

    Args:
        relative_error: (T, K) predicted area in error over the mask's area, at least 0.
        error_maps: (T, K, H, W) probability that a pixel is wrong.
    """

    relative_error: Tensor
    error_maps: Tensor

    @property
    def confidence(self) -> Tensor:
        """(T, K) in [0, 1]."""
        return 1 - self.relative_error.clamp(0, 1)


@dataclass(frozen=True)
class MotionMasks:
    """Objects found in a shot; H and W are the networks' size, ``working_size`` of the frames'.

    Args:
        masks: (T, K, H, W) probabilities of the corrected masks.
        relative_error, error_maps: of the corrected masks; see :class:`Judgement`.
        exemplars: (K, t) frames whose flow-predicted masks guided the correction, ascending, from 0.
        flow_masks: (T, K, H, W) in {0, 1}, before correction; flow_error: (T, K) the selector's relative error of them.
    """

    masks: Tensor
    relative_error: Tensor
    error_maps: Tensor
    exemplars: Tensor
    flow_masks: Tensor
    flow_error: Tensor

    @property
    def confidence(self) -> Tensor:
        """(T, K) in [0, 1], of the corrected masks."""
        return 1 - self.relative_error.clamp(0, 1)


class _Steps:
    """Tells progress, and stops where that is asked for."""

    def __init__(self, total: int, on_progress: Callable[[int, int], None], cancelled: Callable[[], bool]) -> None:
        self.total, self._done, self._on_progress, self._cancelled = total, 0, on_progress, cancelled

    def __call__(self) -> None:
        if self._cancelled():
            raise CancelledError("the search for moving objects was cancelled")
        self._done = min(self._done + 1, self.total)
        self._on_progress(self._done, self.total)


def propose(
    images: Tensor,
    flows: tuple[Tensor, Tensor],
    networks: MotionNetworks,
    *,
    objects: int = 3,
    adapt_steps: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> MotionMasks:
    """Find moving objects in one shot without cuts.

    Args:
        images: (T, 3, h, w) display-referred RGB in [0, 1], any size and any T from 1.
        flows: forward and backward (T, 2, h', w') in pixels of their own size; see
            :func:`rotomem.motion.flow_input.stack_flow`.
        objects: at most so many are returned, those of the largest masks first; K is less where fewer are found, at
            least 1.
        adapt_steps: of adaptation of the corrector to this shot; 0 for none, about 200 as in the paper.
        on_progress: told steps done and steps in all. cancelled: asked before each.

    Raises:
        CancelledError: ``cancelled`` said so.
        SettingError: shapes that do not belong together.
    """
    count = len(images)
    if not count or len(flows[0]) != count:
        raise SettingError(f"{count} frames and {len(flows[0])} frames of flow do not belong together")
    if objects < 1 or adapt_steps < 0:
        raise SettingError(f"{objects} objects after {adapt_steps} steps of adaptation cannot be looked for")
    size = working_size(images.shape[-2], images.shape[-1], area=networks.area)
    groups = -(-min(objects, networks.segmenter.config.objects) // networks.corrector.config.objects)
    corrections = groups * len(windows(count, 7)) * (2 if adapt_steps else 1)
    total = len(windows(count, FLOW_WINDOW, FLOW_OVERLAP)) + -(-count // FRAMES_AT_ONCE) + 2 + corrections + adapt_steps
    step = _Steps(total, on_progress, cancelled)
    masks = segment_flow(flows, networks, size, step=step)[:, :objects]
    appearance = look_at(images, networks, size, step=step)
    return refine(appearance, masks, networks, adapt_steps=adapt_steps, step=step)


@torch.no_grad()
def segment_flow(
    flows: tuple[Tensor, Tensor],
    networks: MotionNetworks,
    size: tuple[int, int],
    *,
    step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return flow-predicted masks (T, K, H, W) in {0, 1}, the largest objects first; K at least 1.

    Windows of 30 frames overlap by 10, on which their objects are matched.
    """
    segmenter = networks.segmenter
    device = next(segmenter.parameters()).device
    flow = stack_flow(*flows, size)
    joined = torch.zeros(len(flow), segmenter.config.objects, *size)
    done = 0
    for window in windows(len(flow), FLOW_WINDOW, FLOW_OVERLAP):
        step()
        span = slice(window.start, window.stop)
        found = segmenter(flow[None, span].to(device))
        seen = _front_to_back(found.amodal_logits[0].float() > 0, found.order[0, 0].float()).cpu()
        if window.start < done:
            shared = done - window.start
            seen = seen[:, _same_objects(joined[window.start : done], seen[:shared])]
            seen = seen[shared:]
        joined[done : window.stop] = seen
        done = window.stop
    areas = joined.sum(dim=(0, 2, 3))
    order = areas.argsort(descending=True)
    return joined[:, order[: max(1, int((areas > 0).sum()))]]


def _front_to_back(amodal: Tensor, order: Tensor) -> Tensor:
    """Return what is seen (T, K, H, W) in {0, 1} of whole shapes; larger ``order`` (K,) is further back."""
    seen = torch.zeros(amodal.shape, device=amodal.device)
    free = torch.ones_like(amodal[:, 0])
    for index in order.argsort().tolist():
        seen[:, index] = (amodal[:, index] & free).float()
        free = free & ~amodal[:, index]
    return seen


def _same_objects(before: Tensor, after: Tensor) -> Tensor:
    """Return for each object of ``before`` (T, K, H, W) which one of ``after`` it is, by the most overlap in all."""
    common = torch.einsum("tkhw,tjhw->kj", before, after)
    union = before.sum(dim=(0, 2, 3))[:, None] + after.sum(dim=(0, 2, 3)) - common
    overlap = common / union.clamp_min(1)
    orders = torch.tensor(list(permutations(range(len(overlap)))))
    return orders[overlap[torch.arange(len(overlap)), orders].sum(dim=1).argmax()]


@torch.no_grad()
def look_at(
    images: Tensor, networks: MotionNetworks, size: tuple[int, int], *, step: Callable[[], None] = lambda: None
) -> Appearance:
    """Return a shot (T, 3, h, w) in [0, 1] as the networks see it at H, W; features eight frames at a time."""
    device = next(networks.selector.parameters()).device
    small, coarse, fine = [], [], []
    for piece in torch.split(images, FRAMES_AT_ONCE):
        step()
        resized = F.interpolate(piece.float(), size=size, mode="bilinear", antialias=True).clamp(0, 1)
        small.append(normalise_frames(resized))
        seen = small[-1].to(device)
        coarse.append(networks.coarse_features(seen).float().cpu())
        fine.append(networks.fine_features(seen).float().cpu())
    return Appearance(torch.cat(small), torch.cat(coarse), torch.cat(fine))


@torch.no_grad()
def judge(appearance: Appearance, masks: Tensor, selector: Selector) -> Judgement:
    """Return what the selector says of masks (T, K, H, W) in {0, 1}, from motion or propagated."""
    device = next(selector.parameters()).device
    logits = selector(appearance.images[None].to(device), masks[None].to(device), appearance.coarse[None].to(device))
    error_map = logits[0].float().softmax(dim=2).cpu()
    error = relative_error(error_map, masks.cpu(), least=least_error(selector.config))
    return Judgement(error, 1 - error_map[:, :, CORRECT])


def refine(
    appearance: Appearance,
    masks: Tensor,
    networks: MotionNetworks,
    *,
    adapt_steps: int = 0,
    step: Callable[[], None] = lambda: None,
) -> MotionMasks:
    """Select exemplars among masks (T, K, H, W) in {0, 1}, correct all of them, and judge the result."""
    step()
    before = judge(appearance, masks, networks.selector)
    scores = exemplar_scores(before.relative_error)
    exemplars = choose_exemplars(scores, EXEMPLARS)
    seen = (appearance.images, masks, appearance.fine, scores, exemplars)
    corrected = correct_masks(networks.corrector, *seen, step=step)
    if adapt_steps:
        shot = AdaptationShot(appearance.images, appearance.fine, masks, corrected, scores, exemplars)
        adapted = adapt_corrector(
            networks.corrector, [shot], steps=adapt_steps, rate=networks.adaptation_rate, step=lambda loss: step()
        )
        corrected = correct_masks(adapted, *seen, edges_from_masks=False, step=step)
    step()
    after = judge(appearance, assign_pixels(corrected), networks.selector)
    return MotionMasks(corrected, after.relative_error, after.error_maps, exemplars, masks, before.relative_error)
