"""Layers over one another, back to front, in linear light: picture, mattes, and which surface is seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.training.synthetic.cast import LayerIndex
from rotomem.training.synthetic.draws import Floats, Integers
from rotomem.training.synthetic.lighting import cast_shadow
from rotomem.training.synthetic.wardrobe import Wardrobe


@dataclass(frozen=True)
class Placement:
    """Where the N layers are at M = T * J moments.

    Attributes:
        table: (N, M, 2, G, G), see ``warp.build_tables``.
        scale_px: (N, M), pixels per canonical unit.
        softness_px: (N,), width of the edge.
        gain: (N, M), factor on the layer's light.
        shadow: (N, 4).
        share: (N, K, 2), see ``Cast.share``.
        samples: J, odd.
    """

    table: Tensor
    scale_px: Tensor
    softness_px: Tensor
    gain: Tensor
    shadow: Floats
    share: Floats
    samples: int

    def only(self, rows: Integers) -> Placement:
        """Where some of the layers are."""
        index = torch.as_tensor(rows, device=self.table.device)
        return Placement(
            table=self.table[index],
            scale_px=self.scale_px[index],
            softness_px=self.softness_px[index],
            gain=self.gain[index],
            shadow=self.shadow[rows],
            share=self.share[rows],
            samples=self.samples,
        )


@dataclass(frozen=True)
class Composite:
    """Rendered shots.

    Attributes:
        rgb: (B, T, 3, H, W), linear light, the mean over the shutter.
        modal, amodal: (B, T, K, H, W), the mean over the shutter.
        visible: (B, T, H, W) float, rank of the surface seen in the middle of the shutter.
    """

    rgb: Tensor
    modal: Tensor
    amodal: Tensor
    visible: Tensor


@dataclass(frozen=True)
class _Canvas:
    """Shots in the making: (b, C, M, H, W) each, ``visible`` (b, M, H, W)."""

    rgb: Tensor
    modal: Tensor
    amodal: Tensor
    visible: Tensor

    def cut(self, shots: slice, window: _Window) -> _Canvas:
        """A view of a window of some of the shots; writing to it writes to the whole."""
        return _Canvas(*(value[shots, ..., window[0], window[1]] for value in vars(self).values()))


_Window = tuple[slice, slice]
_WHOLE: _Window = (slice(None), slice(None))


def composite(
    layers: LayerIndex, wardrobe: Wardrobe, placement: Placement, *, height: int, width: int, one_by_one: bool
) -> tuple[Composite, Integers]:
    """Render every shot of the batch; they come out in the order (B,) that is returned as well.

    Those with the most layers come first, so that each rank is a leading slice. A GPU renders all shots together,
    rank by rank. On a CPU it is faster to take them one by one, and of each layer only the window that it ever
    covers: that fits the cache.
    """
    counts = np.bincount(layers.shot)
    order = np.argsort(-counts, kind="stable")
    moments, device = placement.table.shape[1], placement.table.device
    blank = torch.zeros(len(counts), 3, moments, height, width, device=device)
    mattes = torch.zeros(2, len(counts), placement.share.shape[1], moments, height, width, device=device)
    visible = torch.zeros(len(counts), moments, height, width, device=device)
    canvas = _Canvas(blank, mattes[0], mattes[1], visible)
    if one_by_one:
        for place, shot in enumerate(order):
            part = canvas.cut(slice(place, place + 1), _WHOLE)
            _render_shots(part, layers, wardrobe, placement, np.array([shot]), windowed=True)
    else:
        _render_shots(canvas, layers, wardrobe, placement, order, windowed=False)
    return _average(canvas, placement.samples), order


def _render_shots(
    canvas: _Canvas, layers: LayerIndex, wardrobe: Wardrobe, placement: Placement, shots: Integers, *, windowed: bool
) -> None:
    """Lay the layers of ``shots``, which have fewer and fewer layers, on their canvas."""
    counts = np.bincount(layers.shot)[shots]
    first_row = np.searchsorted(layers.shot, shots)
    sprite_row = np.cumsum(layers.rank > 0) - 1
    height, width = canvas.rgb.shape[-2:]
    for rank in range(int(counts[0])):
        rows = first_row[counts > rank] + rank
        table = placement.table[torch.as_tensor(rows, device=canvas.rgb.device)]
        if rank == 0:
            worn = torch.as_tensor(shots, device=table.device)
            _lay_background(canvas, wardrobe, placement, rows, worn, _sampling_grid(table, (height, width), _WHOLE))
            continue
        window = _covered_window(table, placement.shadow[rows], height, width) if windowed else _WHOLE
        if window is not None:
            worn = torch.as_tensor(sprite_row[rows], device=table.device)
            part = canvas.cut(slice(len(rows)), window)
            grid = _sampling_grid(table, (height, width), window)
            _lay_sprites(part, wardrobe, placement, rows, worn, grid, rank=rank, height=height)


def _covered_window(table: Tensor, shadow: Floats, height: int, width: int) -> _Window | None:
    """The window that the layers' canonical squares and shadows ever touch, or None.

    Between nodes a table lies between its values at the nodes, so a cell whose four nodes are all on one side of
    the square cannot touch it.
    """
    highest, lowest = F.max_pool2d(table.flatten(0, 1), 2, stride=1), -F.max_pool2d(-table.flatten(0, 1), 2, stride=1)
    touched = ((lowest < 1) & (highest > -1)).all(1).any(0)
    cells = torch.nonzero(touched)
    if not len(cells):
        return None
    thrown = np.abs(shadow[:, :2]).max() + 0.2 if shadow[:, 3].any() else 0.0
    margin = int(np.ceil(thrown * height / 2)) + 1
    windows = []
    for axis, size in ((0, height), (1, width)):
        spacing = (size - 1) / touched.shape[axis]
        first, last = int(cells[:, axis].min()) * spacing, (int(cells[:, axis].max()) + 1) * spacing
        windows.append(slice(max(0, int(first) - margin), min(size, int(last) + 2 + margin)))
    return windows[0], windows[1]


def _sampling_grid(table: Tensor, size: tuple[int, int], window: _Window) -> Tensor:
    """Tables (n, M, 2, G, G) to grids (n, M * h, w, 2) over a window of the picture."""
    smooth = F.interpolate(table.flatten(0, 1), size, mode="bilinear", align_corners=True)[..., window[0], window[1]]
    width = smooth.shape[-1]
    return smooth.movedim(1, -1).reshape(len(table), -1, width, 2)


def _read(canvas: Tensor, grid: Tensor, moments: int, padding: str) -> Tensor:
    """Canvases (n, C, h, w) at (n, M * H, W, 2): (n, C, M, H, W)."""
    read = F.grid_sample(canvas, grid, mode="bilinear", padding_mode=padding, align_corners=True)
    return read.view(*read.shape[:2], moments, -1, read.shape[-1])


def _lay_background(
    canvas: _Canvas, wardrobe: Wardrobe, placement: Placement, rows: Integers, worn: Tensor, grid: Tensor
) -> None:
    moments = canvas.rgb.shape[2]
    index = torch.as_tensor(rows, device=grid.device)
    rgb = _read(wardrobe.background[worn], grid, moments, "reflection")
    canvas.rgb.copy_(rgb).mul_(placement.gain[index][:, None, :, None, None])
    lit = np.flatnonzero(placement.share[rows].any((1, 2)))
    if len(lit):
        some = torch.as_tensor(lit, device=grid.device)
        part = _read(wardrobe.background_part[worn[some]], grid[some], moments, "border")[:, 0]
        coverage = _coverage(part, placement.scale_px[index[some]], placement.share[rows[lit]])
        canvas.modal[some] = coverage
        canvas.amodal[some] = coverage


def _lay_sprites(
    canvas: _Canvas,
    wardrobe: Wardrobe,
    placement: Placement,
    rows: Integers,
    worn: Tensor,
    grid: Tensor,
    *,
    rank: int,
    height: int,
) -> None:
    moments = canvas.rgb.shape[2]
    index = torch.as_tensor(rows, device=grid.device)
    read = _read(wardrobe.sprite[worn], grid, moments, "border")
    steepness = placement.scale_px[index] / placement.softness_px[index, None]
    alpha = (0.5 - read[:, 3] * steepness[..., None, None].clamp(min=1.5)).clamp_(0, 1)
    casting = np.flatnonzero(placement.shadow[rows, 3] > 0)
    if len(casting):
        some = torch.as_tensor(casting, device=grid.device)
        shadow = torch.as_tensor(placement.shadow[rows[casting]], dtype=alpha.dtype, device=grid.device)
        canvas.rgb[some] = canvas.rgb[some] * (1 - cast_shadow(alpha[some], shadow, height))[:, None]
    rest = 1 - alpha
    light = alpha * placement.gain[index][..., None, None]
    canvas.rgb.mul_(rest[:, None]).addcmul_(read[:, :3], light[:, None])
    canvas.modal.mul_(rest[:, None])
    canvas.visible.masked_fill_(alpha > 0.5, rank)
    lit = np.flatnonzero(placement.share[rows].any((1, 2)))
    if not len(lit):
        return
    some = torch.as_tensor(lit, device=grid.device)
    part = None
    if placement.share[rows[lit], :, 1].any():
        part = _read(wardrobe.sprite_part[worn[some]], grid[some], moments, "border")[:, 0]
    coverage = _coverage(part, placement.scale_px[index[some]], placement.share[rows[lit]]) * alpha[some, None]
    canvas.modal[some] += coverage
    canvas.amodal[some] += coverage * (1 - canvas.amodal[some])


def _coverage(part: Tensor | None, scale_px: Tensor, share: Floats) -> Tensor:
    """How much of the surface belongs to each target: (n, K, M, H, W), or (n, K, 1, 1, 1) without parts."""
    whole, partial = torch.as_tensor(share, dtype=scale_px.dtype, device=scale_px.device)[..., None, None, None].unbind(
        2
    )
    if part is None:
        return whole
    inside = (0.5 - part * scale_px[..., None, None]).clamp_(0, 1)
    return whole + partial * inside[:, None]


def _average(canvas: _Canvas, samples: int) -> Composite:
    """Mean over the shutter."""

    def mean(value: Tensor) -> Tensor:
        frames = value.view(*value.shape[:2], -1, samples, *value.shape[3:])
        return (frames[:, :, :, 0] if samples == 1 else frames.mean(3)).transpose(1, 2)

    visible = canvas.visible[:, samples // 2 :: samples]
    return Composite(rgb=mean(canvas.rgb), modal=mean(canvas.modal), amodal=mean(canvas.amodal), visible=visible)


def join_composites(parts: Sequence[Composite], shots: Integers) -> Composite:
    """One batch of several, whose shots, one after the other, belong at the places ``shots`` (B,)."""
    place = torch.as_tensor(shots, device=parts[0].rgb.device)
    places = torch.split(place, [len(part.rgb) for part in parts])

    def join(name: str) -> Tensor:
        first: Tensor = getattr(parts[0], name)
        joined = first.new_empty(len(place), *first.shape[1:])
        for part, where in zip(parts, places, strict=True):
            joined[where] = getattr(part, name)
        return joined

    return Composite(rgb=join("rgb"), modal=join("modal"), amodal=join("amodal"), visible=join("visible"))
