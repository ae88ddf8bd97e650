"""Textures of what lives in the pond: koi skin, fins, lily pads and a lotus. All scene-linear."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.demo.koi import BODY_HALF_WIDTH
from rotomem.demo.noise import fractal_noise, mix, smooth_step

Floats = NDArray[np.float32]

BODY_SPAN = (-0.06, 1.40, -0.36, 0.36)
"""What a body texture covers: first and last distance from the nose, first and last across, in body lengths."""
FIN_SPAN = (-0.06, 0.32, -0.10, 0.10)


@dataclass(frozen=True)
class Palette:
    """A koi's colours: the ground, the patches, the marks, and how much of the body is patches."""

    ground: tuple[float, float, float]
    patch: tuple[float, float, float]
    mark: tuple[float, float, float]
    patch_level: float
    mark_level: float


KOHAKU = Palette((0.72, 0.64, 0.53), (0.72, 0.13, 0.018), (0.03, 0.03, 0.035), 0.05, 1.55)
OGON = Palette((0.60, 0.36, 0.075), (0.42, 0.20, 0.03), (0.06, 0.045, 0.03), 0.6, 1.9)


def body_skin(rng: np.random.Generator, palette: Palette, *, length_px: float) -> Floats:
    """Return the texture of body and tail over ``BODY_SPAN`` (H, W, 3); ``length_px`` per body length."""
    along, across = _span_grid(BODY_SPAN, length_px)
    height, width = along.shape
    patches = fractal_noise(rng, height, width, cell_px=0.30 * length_px, octaves=4)
    marks = fractal_noise(rng, height, width, cell_px=0.16 * length_px, octaves=4)
    colour = mix(
        _colour(palette.ground), _colour(palette.patch), smooth_step(-0.05, 0.05, patches - palette.patch_level)
    )
    colour = mix(colour, _colour(palette.mark), smooth_step(-0.08, 0.08, marks - palette.mark_level))
    colour = colour * (1 + 0.05 * fractal_noise(rng, height, width, cell_px=0.02 * length_px, octaves=3))[..., None]
    tail = smooth_step(0.86, 0.98, along)
    body = colour * _body_relief(along, across)[..., None]
    body = _add_head(body, along, across)
    membrane = (
        mix(colour, _colour(palette.ground) * 0.8, np.full_like(along, 0.7)) * _rays(along - 0.78, across)[..., None]
    )
    return np.asarray(mix(body, membrane, tail), dtype=np.float32)


def fin_skin(rng: np.random.Generator, palette: Palette, *, length_px: float) -> Floats:
    """Return the texture of a pectoral fin over ``FIN_SPAN`` (H, W, 3)."""
    along, across = _span_grid(FIN_SPAN, length_px)
    noise = fractal_noise(rng, *along.shape, cell_px=0.05 * length_px, octaves=3)
    colour = mix(_colour(palette.patch), _colour(palette.ground), smooth_step(0.0, 0.09, along + 0.02 * noise))
    return np.asarray(colour * (_rays(along + 0.10, across) * (0.8 + 0.05 * noise))[..., None], dtype=np.float32)


def lily_pad(rng: np.random.Generator, radius_px: float) -> Floats:
    """Return the texture of a pad (S, S, 3), its centre in the middle, slightly more than twice its radius wide."""
    half = int(radius_px * 1.08) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) / np.float32(radius_px)
    size = len(x)
    angle, reach = np.arctan2(y, x), np.hypot(x, y)
    wobble = fractal_noise(rng, size, size, cell_px=radius_px * 0.35, octaves=3)
    fine = fractal_noise(rng, size, size, cell_px=radius_px * 0.06, octaves=4)
    veins = smooth_step(0.86, 0.985, np.cos(angle * 17 + 0.35 * wobble * reach)) * smooth_step(0.03, 0.35, reach)
    side = smooth_step(0.75, 0.98, np.cos(angle * 34 + reach * 9 * np.sign(np.sin(angle * 17)))) * smooth_step(
        0.4, 0.7, reach
    )
    leaf = _colour((0.060, 0.150, 0.036)) * np.exp(0.10 * wobble + 0.09 * fine)[..., None]
    leaf = mix(leaf, _colour((0.16, 0.29, 0.075)), 0.55 * veins + 0.22 * side)
    leaf = mix(leaf, _colour((0.20, 0.085, 0.035)), 0.75 * smooth_step(0.86, 1.02, reach + 0.015 * wobble))
    bumps = cv2.GaussianBlur(0.5 * wobble + 0.08 * fine - 0.8 * veins, (0, 0), radius_px * 0.012)
    slope = cv2.Sobel(bumps, cv2.CV_32F, 1, 0) * 0.6 + cv2.Sobel(bumps, cv2.CV_32F, 0, 1)
    leaf = leaf * np.clip(1 - 0.006 * radius_px * slope, 0.5, 1.8)[..., None]
    sheen = 0.10 * np.exp(-(((x + 0.3) / 0.55) ** 2 + ((y + 0.35) / 0.4) ** 2)) * (1 + 0.4 * wobble)
    leaf = leaf + sheen[..., None] * _colour((0.85, 0.95, 1.1))
    return _add_droplets(rng, np.asarray(leaf, dtype=np.float32), radius_px)


def lotus(rng: np.random.Generator, radius_px: float) -> tuple[Floats, Floats]:
    """Return a flower's texture (S, S, 3) and its matte (S, S); in the sun its petals are above 1."""
    half = int(radius_px * 1.1) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) / np.float32(radius_px)
    colour, matte = np.zeros((*x.shape, 3), dtype=np.float32), np.zeros_like(x)
    for ring, (count, reach, breadth) in enumerate(((9, 1.0, 0.21), (8, 0.80, 0.19), (6, 0.56, 0.16))):
        for petal in range(count):
            turn = np.float32(2 * np.pi * (petal + 0.5 * ring + rng.uniform(-0.08, 0.08)) / count)
            along, across = x * np.cos(turn) + y * np.sin(turn), -x * np.sin(turn) + y * np.cos(turn)
            t = np.clip(along / reach, 0, 1)
            width = breadth * np.sqrt(np.clip(np.sin(np.pi * t**0.8), 0, 1)) * (1 - 0.25 * t)
            edge = (width - np.abs(across)) * radius_px
            inside = np.clip(edge + 0.5, 0, 1) * (along > 0) * (along < reach)
            pink = mix(_colour((1.15, 0.95, 0.90)), _colour((0.95, 0.22, 0.38)), t**1.5)
            crease = 0.62 + 0.38 * smooth_step(0.0, 0.7, 1 - np.abs(across) / np.maximum(width, 1e-3))
            light = crease * (0.62 + 0.22 * ring) * (1.0 - 0.35 * (np.cos(turn) * 0.5 + np.sin(turn) * 0.8))
            lines = 1 + 0.05 * np.sin(across * 150)
            colour = mix(colour, np.asarray(pink * (light * lines)[..., None], dtype=np.float32), inside)
            matte = np.maximum(matte, inside)
    heart = smooth_step(0.17, 0.13, np.hypot(x, y))
    stamens = 0.75 + 0.45 * np.sin(np.arctan2(y, x) * 22) * np.sin(np.hypot(x, y) * 130)
    colour = mix(colour, np.asarray(_colour((1.5, 0.85, 0.06)) * stamens[..., None], dtype=np.float32), heart)
    return colour, np.asarray(matte, dtype=np.float32)


def _colour(rgb: tuple[float, float, float]) -> Floats:
    return np.array(rgb, dtype=np.float32)


def _span_grid(span: tuple[float, float, float, float], length_px: float) -> tuple[Floats, Floats]:
    first, last, near, far = span
    width, height = round((last - first) * length_px), round((far - near) * length_px)
    along = np.linspace(first, last, width, dtype=np.float32)
    across = np.linspace(near, far, height, dtype=np.float32)
    columns, rows = np.meshgrid(along, across)
    return columns, rows


def _body_relief(along: Floats, across: Floats) -> Floats:
    """Shade a rounded back with scales on its flanks and a dorsal fin folded along its ridge."""
    half_width = np.interp(along, *np.array(BODY_HALF_WIDTH).T).astype(np.float32)
    bulge = np.clip(across / np.maximum(half_width, 0.02), -1, 1)
    row, column = np.floor(along * 46), across * 46
    offset = np.mod(column + 0.5 * np.mod(row, 2), 1) - 0.5
    scale_edge = smooth_step(0.34, 0.50, np.hypot(np.mod(along * 46, 1) - 0.35, offset) * 0.72)
    on_flank = smooth_step(0.17, 0.26, along)
    shade = 0.30 + 0.70 * np.sqrt(1 - 0.97 * np.clip(bulge + 0.18, -1, 1) ** 2)
    shade = shade * (1 - 0.20 * scale_edge * on_flank)
    shade = shade + 0.30 * np.exp(-(((bulge + 0.30) / 0.16) ** 2)) * (0.7 + 0.3 * on_flank * (1 - scale_edge))
    fold = smooth_step(0.014, 0.004, np.abs(across)) * smooth_step(0.30, 0.36, along) * smooth_step(0.66, 0.58, along)
    return np.asarray(shade * (1 - 0.45 * fold), dtype=np.float32)


def _add_head(body: Floats, along: Floats, across: Floats) -> Floats:
    gill = np.exp(-(((along - 0.20 + 8.8 * across**2) / 0.008) ** 2))
    nostril = np.exp(-((np.hypot(along - 0.032, np.abs(across) - 0.02) / 0.006) ** 2))
    body = np.asarray(body * ((1 - 0.35 * gill) * (1 - 0.7 * nostril))[..., None], dtype=np.float32)
    eye = np.hypot((along - 0.088) / 1.15, np.abs(across) - 0.064)
    body = mix(body, _colour((0.25, 0.16, 0.05)), smooth_step(0.019, 0.016, eye))
    body = mix(body, _colour((0.008, 0.008, 0.01)), smooth_step(0.013, 0.010, eye))
    glint = smooth_step(0.0045, 0.0025, np.hypot(along - 0.085, np.abs(across) - 0.066))
    return mix(body, _colour((1.6, 1.7, 1.8)), glint)


def _rays(along: Floats, across: Floats) -> Floats:
    """Shade the rays of a fin, which fan out from along = across = 0."""
    fan = np.arctan2(across, np.maximum(along, 1e-3))
    reach = np.hypot(along, across)
    rays = 0.80 + 0.20 * np.sin(fan * 95 + 6 * np.sin(reach * 9))
    return np.asarray(rays * (1.05 - 0.45 * reach), dtype=np.float32)


def _add_droplets(rng: np.random.Generator, leaf: Floats, radius_px: float) -> Floats:
    """Sprinkle water drops: a dark rim, a bright far side, and a sun glint well above 1."""
    leaf = leaf.copy()
    center = leaf.shape[0] / 2
    for _ in range(22):
        angle, reach = rng.uniform(0, 2 * np.pi), radius_px * 0.9 * np.sqrt(rng.uniform(0.02, 0.95))
        size = radius_px * rng.uniform(0.010, 0.042)
        x, y = center + reach * np.cos(angle), center + reach * np.sin(angle)
        pad = int(size * 2) + 2
        top, left = max(int(y) - pad, 0), max(int(x) - pad, 0)
        window = leaf[top : int(y) + pad, left : int(x) + pad]
        rows, columns = np.mgrid[0 : window.shape[0], 0 : window.shape[1]].astype(np.float32)
        dy, dx = (rows + top - y) / size, (columns + left - x) / size
        inside = smooth_step(1.1, 0.85, np.hypot(dx, dy))
        window *= (1 + inside * (0.75 * (dx + dy) * 0.7 - 0.15))[..., None]
        glint = np.exp(-(((dx + 0.35) ** 2 + (dy + 0.4) ** 2) / 0.05))
        window += (7 * glint)[..., None] * _colour((1.0, 0.98, 0.92))
    return leaf
