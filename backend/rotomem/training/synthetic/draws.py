"""Random numbers addressed by seed and name, for a whole batch of shots at once.

Every number is a hash of (seed, name, position). A shot therefore never depends on which other shots share its
batch, nor on how many numbers another part of the generator took before it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit states; the finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


class Draws:
    """One row of random numbers per seed; every method returns (B, \\*shape)."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = np.array([seed % 2**64 for seed in seeds], dtype=np.uint64)
        self._rows = _mix(self._seeds + _GOLDEN)

    @property
    def count(self) -> int:
        """B, the number of shots."""
        return len(self._seeds)

    def only(self, rows: Integers) -> Draws:
        """The same numbers for some of the shots."""
        return Draws([int(seed) for seed in self._seeds[rows]])

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0, shape: tuple[int, ...] = ()) -> Floats:
        """Uniform in [low, high)."""
        label = np.uint64(zlib.crc32(name.encode()) * int(_GOLDEN) % 2**64)
        positions = np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * _GOLDEN
        bits = _mix(_mix(self._rows + label)[:, None] + positions)
        unit = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return (low + (high - low) * unit).reshape(self.count, *shape)

    def log_uniform(self, name: str, low: float, high: float, shape: tuple[int, ...] = ()) -> Floats:
        """Uniform in the logarithm, in [low, high)."""
        return np.exp(self.uniform(name, float(np.log(low)), float(np.log(high)), shape))

    def chance(self, name: str, probability: float | Floats, shape: tuple[int, ...] = ()) -> Flags:
        """True with the given probability; an array of probabilities broadcasts against (B, *shape)."""
        return np.asarray(self.uniform(name, shape=shape) < probability)

    def integers(self, name: str, low: int, high: int, shape: tuple[int, ...] = ()) -> Integers:
        """Uniform integers in [low, high)."""
        return np.floor(self.uniform(name, low, high, shape)).astype(np.int64)

    def choose(self, name: str, weights: Sequence[float], shape: tuple[int, ...] = ()) -> Integers:
        """Index into ``weights``, with probability in proportion to the weight."""
        edges = np.cumsum(weights) / np.sum(weights)
        index = np.searchsorted(edges, self.uniform(name, shape=shape), side="right")
        return np.minimum(index, len(weights) - 1).astype(np.int64)

    def signs(self, name: str, shape: tuple[int, ...] = ()) -> Floats:
        """-1 or 1."""
        return np.where(self.chance(name, 0.5, shape), 1.0, -1.0)
