"""One annotated frame's mattes, carried frame by frame in one direction."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.colour_votes import ColourVotes
from rotomem.propagation.flow import Displacement, FramePair, PlateFlow, carry
from rotomem.propagation.spool import Spool

Floats = NDArray[np.float32]

STEP_VARIANCE = 1.0
"""The unit: what one frame of trusted flow adds. Two sides of one gap so blend by their distance in frames."""
UNSURE_VARIANCE = 30.0
"""What a frame of flow that fails the forward-backward check adds: as much as a gap of ordinary length."""
VOTE_VARIANCE = 50.0
"""Of one frame's colour votes, at their surest. One frame's pull is weak, but it adds up: where colours are clear, the
variance settles near sqrt(50), as if an annotation were 7 frames away. Between 25 and 100 J hardly changes."""
ANNOTATED_VARIANCE = 1e-3
"""Of the artist's own matte, next to a step's 1."""
RAMP_WINDOW_PX = 5
"""An anti-aliased edge, one or two pixels wide, fills about a fifth of this; a drawn feather all of it."""


@dataclass(frozen=True)
class Belief:
    """Mattes with how uncertain each pixel is.

    Args:
        mattes: (h, w, K) in [0, 1].
        variance: (h, w, K), in frames of trusted flow, > 0.
        softness: (h, w, K) in [0, 1], 1 where the annotated matte is a wide ramp; None where none is.
    """

    mattes: Floats
    variance: Floats
    softness: Floats | None

    def fused(self, other: Belief) -> Belief:
        """Weigh both by the inverse of their variances."""
        weight = other.variance / (self.variance + other.variance)
        return Belief(
            mattes=other.mattes + weight * (self.mattes - other.mattes),
            variance=self.variance * weight,
            softness=_mixed(self.softness, other.softness, weight),
        )


class Trail:
    """Carries the mattes of ``key`` step by step; first the colour votes, then the belief, both in frame order.

    Args:
        key: the annotated frame.
        step: 1 carries to later frames, -1 to earlier ones.
        mattes: (h, w, K) at the flow's size.
    """

    def __init__(self, plate: PlateFlow, key: int, *, step: int, mattes: Floats) -> None:
        self._plate = plate
        self._step = step
        self._votes = ColourVotes(plate.colours(key), mattes)
        self._composed: Displacement = np.zeros((*mattes.shape[:2], 2), np.float32)
        self._belief = Belief(mattes, np.full_like(mattes, ANNOTATED_VARIANCE), _softness(mattes))

    def count_votes(self, frame: int, displacement: Displacement) -> Floats:
        """Go on to ``frame``, the next one, and count colour votes there; see ``ColourVotes.count``."""
        self._composed = displacement + carry(self._composed, displacement)
        return self._votes.count(self._plate.colours(frame), self._composed)

    def carry_belief(self, pair: FramePair, votes: Floats) -> Belief:
        """Go on to the next frame along the flow, and let the colour votes pull.

        Args:
            votes: (h, w, K), probability of being inside; 0.5 is no opinion.
        """
        last, way = self._belief, pair.displacement
        growth = STEP_VARIANCE + UNSURE_VARIANCE * pair.unsure[..., None]
        variance = carry(last.variance, way) + growth
        mattes = carry(last.mattes, way)
        pull = np.square(2.0 * votes - 1.0) / VOTE_VARIANCE
        precision = 1.0 / variance + pull
        self._belief = Belief(
            mattes=(mattes / variance + votes * pull) / precision,
            variance=1.0 / precision,
            softness=None if last.softness is None else carry(last.softness, way),
        )
        return self._belief


class PackedBelief:
    """A belief in 8 bits and deflated: about a thirtieth of its size, while it waits for the other side's."""

    _LEVELS_PER_OCTAVE = 12
    _LEAST_OCTAVE = -10  # 0.001 .. 2048 frames

    def __init__(self, belief: Belief, spool: Spool | None = None) -> None:
        octaves = np.log2(belief.variance, dtype=np.float32) - np.float32(self._LEAST_OCTAVE)
        self._mattes = PackedShares(belief.mattes, spool)
        self._variance = PackedShares(octaves * np.float32(self._LEVELS_PER_OCTAVE / 255.0), spool)
        self._softness = None if belief.softness is None else PackedShares(belief.softness, spool)

    def unpack(self) -> Belief:
        octaves = self._variance.unpack() * np.float32(255.0 / self._LEVELS_PER_OCTAVE) + np.float32(self._LEAST_OCTAVE)
        return Belief(
            mattes=self._mattes.unpack(),
            variance=np.exp2(octaves),
            softness=None if self._softness is None else self._softness.unpack(),
        )


class PackedShares:
    """Values in [0, 1] in 8 bits, deflated; in ``spool``, or in main memory without one."""

    def __init__(self, values: Floats, spool: Spool | None = None) -> None:
        levels = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
        self._deflated = _Deflated(levels, spool)

    def unpack(self) -> Floats:
        return self._deflated.inflate().astype(np.float32) / np.float32(255.0)


class PackedCounts:
    """Colour votes in 16-bit floats, deflated; in ``spool``, or in main memory without one."""

    def __init__(self, counts: Floats, spool: Spool | None = None) -> None:
        self._deflated = _Deflated(counts.astype(np.float16), spool)

    def unpack(self) -> Floats:
        return self._deflated.inflate().astype(np.float32)


class _Deflated:
    def __init__(self, values: NDArray[Any], spool: Spool | None) -> None:
        self._shape, self._dtype = values.shape, values.dtype
        deflated = zlib.compress(values.tobytes(), 1)
        self._bytes = deflated if spool is None else spool.hold(deflated)

    def inflate(self) -> NDArray[Any]:
        deflated = self._bytes if isinstance(self._bytes, bytes) else self._bytes.read()
        return np.frombuffer(zlib.decompress(deflated), self._dtype).reshape(self._shape)


def _softness(mattes: Floats) -> Floats | None:
    """How far each pixel lies in a ramp wider than an anti-aliased edge; None where no pixel does."""
    ramp = cv2.blur(4.0 * mattes * (1.0 - mattes), (RAMP_WINDOW_PX, RAMP_WINDOW_PX)).reshape(mattes.shape)
    softness = np.asarray(np.clip((ramp - 0.25) / 0.5, 0.0, 1.0), dtype=np.float32)
    if not softness.any():
        return None
    kernel = np.ones((RAMP_WINDOW_PX, RAMP_WINDOW_PX), np.uint8)
    return np.asarray(cv2.dilate(softness, kernel), dtype=np.float32).reshape(mattes.shape)


def _mixed(mine: Floats | None, other: Floats | None, weight: Floats) -> Floats | None:
    if mine is None and other is None:
        return None
    nothing = np.float32(0.0)
    return weight * (nothing if mine is None else mine) + (1.0 - weight) * (nothing if other is None else other)
