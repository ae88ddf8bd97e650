"""Mattes to outlines and back: how far the outlines lie from where a matte is one half."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from rotomem.matte import rasterize_shapes
from rotomem.matte.bezier import flatten_ribbon, shape_ribbon
from rotomem.matte.contours import link_contours, trace_contours
from rotomem.matte.vectorize import vectorize_mattes
from rotomem_client.errors import InvalidValueError
from rotomem_client.shapes import ControlPoint, Outline

HEIGHT, WIDTH = 96, 128
Matte = NDArray[np.float32]


def disk(x: float, y: float, radius: float) -> Matte:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.clip(radius - np.hypot(columns - x, rows - y) + 0.5, 0, 1).astype(np.float32)


def square(x: int, y: int, size: int) -> Matte:
    matte = np.zeros((HEIGHT, WIDTH), np.float32)
    matte[y : y + size, x : x + size] = 1.0
    return matte


def blobs(shift: float = 0.0) -> Matte:
    union: Matte = np.maximum(disk(45 + shift, 50, 28), disk(80 + 0.5 * shift, 40 + shift, 20))
    return union


RING = disk(60, 48, 40) - disk(55, 50, 18)


def distances(points: NDArray[np.float64], polygon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each point's distance to a closed polygon."""
    step = np.roll(polygon, -1, axis=0) - polygon
    apart = points[:, None] - polygon
    part = np.clip((apart * step).sum(axis=-1) / np.maximum((step * step).sum(axis=-1), 1e-12), 0, 1)
    nearest: NDArray[np.float64] = np.hypot(*np.moveaxis(apart - part[..., None] * step, -1, 0)).min(axis=1)
    return nearest


def error_px(matte: Matte, outlines: tuple[Outline, ...], frame: int) -> float:
    """Return the largest distance between the outlines drawn and the matte's own, seen from either."""
    shapes = [shape for outline in outlines if (shape := outline.at(frame)) is not None]
    drawn = [flatten_ribbon(shape_ribbon(shape), width=WIDTH, height=HEIGHT)[:, 0] for shape in shapes]
    traced = [contour.points for contour in trace_contours(matte)]
    assert len(drawn) == len(traced)
    there = [np.min([distances(points, other) for other in drawn], axis=0).max() for points in traced]
    back = [np.min([distances(points, other) for other in traced], axis=0).max() for points in drawn]
    return float(max(there + back))


@pytest.mark.parametrize("tolerance", [0.25, 0.5, 2.0])
@pytest.mark.parametrize(
    "matte",
    [disk(64, 48, 30), disk(20, 20, 3), square(30, 20, 50), RING, blobs(), (blobs() > 0.5).astype(np.float32)],
    ids=["circle", "small circle", "square", "ring", "blobs", "hard blobs"],
)
def test_no_outline_is_further_away_than_the_tolerance(matte: Matte, tolerance: float) -> None:
    assert error_px(matte, vectorize_mattes({7: matte}, tolerance=tolerance), 7) <= tolerance


def test_a_circle_needs_four_points_and_a_looser_tolerance_never_more() -> None:
    (circle,) = vectorize_mattes({1: disk(64, 48, 30)}, name="hero")
    assert (circle.name, circle.hole, circle.frames, len(circle.points[0])) == ("hero1", False, (1,), 4)
    counts = [len(vectorize_mattes({1: blobs()}, tolerance=t)[0].points[0]) for t in (0.2, 0.5, 2.0)]
    assert all(fine >= coarse for fine, coarse in pairwise(counts))
    assert counts[0] > counts[2]


def test_a_crossing_lies_where_the_ramp_is_one_half() -> None:
    """A disk of radius 30, anti-aliased: its outline lies within a tenth of a pixel of the circle."""
    (contour,) = trace_contours(disk(64, 48, 30))
    assert np.abs(np.hypot(contour.points[:, 0] - 64, contour.points[:, 1] - 48) - 30).max() < 0.1
    assert contour.area == pytest.approx(np.pi * 30**2, rel=2e-3)


def test_a_matte_that_fills_the_frame_ends_at_its_border() -> None:
    (contour,) = trace_contours(np.ones((4, 5), np.float32))
    assert contour.points.min(axis=0).tolist() == [0.0, 0.0]
    assert contour.points.max(axis=0).tolist() == [5.0, 4.0]


def test_a_hole_takes_away_and_an_island_in_it_comes_back() -> None:
    matte = np.maximum(RING, disk(55, 50, 8))
    outlines = vectorize_mattes({1: matte})
    assert [outline.hole for outline in outlines] == [False, True, False]
    shapes = [shape for outline in outlines if (shape := outline.at(1)) is not None]
    assert [shape.blend_mode for shape in shapes] == ["over", "from", "over"]
    drawn = rasterize_shapes(shapes, width=WIDTH, height=HEIGHT)
    assert np.abs(drawn - matte).mean() < 0.005
    assert np.abs(drawn - matte).max() < 0.6  # half a pixel's shift of an edge


def test_points_keep_their_number_and_go_along_with_the_shape() -> None:
    mattes = {frame: blobs(0.8 * frame) for frame in range(1, 13)}
    (outline,) = vectorize_mattes(mattes)
    assert outline.frames == tuple(range(1, 13))
    assert len({len(points) for points in outline.points}) == 1
    assert max(error_px(matte, (outline,), frame) for frame, matte in mattes.items()) <= 0.5
    centers = np.array([[point.center for point in points] for points in outline.points])
    assert np.hypot(*np.moveaxis(np.diff(centers, axis=0), -1, 0)).max() < 6.0, "a point that runs round is of no use"


def test_corners_of_a_moving_square_stay_corners() -> None:
    mattes = {frame: square(20 + 3 * frame, 20, 40) for frame in range(1, 9)}
    (outline,) = vectorize_mattes(mattes, tolerance=1.0)
    assert max(error_px(matte, (outline,), frame) for frame, matte in mattes.items()) <= 1.0
    assert len(outline.points[0]) <= 12


def test_of_a_shape_that_parts_one_part_goes_on_and_the_other_begins() -> None:
    def two(apart: float) -> Matte:
        union: Matte = np.maximum(disk(64 - apart, 48, 15), disk(64 + apart, 48, 15))
        return union

    mattes = {1: two(10), 2: two(12), 3: two(20), 4: two(24)}
    outlines = vectorize_mattes(mattes)
    assert sorted(outline.frames for outline in outlines) == [(1, 2, 3, 4), (3, 4)]
    assert max(error_px(matte, outlines, frame) for frame, matte in mattes.items()) <= 0.5


def test_an_object_away_for_a_while_has_an_outline_before_and_after() -> None:
    mattes = {1: disk(40, 48, 10), 2: np.zeros((HEIGHT, WIDTH), np.float32), 3: disk(42, 48, 10)}
    assert [outline.frames for outline in vectorize_mattes(mattes)] == [(1,), (3,)]
    assert vectorize_mattes({2: mattes[2]}) == ()
    assert len(link_contours({frame: trace_contours(matte) for frame, matte in mattes.items()})) == 2


def test_an_outline_refuses_frames_without_points() -> None:
    row = (ControlPoint((0.0, 0.0)), ControlPoint((1.0, 0.0)))
    with pytest.raises(InvalidValueError, match="as many points on each"):
        Outline("a", False, (1, 2), (row, (*row, *row)))
    with pytest.raises(InvalidValueError, match="ascend"):
        Outline("a", False, (2, 1), (row, row))
