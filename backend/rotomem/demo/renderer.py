"""Draws the demo's scene: instants of sharp layers, averaged over the shutter, then the water's surface and grain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.demo.floor import pebble_floor
from rotomem.demo.koi import Koi
from rotomem.demo.noise import fractal_noise, ridges, smooth_step
from rotomem.demo.outline import outline_shape
from rotomem.demo.scene import (
    FLOOR_PARALLAX,
    GOLD,
    HERO,
    KOI,
    PAD_PARALLAX,
    PADS,
    Camera,
    LilyPad,
    koi_outlines,
    pad_outline,
)
from rotomem.demo.skins import BODY_SPAN, FIN_SPAN, KOHAKU, OGON, body_skin, fin_skin, lily_pad, lotus
from rotomem.matte import rasterize_shapes

Floats = NDArray[np.float32]
Numbers = NDArray[np.floating]
Matrix = NDArray[np.float64]
Region = tuple[slice, slice]

SHUTTER_SAMPLES = 8
_WATER = np.array([0.62, 0.86, 0.80], dtype=np.float32)
"""What a metre of water leaves of red, green and blue."""
_MURK = np.array([0.006, 0.017, 0.014], dtype=np.float32)
_SKY = np.array([0.86, 0.96, 1.08], dtype=np.float32)
_FLOOR_SIZE = 2700, 1650
_FLOOR_CENTER = 110.0, -20.0
_OPACITY = {"left_fin": 0.80, "right_fin": 0.80, "tail": 0.90, "body": 1.0}


@dataclass(frozen=True)
class RenderedFrame:
    """``plate`` (H, W, 3) scene-linear; ``truth`` (H, W) in [0, 1] per object, what the shutter saw of it."""

    plate: Floats
    truth: dict[str, Floats]


class Renderer:
    """Holds the scene's textures; frames can be rendered in any order and from several threads."""

    def __init__(self, *, width: int, height: int, seed: int) -> None:
        self._camera = Camera(width, height)
        self._seed = seed
        rng = np.random.default_rng(seed)
        scale = self._camera.scale
        floor_width, floor_height = (round(side * scale) for side in _FLOOR_SIZE)
        self._floor = pebble_floor(rng, floor_height, floor_width, scale=scale) * _WATER + _MURK
        self._skins = {
            koi.name: (
                body_skin(rng, palette, length_px=koi.length * scale) * _WATER**0.35,
                fin_skin(rng, palette, length_px=koi.length * scale) * _WATER**0.35,
            )
            for koi, palette in ((HERO, KOHAKU), (GOLD, OGON))
        }
        self._leaves = {pad.name: lily_pad(rng, pad.radius * scale) for pad in PADS}
        self._lotus = lotus(rng, 0.46 * max(pad.radius for pad in PADS if pad.flower) * scale)
        waves = max(round(1400 * scale), 64)
        self._waves = [fractal_noise(rng, waves, waves, cell_px=cell * scale, octaves=3) for cell in (170, 130, 15, 12)]

    def render(self, time: float, *, shutter: float, frame: int) -> RenderedFrame:
        """Render the shutter's opening of ``shutter`` frames around ``time``; ``frame`` seeds the grain."""
        light, shade = self._light(time)
        plate: Floats = np.zeros((*light.shape, 3), dtype=np.float32)
        truth = {koi.name: np.zeros(light.shape, dtype=np.float32) for koi in KOI}
        open_water = np.zeros(light.shape, dtype=np.float32)
        for sample in range(SHUTTER_SAMPLES):
            instant = time + shutter * ((sample + 0.5) / SHUTTER_SAMPLES - 0.5)
            mattes, uncovered = self._add_instant(plate, instant, light, shade)
            for name, matte in mattes.items():
                truth[name] += matte
            open_water += uncovered
        truth = {name: np.minimum(matte / SHUTTER_SAMPLES, 1) for name, matte in truth.items()}
        plate /= SHUTTER_SAMPLES
        plate += (self._surface(time) * (open_water / SHUTTER_SAMPLES))[..., None] * _SKY
        return RenderedFrame(self._add_grain(plate, frame), truth)

    def _add_instant(
        self, plate: Floats, time: float, light: Floats, shade: Floats
    ) -> tuple[dict[str, Floats], Floats]:
        """Add the scene at one instant to ``plate``; return what is seen of each koi, and of the open water."""
        size = self._camera.width, self._camera.height
        view = _chain(
            self._camera.matrix(time, parallax=FLOOR_PARALLAX), _texture_placement(self._floor, self._camera.scale)
        )
        image = _warp(self._floor, view, size)
        image *= shade
        seen: dict[str, Floats] = {}
        for koi in KOI:
            matte = self._paint_koi(image, koi, time, light)
            for below in seen.values():
                below *= 1 - matte
            seen[koi.name] = matte
        uncovered = np.ones(light.shape, dtype=np.float32)
        for pad in PADS:
            self._paint_pad(image, pad, time, hidden=(*seen.values(), uncovered))
        plate += image
        return seen, uncovered

    def _paint_koi(self, image: Floats, koi: Koi, time: float, light: Floats) -> Floats:
        body, fin = self._skins[koi.name]
        into_body = _invert(_chain(self._camera.matrix(time), koi.placement(time)))
        into_fin = {
            "left_fin": _invert(koi.fin_placement(time, side=1)),
            "right_fin": _invert(koi.fin_placement(time, side=-1)),
        }
        matte = np.zeros(image.shape[:2], dtype=np.float32)
        for part, outline in koi_outlines(koi, self._camera, time).items():
            region = _region(outline, image.shape)
            if region is None:
                continue
            along, across = _apply(into_body, *_pixel_centres(region))
            if part in into_fin:
                skin = _sample(fin, FIN_SPAN, *_apply(into_fin[part], along, across))
            else:
                along = along / np.float32(koi.length)
                skin = _sample(body, BODY_SPAN, along, (across - koi.spine(along, time)) / koi.length)
            inside = _coverage(outline, region)
            skin *= light[region][..., None]
            _blend(image[region], skin, inside * np.float32(_OPACITY[part]))
            matte[region] += inside * (1 - matte[region])
        return matte

    def _paint_pad(self, image: Floats, pad: LilyPad, time: float, *, hidden: Sequence[Floats]) -> None:
        """Draw a pad, and take what it covers out of the mattes ``hidden``."""
        outline = pad_outline(pad, self._camera, time)
        region = _region(outline, image.shape)
        if region is None:
            return
        x, y = _pixel_centres(region)
        place = _chain(self._camera.matrix(time, parallax=PAD_PARALLAX), pad.placement(time))
        across, down = _apply(_invert(place), x, y)
        radius = pad.radius * self._camera.scale
        inside = _coverage(outline, region)
        window = image[region]
        _blend(window, _sprite(self._leaves[pad.name], across * radius, down * radius), inside)
        for matte in hidden:
            matte[region] *= 1 - inside
        if pad.flower:
            petals, petal_matte = self._lotus
            dx, dy = (across - 0.12) * radius, (down - 0.30) * radius
            shadow = _sprite(petal_matte, dx - 0.05 * radius, dy + 0.05 * radius)
            window *= 1 - 0.5 * (cv2.GaussianBlur(shadow, (0, 0), 0.03 * radius) * inside)[..., None]
            _blend(window, _sprite(petals, dx, dy), _sprite(petal_matte, dx, dy))

    def _light(self, time: float) -> tuple[Floats, Floats]:
        """Return the light on the fish (H, W), and on the floor (H, W, 3), where the fish too cast shadows."""
        first, second = self._waves[:2]
        focus = np.minimum(
            ridges(self._drift(first, time, (1.7, 0.9)), sharpness=2.6),
            ridges(self._drift(second, time, (-1.3, 1.5)), sharpness=2.2),
        )
        caustics = 1.0 + 2.1 * focus**1.3
        sun = 1 - self._shadow([pad_outline(pad, self._camera, time) for pad in PADS], (34, 58), blur=15) * 0.66
        koi = [outline for fish in KOI for outline in koi_outlines(fish, self._camera, time).values()]
        light = np.asarray(caustics * sun, dtype=np.float32)
        return light, _grey(light * (1 - 0.60 * self._shadow(koi, (30, 52), blur=17)))

    def _shadow(self, outlines: list[Matrix], offset: tuple[float, float], *, blur: float) -> Floats:
        """Return (H, W) in [0, 1], drawn at a quarter of the size, because it is soft."""
        scale = self._camera.scale
        small = -(-self._camera.width // 4), -(-self._camera.height // 4)
        moved = [outline_shape("shadow", (o + np.multiply(offset, scale)) / 4) for o in outlines]
        shadow = cv2.GaussianBlur(rasterize_shapes(moved, width=small[0], height=small[1]), (0, 0), blur * scale / 4)
        return np.asarray(cv2.resize(shadow, (self._camera.width, self._camera.height), interpolation=cv2.INTER_LINEAR))

    def _surface(self, time: float) -> Floats:
        """Return what the water's surface reflects (H, W): a veil of sky, and sun glitter far above 1."""
        coarse, fine = self._drift(self._waves[0], time, (2.2, -0.8)), self._drift(self._waves[2], time, (2.9, 1.1))
        other = self._drift(self._waves[3], time, (-2.0, 2.4))
        rows = np.linspace(0, 1, self._camera.height, dtype=np.float32)[:, None]
        columns = np.linspace(0, 1, self._camera.width, dtype=np.float32)[None]
        sky = 0.006 + 0.035 * (1 - rows) * smooth_step(-0.6, 2.2, coarse + 0.5 * fine)
        glitter = np.exp(-(((columns - 0.27) / 0.16) ** 2 + ((rows - 0.10) / 0.17) ** 2))
        sparkle = smooth_step(2.3, 3.7, fine + other + 1.3 * (glitter - 0.6)) * glitter
        return np.asarray(sky + 9.0 * sparkle, dtype=np.float32)

    def _drift(self, waves: Floats, time: float, speed: tuple[float, float]) -> Floats:
        scale = self._camera.scale
        view = self._camera.matrix(time, parallax=1.0) / np.array([[scale, scale, 1], [scale, scale, 1]])
        shift = np.array([[1, 0, scale * speed[0] * time], [0, 1, scale * speed[1] * time]])
        return _warp(waves, _chain(view, shift), (self._camera.width, self._camera.height))

    def _add_grain(self, plate: Floats, frame: int) -> Floats:
        rng = np.random.default_rng((self._seed, frame))
        grain = cv2.GaussianBlur(rng.standard_normal(plate.shape, dtype=np.float32), (0, 0), 0.55)
        noisy = plate + grain * (0.0025 + 0.022 * np.sqrt(np.maximum(plate, 0)))
        return np.asarray(np.maximum(noisy, 0), dtype=np.float32)


def _texture_placement(floor: Floats, scale: float) -> Matrix:
    """From the floor texture's pixels to the world."""
    height, width = floor.shape[:2]
    return np.array(
        [
            [1 / scale, 0, _FLOOR_CENTER[0] - width / 2 / scale],
            [0, 1 / scale, _FLOOR_CENTER[1] - height / 2 / scale],
        ]
    )


def _warp(texture: Floats, matrix: Matrix, size: tuple[int, int]) -> Floats:
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_REFLECT
    warped: Floats = np.asarray(cv2.warpAffine(texture, matrix, size, flags=flags, borderMode=border), dtype=np.float32)
    return warped


def _chain(outer: Matrix, inner: Matrix) -> Matrix:
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def _invert(matrix: Matrix) -> Matrix:
    return np.asarray(cv2.invertAffineTransform(matrix))


def _apply(matrix: Matrix, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    (a, b, c), (d, e, f) = matrix.astype(np.float32)
    return a * x + b * y + c, d * x + e * y + f


def _pixel_centres(region: Region) -> tuple[Floats, Floats]:
    rows, columns = region
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(0.5)
    y = np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(0.5)
    grid = np.meshgrid(x, y)
    return grid[0], grid[1]


def _region(outline: Matrix, shape: tuple[int, ...]) -> Region | None:
    """Return the part of the frame that an outline can touch, or None."""
    low = np.maximum(np.floor(outline.min(axis=(0, 1))) - 1, 0).astype(int)
    high = np.minimum(np.ceil(outline.max(axis=(0, 1))) + 1, (shape[1], shape[0])).astype(int)
    if (high <= low).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def _grey(level: Numbers) -> Floats:
    """Repeat (H, W) as (H, W, 3): multiplying by that is faster than broadcasting."""
    return np.asarray(cv2.merge([level.astype(np.float32)] * 3), dtype=np.float32)


def _blend(image: Floats, above: Floats, opacity: Floats) -> None:
    """Lay ``above`` (H, W, 3) over ``image`` in place; spends ``above``."""
    above -= image
    above *= opacity[..., None]
    image += above


def _coverage(outline: Matrix, region: Region) -> Floats:
    rows, columns = region
    shape = outline_shape("part", outline - (columns.start, rows.start))
    return rasterize_shapes([shape], width=columns.stop - columns.start, height=rows.stop - rows.start)


def _sample(texture: Floats, span: tuple[float, float, float, float], along: Numbers, across: Numbers) -> Floats:
    height, width = texture.shape[:2]
    column = (along - span[0]) * ((width - 1) / (span[1] - span[0]))
    row = (across - span[2]) * ((height - 1) / (span[3] - span[2]))
    return np.asarray(
        cv2.remap(
            texture,
            column.astype(np.float32),
            row.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
    )


def _sprite(texture: Floats, x: Floats, y: Floats) -> Floats:
    """Sample a texture whose middle is (0, 0); outside it is 0."""
    height, width = texture.shape[:2]
    x, y = x + np.float32((width - 1) / 2), y + np.float32((height - 1) / 2)
    return np.asarray(cv2.remap(texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))
