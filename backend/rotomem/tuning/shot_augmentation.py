"""Augmented training pairs from a shot's few annotated frames: views of them that other frames might be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.tuning.clip_batch import ClipBatch
from rotomem.tuning.clip_faults import corrupt_priors
from rotomem.tuning.noise import smooth_noise
from rotomem.vos.flow_prior import read_at

CARRIED_SHARE, BENT_SHARE = 0.45, 0.4
"""Shares of the pairs whose prior is the really carried one, and the bent truth; the rest have none."""
ON_OBJECT = 0.75
BLUR_SHARE = 0.2
BEND = 0.03


@dataclass(frozen=True)
class AnnotatedFrames:
    """A shot's annotated frames as the network sees them.

    Attributes:
        images: (A, 3, H, W), sRGB-encoded, in [0, 1].
        mattes: (A, K, H, W) in [0, 1].
        known: (A, K) bool, whether the frame says anything of the object.
        priors: (A, K, 4, H, W), each frame's mattes as carried there from its annotated neighbours, not from itself:
            what flow gets wrong in this shot. None where flow is not at hand.
    """

    images: Tensor
    mattes: Tensor
    known: Tensor
    priors: Tensor | None = None


def sample_pairs(
    frames: AnnotatedFrames, *, batch: int, memorised: int, side: int, generator: torch.Generator
) -> tuple[ClipBatch, Tensor]:
    """Draw clips of ``memorised`` annotated views and a last one to segment; also which objects count there (B, K).

    Args:
        side: of the square views, pixels.
    """
    count = len(frames.images)
    device = generator.device
    query = torch.randint(count, (batch,), generator=generator, device=device)
    # A frame learns from the others where there are some: a frame beside its own copy would teach copying.
    step = torch.randint(1, max(count, 2), (memorised, batch), generator=generator, device=device)
    chosen = [(query + hop) % count for hop in step] + [query]
    views = [_view(frames, index, side, generator) for index in chosen]
    query_view = views[-1]
    prior = _query_prior(query_view, generator)
    images = torch.stack([view.image for view in views], dim=1)
    priors = prior.new_zeros(batch, len(views), *prior.shape[1:])
    priors[:, -1] = prior
    clip = ClipBatch(
        images=images,
        truth=torch.stack([view.mattes for view in views], dim=1),
        annotations=torch.stack([view.mattes for view in views[:-1]], dim=1),
        priors=priors,
        places=images.new_zeros(batch, len(views), memorised, 3, side // 16, side // 16),
        annotated=tuple(range(memorised)),
    )
    shown = torch.stack([frames.known[index] for index in chosen[:-1]]).any(0)
    return clip, (frames.known[query] & shown).to(images.dtype)


@dataclass(frozen=True)
class _View:
    """Augmented images (B, 3, s, s), mattes (B, K, s, s) and, where there are any, carried priors (B, K, 4, s, s)."""

    image: Tensor
    mattes: Tensor
    prior: Tensor | None


def _view(frames: AnnotatedFrames, index: Tensor, side: int, generator: torch.Generator) -> _View:
    count = frames.mattes.shape[1]
    content = [frames.images[index], frames.mattes[index]]
    if frames.priors is not None:
        content.append(frames.priors[index].flatten(1, 2))
    grid = _view_grid(frames.mattes[index], side, generator)
    sheet = torch.cat(content, dim=1)
    # Mirrored beyond its border, so that views may reach over it without an artificial edge.
    seen = F.grid_sample(sheet, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    seen = _blur_motion(seen, 3 + count, generator)
    prior = torch.unflatten(seen[:, 3 + count :], 1, (count, 4)) if frames.priors is not None else None
    return _View(_recolour(seen[:, :3], generator), seen[:, 3 : 3 + count].clamp(0, 1), prior)


def _view_grid(mattes: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Where each pixel of the views is read, (B, side, side, 2): an affine map and a smooth bend."""
    batch, _, height, width = mattes.shape
    device = generator.device

    def draw(low: float, high: float) -> Tensor:
        return torch.rand(batch, generator=generator, device=device) * (high - low) + low

    # View pixels per plate pixel, from the whole frame in view to slightly enlarged.
    smallest = side / max(height, width)
    zoom = torch.exp(draw(math.log(min(smallest, 0.9)), math.log(1.3)))
    angle, shear = draw(-0.35, 0.35), draw(-0.15, 0.15)
    flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    centre = _view_centres(mattes, generator)
    line = torch.arange(side, device=device) + 0.5 - side / 2
    x, y = line.expand(side, side), line[:, None].expand(side, side)
    bend = (
        smooth_noise((batch, 2, side, side), cells=5, generator=generator)
        * (BEND * side * draw(0, 1))[:, None, None, None]
    )
    x, y = x + bend[:, 0], y + bend[:, 1]
    cos, sin = (angle.cos() / zoom)[:, None, None], (angle.sin() / zoom)[:, None, None]
    x, y = flip[:, None, None] * (x + shear[:, None, None] * y), y
    across = centre[:, 0, None, None] + cos * x - sin * y
    down = centre[:, 1, None, None] + sin * x + cos * y
    return torch.stack([across * (2 / width) - 1, down * (2 / height) - 1], dim=-1)


def _view_centres(mattes: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 2), x and y in pixels: a random pixel of an object, or anywhere."""
    batch, _, height, width = mattes.shape
    anywhere = torch.rand(batch, 2, generator=generator, device=generator.device)
    anywhere = anywhere * anywhere.new_tensor([width, height])
    weight = mattes.amax(1).flatten(1) + 1e-6
    pixel = torch.multinomial(weight, 1, generator=generator)[:, 0]
    on_object = torch.stack([pixel % width, pixel // width], dim=1).to(anywhere.dtype)
    hit = torch.rand(batch, generator=generator, device=generator.device) < ON_OBJECT
    return torch.where(hit[:, None], on_object, anywhere)


def _blur_motion(content: Tensor, channels: int, generator: torch.Generator) -> Tensor:
    """Average the first ``channels`` of some of (B, C, H, W) over a short straight motion; priors stay as they are."""
    batch = len(content)
    draw = torch.rand(3, batch, generator=generator, device=generator.device)
    length = (draw[0] < BLUR_SHARE) * draw[1] * 0.05 * content.shape[-1]
    if not bool(length.any()):
        return content
    direction = torch.stack([(draw[2] * math.pi).cos(), (draw[2] * math.pi).sin()], dim=1) * length[:, None]
    still = content[:, :channels]
    size = still.shape[-2:]
    moved = [
        read_at(still, (direction * share)[..., None, None].expand(-1, -1, *size)) for share in (-0.5, -0.25, 0.25, 0.5)
    ]
    return torch.cat([torch.stack([still, *moved]).mean(0), content[:, channels:]], dim=1)


def _recolour(image: Tensor, generator: torch.Generator) -> Tensor:
    """Exposure, contrast, tint and a little grain."""
    batch = len(image)

    def draw(low: float, high: float, channels: int = 1) -> Tensor:
        value = torch.rand(batch, channels, 1, 1, generator=generator, device=generator.device)
        return value * (high - low) + low

    image = image.clamp(1e-4, 1) ** draw(0.8, 1.25)
    image = (image - 0.5) * draw(0.85, 1.2) + 0.5 + draw(-0.08, 0.08)
    image = image * draw(0.92, 1.08, 3)
    grain = torch.randn(image.shape, generator=generator, device=generator.device) * draw(0, 0.02)
    return (image + grain).clamp(0, 1)


def _query_prior(view: _View, generator: torch.Generator) -> Tensor:
    """Carried mattes for the view to segment (B, K, 4, s, s): the real ones, bent truth, or none."""
    batch = len(view.mattes)
    trust = torch.ones_like(view.mattes) * (
        0.3 + 0.7 * torch.rand(batch, 1, 1, 1, generator=generator, device=generator.device)
    )
    bent = torch.stack([view.mattes, view.mattes, trust, trust], dim=2)
    bent = corrupt_priors(bent, (4, 4), generator=generator)
    draw = torch.rand(batch, generator=generator, device=generator.device)[:, None, None, None, None]
    prior = torch.where(draw < CARRIED_SHARE + BENT_SHARE, bent, torch.zeros_like(bent))
    if view.prior is not None:
        prior = torch.where(draw < CARRIED_SHARE, view.prior.clamp(0, 1), prior)
    return prior
