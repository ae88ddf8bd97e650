"""The demo's scene: two koi cross in a pond under drifting lily pads, filmed by a moving camera.

World coordinates are pixels of a 1920 x 1080 frame around (0, 0) at time 0, y down; time is in frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotomem.demo.koi import Koi
from rotomem.demo.outline import outline_shape, smooth_outline, transform_outline
from rotomem_client.shapes import Shape

Floats = NDArray[np.float64]

SHUTTER = 0.5
"""Open for half a frame (180 degrees), centred on the frame."""


@dataclass(frozen=True)
class LilyPad:
    """A leaf on the surface, above the fish: nearer to the camera, so it slides faster across the frame."""

    name: str
    center: tuple[float, float]
    radius: float
    turn: float
    drift: tuple[float, float]
    flower: bool = False

    def placement(self, time: float) -> Floats:
        """Return the (2, 3) matrix from the unit circle to the world."""
        turn = self.turn + 0.012 * time + 0.03 * math.sin(0.25 * time + self.turn)
        c, s = self.radius * math.cos(turn), self.radius * math.sin(turn)
        bob = 3 * math.sin(0.31 * time + 2 * self.turn)
        x, y = self.center[0] + self.drift[0] * time, self.center[1] + self.drift[1] * time + bob
        return np.array([[c, -s, x], [s, c, y]])

    def outline(self, time: float) -> Floats:
        """Return the outline (N, 3, 2) in the world: nearly a circle, with a notch."""
        angles = np.linspace(math.radians(7), math.radians(353), 22)
        reach = 1 + 0.022 * np.sin(3 * angles + self.turn) + 0.014 * np.sin(8 * angles + 2 * self.turn)
        rim = np.stack([reach * np.cos(angles), reach * np.sin(angles)], axis=1)
        vertices = np.concatenate([[[0.10, 0.0]], rim])
        return transform_outline(smooth_outline(vertices, corners=(0, 1, len(rim))), self.placement(time))


def _hero_path(time: float) -> tuple[float, float]:
    return -290 + 16.5 * time, 175 - 125 * math.sin(0.080 * time + 0.30)


def _gold_path(time: float) -> tuple[float, float]:
    return 535 - 9.0 * time - 30 * math.sin(0.07 * time), -255 + 14.5 * time


HERO = Koi("hero_koi", length=560, position=_hero_path, beat_frames=17, phase=0.4, sway=0.070)
GOLD = Koi("gold_koi", length=430, position=_gold_path, beat_frames=14, phase=2.3, sway=0.075)
KOI = (GOLD, HERO)
"""From the bottommost up."""

PADS = (
    LilyPad("pad_a", (215, -115), 165, 2.3, (-0.9, 0.25)),
    LilyPad("pad_b", (-820, 470), 265, -0.9, (0.2, 0.1)),
    LilyPad("pad_c", (960, -455), 300, 2.75, (-0.4, 0.2), flower=True),
    LilyPad("pad_d", (700, 480), 135, 4.0, (-1.1, -0.3)),
    LilyPad("pad_e", (-560, -470), 120, 0.6, (0.6, 0.3)),
)
PAD_PARALLAX = 1.10
FLOOR_PARALLAX = 0.90


@dataclass(frozen=True)
class Camera:
    """A hand-held camera that follows the hero, for a frame of ``width`` x ``height`` pixels."""

    width: int
    height: int

    @property
    def scale(self) -> float:
        """Pixels per world pixel before zoom."""
        return self.height / 1080

    def matrix(self, time: float, *, parallax: float = 1.0) -> Floats:
        """Return the (2, 3) matrix from the world to the frame's pixels, of a layer at the depth of ``parallax``."""
        shake = 3.0 * math.sin(0.83 * time) + 1.8 * math.sin(1.9 * time + 1), 2.4 * math.sin(1.05 * time + 0.7)
        x, y = parallax * (9.0 * time + shake[0]), parallax * (-1.8 * time + shake[1])
        turn = math.radians(-1.2 + 0.13 * time + 0.15 * math.sin(0.6 * time))
        zoom = self.scale * (1 + 0.0028 * time * parallax)
        c, s = zoom * math.cos(turn), zoom * math.sin(turn)
        return np.array([[c, -s, self.width / 2 - c * x + s * y], [s, c, self.height / 2 - s * x - c * y]])


def koi_outlines(koi: Koi, camera: Camera, time: float) -> dict[str, Floats]:
    """Return the outlines (N, 3, 2) of a koi's parts in the frame's pixels, from the bottommost up."""
    view = camera.matrix(time)
    return {part: transform_outline(outline, view) for part, outline in koi.outlines(time).items()}


def pad_outline(pad: LilyPad, camera: Camera, time: float) -> Floats:
    """Return a pad's outline (N, 3, 2) in the frame's pixels."""
    return transform_outline(pad.outline(time), camera.matrix(time, parallax=PAD_PARALLAX))


def artist_shapes(camera: Camera, time: float, *, shutter: float) -> Mapping[str, tuple[Shape, ...]]:
    """Return each object's roto as an artist draws it at ``time``: its parts, then what hides it as holdouts.

    Edges are feathered as the motion during ``shutter`` frames blurs them; a holdout is an inverted shape that
    multiplies.
    """
    times = time, time - shutter / 2, time + shutter / 2
    parts = {koi.name: _part_shapes(koi, camera, times) for koi in KOI}
    pads = tuple(outline_shape(pad.name, *(pad_outline(pad, camera, t) for t in times)) for pad in PADS)
    shapes = {}
    for index, koi in enumerate(KOI):
        hiding = [shape for above in KOI[index + 1 :] for shape in parts[above.name]] + list(pads)
        holdouts = tuple(
            dataclasses.replace(shape, name=f"holdout_{shape.name}", inverted=True, blend_mode="multiply")
            for shape in hiding
            if any(_boxes_meet(shape, part) for part in parts[koi.name])
        )
        shapes[koi.name] = parts[koi.name] + holdouts
    return shapes


def _part_shapes(koi: Koi, camera: Camera, times: tuple[float, float, float]) -> tuple[Shape, ...]:
    outlines = [koi_outlines(koi, camera, t) for t in times]
    return tuple(outline_shape(f"{koi.name}_{part}", *(at[part] for at in outlines)) for part in outlines[0])


def _boxes_meet(a: Shape, b: Shape) -> bool:
    corners = []
    for shape in (a, b):
        points = np.array([p.center for p in shape.points])
        corners.append((points.min(axis=0) - 10, points.max(axis=0) + 10))
    (low_a, high_a), (low_b, high_b) = corners
    return bool((low_a < high_b).all() and (low_b < high_a).all())
