"""A batch of synthetic shots with exact truth, from seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from rotomem.training.synthetic.camera import defocus, record
from rotomem.training.synthetic.cast import LayerIndex, layers_of
from rotomem.training.synthetic.compositor import Composite, Placement, composite, join_composites
from rotomem.training.synthetic.draws import Draws, Integers
from rotomem.training.synthetic.flow import surface_flow
from rotomem.training.synthetic.lighting import illuminate
from rotomem.training.synthetic.mosaic import Mosaic, procedural_fields
from rotomem.training.synthetic.scene import Scene, ShotFormat, open_shutter, place_scene, plan_scene
from rotomem.training.synthetic.wardrobe import Wardrobe, make_wardrobe

_PRESENT_AREA = 0.0005
"""Fraction of the picture that a target must cover to count as present."""


@dataclass(frozen=True)
class ShotBatch:
    """B shots of T frames with K targets each.

    Attributes:
        rgb: (B, T, 3, H, W), sRGB-encoded (some shots flat or graded, as plates are), in [0, 1].
        alpha_modal: (B, T, K, H, W), the target as it is seen, in [0, 1]; over K they sum to at most 1.
        alpha_amodal: (B, T, K, H, W), the target as if nothing covered it; never less than modal.
        depth_order: (B, T, K) int64, 0 for the nearest target; it does not change during a shot.
        present: (B, T, K) bool, whether anything to speak of is seen of the target.
        flow_forward: (B, T, 2, H, W), pixels, x right and y down, of the seen surface to the next frame; without
            motion blur, at the middle of the shutter; 0 in the last frame.
        flow_backward: (B, T, 2, H, W), likewise to the frame before; 0 in the first frame.
        occluded_forward: (B, T, H, W) bool, the surface point is hidden or outside in the next frame; True in the
            last frame.
        occluded_backward: (B, T, H, W) bool, likewise; True in the first frame.
    """

    rgb: Tensor
    alpha_modal: Tensor
    alpha_amodal: Tensor
    depth_order: Tensor
    present: Tensor
    flow_forward: Tensor
    flow_backward: Tensor
    occluded_forward: Tensor
    occluded_backward: Tensor

    def to(self, dtype: torch.dtype) -> ShotBatch:
        """The same batch with its floating-point tensors in another precision."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return ShotBatch(**{name: v.to(dtype) if v.is_floating_point() else v for name, v in values.items()})


@torch.no_grad()
def generate_batch(
    seeds: Sequence[int],
    *,
    frames: int,
    height: int,
    width: int,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    difficulty: float = 1.0,
    targets: int = 2,
    photographs: Mosaic | None = None,
    samples: int = 3,
    plain: bool = False,
    movers: bool = False,
    sprite_size: float = 1.0,
) -> ShotBatch:
    """Make one shot per seed.

    A seed gives the same shot whichever shots share its batch. Rounding differs between devices and batch sizes:
    by about 1e-5, and by more in a few pixels where JPEG rounds a coefficient the other way.

    Args:
        seeds: one per shot.
        frames: T, at least 1.
        height, width: pixels, at least 32.
        difficulty: from 0, slow, simple, clean shots, to 1, everything.
        targets: K, 1 to 3.
        photographs: from ``load_photographs``; without, all textures are procedural and a seed looks different.
        samples: of the shutter for motion blur, odd.
        plain: leave out motion blur, defocus, shadows, changes of light, grain and JPEG.
        movers: every sprite is a target, and none is more than one; there are at most three. What lies in front of the
            background as its own layer without being a sprite is background.
        sprite_size: how much larger sprites are than they would be, above 0.
    """
    if sprite_size <= 0:
        raise ValueError(f"sprites {sprite_size} times as large as they would be cannot be drawn; give more than 0")
    if not seeds or frames < 1 or min(height, width) < 32 or not 1 <= targets <= 3 or samples % 2 == 0:
        raise ValueError(
            f"a batch needs seeds, a frame, 32 pixels, 1 to 3 targets and an odd number of samples, not "
            f"{len(seeds)} seeds, {frames} frames, {width}x{height}, {targets} targets, {samples} samples"
        )
    if photographs is not None and photographs.device.type != torch.device(device).type:
        raise ValueError(f"photographs are on {photographs.device}; load them with device={str(device)!r}")
    shot_format = ShotFormat(frames, height, width, targets, samples, difficulty, plain, movers, sprite_size)
    with _full_precision(torch.device(device)):
        return _render_scene(plan_scene(Draws(seeds), shot_format), torch.device(device), photographs).to(dtype)


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """No TF32 and no autocast: coordinates in 10 bits would move surfaces by a tenth of a pixel."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def _render_scene(scene: Scene, device: torch.device, photographs: Mosaic | None) -> ShotBatch:
    """Draw what has been planned, and read off the truth."""
    shot_format = scene.format
    wardrobe = make_wardrobe(
        scene.draws,
        scene.cast,
        scene.layers,
        height=shot_format.height,
        width=shot_format.width,
        difficulty=shot_format.difficulty,
        defocus_px=scene.defocus_px,
        fields=procedural_fields(str(device)),
        photographs=photographs,
    )
    every = np.arange(scene.draws.count)
    middle = place_scene(scene, every, scene.timing, device)
    picture = _expose(scene, wardrobe, middle)
    focus = scene.recording.focus
    linear = defocus(illuminate(picture.rgb, scene.lighting), focus)
    modal, amodal = defocus(picture.modal, focus), defocus(picture.amodal, focus)
    forward, backward = surface_flow(_layer_tables(scene.layers, middle), picture.visible)
    return ShotBatch(
        rgb=record(linear, scene.recording),
        alpha_modal=modal,
        alpha_amodal=amodal,
        depth_order=_depth_order(scene).to(device)[:, None].expand(-1, shot_format.frames, -1),
        present=modal.sum((-2, -1)) > _PRESENT_AREA * shot_format.height * shot_format.width,
        flow_forward=forward[0],
        flow_backward=backward[0],
        occluded_forward=forward[1],
        occluded_backward=backward[1],
    )


def _expose(scene: Scene, wardrobe: Wardrobe, middle: Placement) -> Composite:
    """Composite all shots; only those with motion blur are rendered once per sample of the shutter."""
    shutter, device = open_shutter(scene), middle.table.device
    pictures: list[Composite] = []
    places: list[Integers] = []
    for blurred in (False, True):
        shots = np.flatnonzero((shutter > 0) == blurred)
        if not len(shots):
            continue
        layers, rows = layers_of(scene.layers, shots)
        if blurred:
            timing = scene.timing.only(shots).sampled_over(shutter[shots], scene.format.samples)
            placement = place_scene(scene, shots, timing, device)
        else:
            placement = middle.only(rows)
        sprite = (np.cumsum(scene.layers.rank > 0) - 1)[rows][layers.rank > 0]
        picture, order = composite(
            layers,
            wardrobe.only(shots, sprite),
            placement,
            height=scene.format.height,
            width=scene.format.width,
            one_by_one=device.type == "cpu",
        )
        pictures.append(picture)
        places.append(shots[order])
    return join_composites(pictures, np.concatenate(places))


def _layer_tables(layers: LayerIndex, middle: Placement) -> Tensor:
    """(B, T, L, 2, G, G): the tables by rank; shots with fewer layers repeat their last."""
    counts = np.bincount(layers.shot)
    first_row = np.searchsorted(layers.shot, np.arange(len(counts)))
    row = first_row[:, None] + np.minimum(np.arange(counts.max()), counts[:, None] - 1)
    return middle.table[torch.as_tensor(row, device=middle.table.device)].transpose(1, 2)


def _depth_order(scene: Scene) -> Tensor:
    """(B, K), 0 for the nearest target; targets that a shot does not have come last."""
    belongs = scene.cast.share.any(-1) & scene.cast.active[..., None]
    nearest = np.where(belongs, scene.cast.inverse_depth[..., None], 0.0).max(1)
    return torch.as_tensor(np.argsort(np.argsort(-nearest, axis=1, kind="stable"), axis=1, kind="stable"))
