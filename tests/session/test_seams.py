"""How much mattes jump beside annotated frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rotomem.errors import PlateUnreadableError
from rotomem.plates import FramePattern
from rotomem.propagation import WarpEngine
from rotomem.session.seams import JumpMeter, SeamMeter, find_seams
from rotomem.session.shot import Seam

HEIGHT, WIDTH, SIDE = 128, 192, 56


def texture(height: int, width: int, seed: int, tint: float) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((height, width, 3)).astype(np.float32), (0, 0), 1.5)
    return np.clip((noise - 0.5) * 2 + tint, 0, 1).astype(np.float32)


class Moving:
    """A textured square moves 3 px right and 1 px down per frame before a still wall."""

    size = (HEIGHT, WIDTH)

    def __init__(self) -> None:
        self._wall, self._square = texture(HEIGHT, WIDTH, 1, 0.35), texture(SIDE, SIDE, 2, 0.75)

    def image(self, frame: int) -> np.ndarray:
        picture = self._wall.copy()
        picture[self.matte(frame) > 0] = self._square.reshape(-1, 3)
        return picture

    def matte(self, frame: int, grown_px: int = 0) -> np.ndarray:
        matte = np.zeros(self.size, np.float32)
        top, left = 12 + frame - grown_px, 20 + 3 * frame - grown_px
        matte[top : top + SIDE + 2 * grown_px, left : left + SIDE + 2 * grown_px] = 1.0
        return matte


def test_a_matte_that_moves_with_the_plate_does_not_jump_and_one_that_grows_does() -> None:
    plate = Moving()
    meter = JumpMeter(plate)
    still = meter.jump(3, plate.matte(3), plate.matte(4))
    assert still < 0.03
    # 2 px wider on all sides: 60 x 60 instead of 56 x 56, of a mean area of 3368.
    grown = meter.jump(3, plate.matte(3), plate.matte(4, grown_px=2))
    assert grown - still == pytest.approx((3600 - 3136) / 3368, abs=0.03)


def test_each_seam_is_compared_with_the_pairs_that_follow_on_its_side() -> None:
    jumps = {1: 0.01, 2: 0.02, 3: 0.03, 4: 0.30, 5: 0.40, 6: 0.04, 7: 0.06, 8: 0.10}
    assert find_seams(jumps, [5, 10]) == (
        Seam(5, 4, 0.30, pytest.approx(0.025)),
        Seam(5, 6, 0.40, pytest.approx(0.05)),
        # Frame 9 to 10 was not measured.
    )
    assert find_seams({1: 0.2, 2: 0.1}, [1, 3]) == (Seam(1, 2, 0.2, None), Seam(3, 2, 0.1, None))
    assert Seam(1, 2, 0.2, None).excess == 0


def test_neighbouring_drawn_frames_have_no_seam_between_them() -> None:
    assert find_seams({1: 0.2}, [1, 2]) == ()


def test_the_order_in_which_mattes_come_changes_nothing() -> None:
    plate = Moving()
    drawn = [3, 9]
    figures = []
    for order in (range(1, 12), reversed(range(1, 12)), [3, 9, 8, 7, 6, 5, 4, 2, 1, 11, 10]):
        meter = SeamMeter(plate, drawn, range(1, 12))
        for frame in order:
            meter.add(frame, plate.matte(frame, grown_px=2 * (frame == 9))[None])
        figures.append(meter.finish(FramePattern.parse("none.%04d.exr")))
    assert figures[0] == figures[1] == figures[2]
    assert [(seam.annotated, seam.neighbour) for seam in figures[0]] == [(3, 2), (3, 4), (9, 8), (9, 10)]
    assert min(seam.excess for seam in figures[0] if seam.annotated == 9) > 0.08


def test_a_plate_that_cannot_be_read_costs_the_figure_and_not_the_job() -> None:
    class Broken(Moving):
        def image(self, frame: int) -> np.ndarray:
            if frame == 4:
                raise PlateUnreadableError("frame 4 is damaged")
            return super().image(frame)

    plate = Broken()
    meter = SeamMeter(plate, [3], range(1, 7))
    for frame in (3, 4, 5, 2):
        meter.add(frame, plate.matte(frame)[None])
    assert [(seam.annotated, seam.neighbour) for seam in meter.finish(FramePattern.parse("none.%04d.exr"))] == [(3, 2)]


def loose_seams() -> dict[tuple[int, int], Seam]:
    """Of a shot whose middle annotation is drawn 2 px too wide on all sides."""
    plate = Moving()
    annotations = {frame: {"square": plate.matte(frame, grown_px=2 * (frame == 10))} for frame in (5, 10, 15)}
    meter = SeamMeter(plate, annotations, range(5, 16))
    for result in WarpEngine().propagate(plate, annotations, ["square"], range(5, 16), cancelled=lambda: False):
        meter.add(result.frame, result.mattes)
    return {(seam.annotated, seam.neighbour): seam for seam in meter.finish(FramePattern.parse("none.%04d.exr"))}


def test_a_loosely_drawn_frame_does_not_pop_against_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    fading = loose_seams()
    monkeypatch.setattr("rotomem.propagation.warp_engine.FULL_SNAP_FRAMES", 1)
    at_once = loose_seams()
    for seam in ((10, 9), (10, 11)):
        # The frame is (60 x 60) / (56 x 56) - 1 = 15 % larger than its neighbours would be.
        assert at_once[seam].excess > 0.05
        assert fading[seam].excess < 0.6 * at_once[seam].excess
