"""Flow between neighbours, the check of it, and carrying values along."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rotomem.propagation.flow import PlateFlow, carry, disagreement, flow_size


def texture(height: int, width: int, *, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2.0)
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


class Pan:
    """A textured wall that moves 3 px right and 2 px up per frame."""

    size = (120, 160)

    def __init__(self) -> None:
        self.reads: list[int] = []
        self._wall = texture(200, 260, seed=1)

    def image(self, frame: int) -> np.ndarray:
        self.reads.append(frame)
        return self._wall[20 + 2 * frame : 140 + 2 * frame, 60 - 3 * frame : 220 - 3 * frame]


def test_flow_points_to_where_a_pixel_lies_in_the_other_frame() -> None:
    pair = PlateFlow(Pan()).pair(1, 0)
    inner = pair.displacement[20:-20, 20:-20]
    assert np.median(inner[..., 0]) == pytest.approx(-3, abs=0.1)
    assert np.median(inner[..., 1]) == pytest.approx(2, abs=0.1)
    assert pair.unsure[20:-20, 20:-20].mean() < 0.02


def test_carrying_fetches_from_the_other_frame() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (4, 1))
    displacement = np.zeros((4, 8, 2), np.float32)
    displacement[..., 0] = 1.5
    # Column x comes from x + 1.5; beyond the last column, 7, its value repeats.
    assert carry(ramp, displacement)[0].tolist() == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7, 7]


def test_any_number_of_channels_is_carried() -> None:
    values = np.random.default_rng(0).random((5, 6, 9)).astype(np.float32)
    displacement = np.full((5, 6, 2), 0.25, np.float32)
    together = carry(values, displacement)
    assert together.shape == (5, 6, 9)
    for channel in range(9):
        assert np.array_equal(together[..., channel], carry(values[..., channel], displacement))


def test_flow_that_does_not_lead_back_is_marked() -> None:
    there, back = np.zeros((4, 6, 2), np.float32), np.zeros((4, 6, 2), np.float32)
    there[..., 0], back[..., 0] = 1.0, -1.0
    back[1, 3, 0] = 1.0  # seen from (1, 2): there and back is 2 px off, 4 > 0.01 (1 + 1) + 0.5
    expected = np.zeros((4, 6), np.float32)
    expected[1, 2] = 1.0
    assert np.array_equal(disagreement(there, back), expected)


def test_small_disagreement_is_tolerated() -> None:
    there, back = np.zeros((4, 6, 2), np.float32), np.zeros((4, 6, 2), np.float32)
    there[..., 0], back[..., 0] = 1.0, -0.4  # 0.36 < 0.01 (1 + 0.16) + 0.5
    assert not disagreement(there, back).any()


@pytest.mark.parametrize(
    ("plate", "expected"),
    [((360, 640), (360, 640)), ((1080, 1920), (360, 640)), ((2160, 3840), (360, 640)), ((100, 200), (100, 200)),
     ((7, 5), (48, 48)), ((20, 4000), (48, 640))],
)  # fmt: skip
def test_flow_has_a_bounded_size(plate: tuple[int, int], expected: tuple[int, int]) -> None:
    assert flow_size(plate) == expected


def test_a_frame_is_read_once_while_the_cache_holds_it_and_again_when_it_does_not() -> None:
    roomy, tight = Pan(), Pan()
    for source, budget in ((roomy, 1 << 26), (tight, 1)):
        plate = PlateFlow(source, cache_bytes=budget)
        for frame in (0, 1, 2, 1, 0):
            plate.colours(frame)
    assert roomy.reads == [0, 1, 2]
    assert tight.reads == [0, 1, 2, 1, 0]
