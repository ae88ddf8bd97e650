"""When a shot's frames are taken, and paths that stay smooth and bounded however long it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rotomem.training.synthetic.draws import Draws, Floats, Integers


@dataclass(frozen=True)
class Timing:
    """When the samples of a shot are taken.

    Attributes:
        frames: T.
        clock: (B, T, J), time in frames, 0 in the middle of the shot; J samples within the shutter.
        stride: (B,), how many frames of real footage lie between two frames of the shot.
    """

    frames: int
    clock: Floats
    stride: Floats

    def only(self, shots: Integers) -> Timing:
        """The timing of some of the shots."""
        return Timing(self.frames, self.clock[shots], self.stride[shots])

    def sampled_over(self, shutter: Floats, samples: int) -> Timing:
        """Spread ``samples`` (odd, so that one is in the middle) over ``shutter`` (B,) frames."""
        offsets = (np.arange(samples) + 0.5) / samples - 0.5
        middle = self.clock[:, :, :1]
        return Timing(self.frames, middle + shutter[:, None, None] * offsets, self.stride)


@dataclass(frozen=True)
class Oscillation:
    """A smooth path that starts at a given speed and stays within its reach, however long the shot."""

    speed: Floats
    reach: Floats
    phase: Floats

    def at(self, clock: Floats) -> Floats:
        """(B, ..., T, J) for parameters (B, ...), 0 at clock 0."""
        extra = self.speed.ndim - 1
        time = clock.reshape(clock.shape[0], *(1,) * extra, *clock.shape[1:])
        speed, reach, phase = (value[..., None, None] for value in (self.speed, self.reach, self.phase))
        return np.asarray(reach * (np.sin(speed / reach * time + phase) - np.sin(phase)))


def sample_timing(draws: Draws, frames: int, difficulty: float) -> Timing:
    """One sample per frame; the stride spreads shots between slow and time-lapsed."""
    clock = np.arange(frames, dtype=np.float64) - (frames - 1) / 2
    return Timing(
        frames=frames,
        clock=np.tile(clock[None, :, None], (draws.count, 1, 1)),
        stride=draws.log_uniform("timing.stride", 1.0, 1.0 + 5.0 * difficulty),
    )
