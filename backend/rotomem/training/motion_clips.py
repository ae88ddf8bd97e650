"""Training clips for the motion networks: synthetic shots with flow, whole shapes, and masks as flow gives them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from rotomem.motion import stack_flow
from rotomem.training.estimated_flow import estimate_flows
from rotomem.training.synthetic import Mosaic, generate_batch
from rotomem.tuning.noise import smooth_noise
from rotomem.vos.flow_prior import read_at

OBJECTS = 3
PRESENT_AREA = 0.002
ESTIMATED_SCALE = 2
LOSE_PART, GAIN_PART, SHIFTED, LOST, DEFORMED = 0.45, 0.35, 0.3, 0.1, 0.6
LASTING = 0.5
"""Share of clips whose faults lie at one place of the picture."""
SOUND = 0.25
"""Share of frames whose masks are left as they are, so that there are exemplars to find."""


@dataclass(frozen=True)
class MotionSpec:
    """Which clips to make; the same specification gives the same clips.

    Args:
        seed: of the first shot; the others follow.
        frames: T; height, width: pixels, multiples of 16.
        difficulty: of the shots, 0 to 1.
        real_flow: chance that the flow is estimated (DIS), not a noisy copy of the exact one.
        sprite_size: as in ``generate_batch``; at 1 the objects cover 4 % of the picture on average.
    """

    seed: int
    batch: int
    frames: int
    height: int
    width: int
    difficulty: float = 1.0
    real_flow: float = 0.5
    sprite_size: float = 1.0


@dataclass(frozen=True)
class MotionClips:
    """B clips of T frames with K objects.

    Attributes:
        images: (B, T, 3, H, W), sRGB-encoded, in [0, 1].
        modal, amodal: (B, T, K, H, W) in [0, 1], what is seen of the objects, and their whole shapes.
        depth: (B, K) ranks, 0 nearest; present: (B, K), 1 where there is such an object, else 0.
        flow: (B, T, 4, H, W), as the flow segmenter takes it.
        masks: (B, T, K, H, W) in {0, 1}: modal, with the faults of masks from flow.
    """

    images: Tensor
    modal: Tensor
    amodal: Tensor
    depth: Tensor
    present: Tensor
    flow: Tensor
    masks: Tensor

    def packed(self) -> MotionClips:
        """The same clips in 8 and 16 bits, to travel between processes."""
        return MotionClips(
            images=(self.images * 255).round().to(torch.uint8),
            modal=(self.modal * 255).round().to(torch.uint8),
            amodal=(self.amodal * 255).round().to(torch.uint8),
            depth=self.depth.half(),
            present=self.present.half(),
            flow=self.flow.half(),
            masks=(self.masks * 255).to(torch.uint8),
        )

    def to(self, device: torch.device) -> MotionClips:
        """The same clips in float32 on a device."""
        tensors = {}
        for field in fields(self):
            value = getattr(self, field.name)
            scale = 255 if value.dtype == torch.uint8 else 1
            tensors[field.name] = value.to(device, non_blocking=True).float() / scale
        return MotionClips(**tensors)


def make_motion_clips(
    spec: MotionSpec, *, device: torch.device | str = "cpu", photographs: Mosaic | None = None
) -> MotionClips:
    """Make a batch of clips.

    Flow is estimated on frames twice as large, as it is on a plate: DIS needs more pixels than the networks take.
    """
    generator = torch.Generator(device=device).manual_seed(spec.seed)
    estimated = float(torch.rand((), generator=generator, device=device)) < spec.real_flow
    scale = ESTIMATED_SCALE if estimated else 1
    shots = generate_batch(
        range(spec.seed, spec.seed + spec.batch),
        frames=spec.frames,
        height=spec.height * scale,
        width=spec.width * scale,
        device=device,
        difficulty=spec.difficulty,
        targets=OBJECTS,
        photographs=photographs,
        movers=True,
        sprite_size=spec.sprite_size,
    )
    forward, backward = estimate_flows(shots, generator=generator, real_share=float(estimated))
    size = (spec.height, spec.width)
    flow = [stack_flow(*pair, size) for pair in zip(forward, backward, strict=True)]
    modal = _reduce(shots.alpha_modal, scale)
    return MotionClips(
        images=_reduce(shots.rgb, scale),
        modal=modal,
        amodal=_reduce(shots.alpha_amodal, scale),
        depth=shots.depth_order[:, 0].float(),
        present=(modal.mean(dim=(1, 3, 4)) > PRESENT_AREA).float(),
        flow=torch.stack(flow),
        masks=imitate_flow_masks(modal, generator=generator),
    )


def _reduce(pictures: Tensor, scale: int) -> Tensor:
    """Return (B, T, C, H, W) at 1 / scale of the size."""
    return torch.unflatten(F.avg_pool2d(pictures.flatten(0, 1), scale), 0, tuple(pictures.shape[:2]))


def imitate_flow_masks(truth: Tensor, *, generator: torch.Generator) -> Tensor:
    """Return masks (B, T, K, H, W) in {0, 1} with what flow does to them.

    Limbs that stand still are lost, things nearby that move alike are gained, edges swell and shrink, masks are
    displaced, and on some frames there is none. Frames differ, and some are sound: those are the ones to select. In
    ``LASTING`` of the clips faults lie at the same place on each frame that has them.
    """
    batch, frames, count, height, width = truth.shape
    flat = (truth > 0.5).float().flatten(0, 1)
    each = batch * frames
    lasting = torch.rand((batch, 1, 1, 1, 1), generator=generator, device=truth.device) < LASTING

    def some(share: float) -> Tensor:
        return (torch.rand((each, count), generator=generator, device=truth.device) < share)[..., None, None]

    def blobs(cells: int, level: float) -> Tensor:
        noise = smooth_noise((each, count, height, width), cells=cells, generator=generator)
        by_clip = torch.unflatten(noise, 0, (batch, frames))
        return torch.where(lasting, by_clip[:, :1], by_clip).flatten(0, 1) > level

    radius = max(1, height // 48)
    swollen = F.max_pool2d(flat, 2 * radius + 1, stride=1, padding=radius)
    shrunk = -F.max_pool2d(-flat, 2 * radius + 1, stride=1, padding=radius)
    edges = blobs(5, 0.0)
    masks = torch.where(some(DEFORMED), torch.where(edges, swollen, shrunk), flat)
    masks = torch.where(some(LOSE_PART) & blobs(3, 0.4), torch.zeros_like(masks), masks)
    near = F.max_pool2d(flat, 4 * radius + 1, stride=1, padding=2 * radius)
    reach = F.interpolate(near, scale_factor=0.125, mode="area").repeat_interleave(8, 2).repeat_interleave(8, 3)
    reach = F.pad(reach, (0, width - reach.shape[3], 0, height - reach.shape[2])) > 0
    masks = torch.where(some(GAIN_PART) & blobs(3, 0.6) & reach, torch.ones_like(masks), masks)
    offset = (torch.rand((each, 2), generator=generator, device=truth.device) * 2 - 1) * (height / 16)
    moved = read_at(masks, offset[..., None, None].expand(-1, 2, height, width), padding="zeros")
    masks = torch.where(some(SHIFTED), moved, masks)
    masks = torch.where(some(LOST), torch.zeros_like(masks), masks)
    masks = torch.where(some(SOUND), flat, masks)
    return (torch.unflatten(masks, 0, (batch, frames)) > 0.5).float()
