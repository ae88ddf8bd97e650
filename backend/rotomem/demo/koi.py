"""A koi seen from above: a spine that undulates, a body and fins drawn around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotomem.demo.outline import smooth_outline, transform_outline

Floats = NDArray[np.float64]

BODY_HALF_WIDTH: tuple[tuple[float, float], ...] = (
    (0.000, 0.000),
    (0.012, 0.034),
    (0.060, 0.066),
    (0.160, 0.098),
    (0.320, 0.116),
    (0.500, 0.103),
    (0.680, 0.066),
    (0.820, 0.036),
    (0.910, 0.027),
)
"""(distance from the nose, half width), both in body lengths; the nose is at 0, the root of the tail near 0.9."""

_TAIL = (
    (0.85, 0.022),
    (0.94, 0.040),
    (1.06, 0.105),
    (1.20, 0.165),
    (1.31, 0.185),
    (1.27, 0.105),
    (1.20, 0.040),
    (1.16, 0.000),
    (1.19, -0.045),
    (1.24, -0.105),
    (1.28, -0.172),
    (1.17, -0.150),
    (1.04, -0.098),
    (0.94, -0.038),
    (0.85, -0.022),
)
_TAIL_CORNERS = (0, 4, 7, 10, 14)
FIN = (
    (-0.03, 0.0),
    (0.05, 0.035),
    (0.15, 0.062),
    (0.235, 0.058),
    (0.27, 0.02),
    (0.235, -0.03),
    (0.15, -0.045),
    (0.05, -0.03),
)
"""A pectoral fin: (distance from its root, across), in body lengths."""
_FIN_ROOT = (0.235, 0.085)
PIVOT = 0.35
"""Where along the body the position lies: the part that sways least."""


@dataclass(frozen=True)
class Koi:
    """How one fish swims. Time is in frames since the shot's first; places are in world pixels (1080p).

    Args:
        name: of the object.
        length: from nose to the root of the tail, pixels.
        position: of the pivot at a time.
        beat_frames: frames per tail beat.
        phase: of the beat, radians.
        sway: the tail's amplitude, in body lengths.
    """

    name: str
    length: float
    position: Callable[[float], tuple[float, float]]
    beat_frames: float
    phase: float
    sway: float

    def placement(self, time: float) -> Floats:
        """Return the (2, 3) matrix from body space (x towards the tail, y across, pixels) to the world."""
        (x0, y0), (x1, y1) = self.position(time - 0.5), self.position(time + 0.5)
        angle = math.atan2(y1 - y0, x1 - x0) + 0.05 * math.sin(self._beat(time) + 0.6)
        x, y = self.position(time)
        forward, side = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
        return np.stack([-forward, side, forward * PIVOT * self.length + (x, y)], axis=1)

    def spine(self, along: NDArray[np.floating], time: float) -> Floats:
        """Return how far the spine lies to the side, pixels, ``along`` body lengths from the nose."""
        reach = np.clip(along, -0.1, 1.4)
        amplitude = 0.012 + self.sway * np.maximum(reach, 0) ** 1.8
        lateral: Floats = self.length * amplitude * np.sin(5.2 * (reach - PIVOT) - self._beat(time))
        return lateral

    def outlines(self, time: float) -> Mapping[str, Floats]:
        """Return the parts' outlines (N, 3, 2) in the world, from the bottommost up."""
        upper = np.array(BODY_HALF_WIDTH[1:])
        body = np.concatenate([[[0, 0]], upper, upper[::-1] * (1, -1)])
        end = len(upper)
        parts = {
            "left_fin": transform_outline(smooth_outline(np.array(FIN)), self.fin_placement(time, side=1)),
            "right_fin": transform_outline(smooth_outline(np.array(FIN)), self.fin_placement(time, side=-1)),
            "tail": self._bend(smooth_outline(np.array(_TAIL), corners=_TAIL_CORNERS), time),
            "body": self._bend(smooth_outline(body, corners=(end, end + 1)), time),
        }
        placement = self.placement(time)
        return {name: transform_outline(part, placement) for name, part in parts.items()}

    def fin_placement(self, time: float, *, side: int) -> Floats:
        """Return the (2, 3) matrix from fin space (body lengths) to body space (pixels); ``side`` is 1 or -1."""
        angle = 0.78 + 0.32 * math.sin(self._beat(time) * 0.5 + (0.0 if side > 0 else 1.9))
        along, across = math.cos(angle), math.sin(angle)
        root = (
            _FIN_ROOT[0] * self.length,
            float(self.spine(np.array(_FIN_ROOT[0]), time)) + side * _FIN_ROOT[1] * self.length,
        )
        rotation = self.length * np.array([[along, -across], [side * across, side * along]])
        return np.column_stack([rotation, root])

    def _bend(self, outline: Floats, time: float) -> Floats:
        along, across = outline[..., 0], outline[..., 1]
        return np.stack([along * self.length, across * self.length + self.spine(along, time)], axis=-1)

    def _beat(self, time: float) -> float:
        return math.tau * time / self.beat_frames + self.phase
