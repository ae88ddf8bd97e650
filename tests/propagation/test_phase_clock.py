"""Phases inside phases are counted once."""

from __future__ import annotations

import time

import numpy as np

from rotomem.propagation import Image, WarpEngine
from rotomem.propagation.phase_clock import PhaseClock


def test_an_inner_phase_is_taken_out_of_the_outer_one() -> None:
    moments = iter([0.0, 10.0, 13.0, 20.0, 30.0, 31.0])
    clock = PhaseClock(now=lambda: next(moments))
    with clock.phase("flow"):  # from 0
        with clock.phase("read"):  # from 10 to 13
            pass
    # until 20
    with clock.phase("edges"):  # from 30 to 31
        pass
    assert clock.take() == {"flow": 17.0, "read": 3.0, "edges": 1.0}
    assert clock.take() == {}


class SlowPlate:
    """Noise that takes 50 ms a frame to read."""

    size = (32, 48)
    slept_s = 0.0

    def image(self, frame: int) -> Image:
        time.sleep(0.05)
        self.slept_s += 0.05
        return np.random.default_rng(frame).random((*self.size, 3), np.float32)


def test_an_engines_phases_leave_out_the_reading_of_the_plate() -> None:
    plate = SlowPlate()
    matte = np.zeros(plate.size, np.float32)
    matte[8:20, 10:30] = 1.0
    started = time.perf_counter()
    results = list(WarpEngine().propagate(plate, {0: {"a": matte}}, ["a"], range(8), cancelled=lambda: False))
    total_s = time.perf_counter() - started
    told_s = sum(sum(result.timings_s.values()) for result in results)
    assert plate.slept_s >= 8 * 0.05
    assert told_s <= total_s - plate.slept_s
