"""Shapes against a 16 x 16 point-sampling oracle that shares no code with the rasteriser, and against geometry."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rotomem.errors import AnnotationError
from rotomem.matte import rasterize_shapes
from rotomem_client.shapes import BLEND_MODES, ControlPoint, Shape

Floats = NDArray[np.float64]
TOLERANCE = 2 / 255


def sample_positions(width: int, height: int) -> tuple[Floats, Floats]:
    return (np.arange(16 * width) + 0.5) / 16, (np.arange(16 * height) + 0.5) / 16


def mean_of_samples(samples: NDArray, width: int, height: int) -> Floats:
    return samples.reshape(height, 16, width, 16).mean(axis=(1, 3))


def fine_polygon(shape: Shape, *, chords: int = 4000, level: float = 0.0) -> Floats:
    """The outline c + level (f - c), each Bezier segment cut into very many chords by its definition."""
    corners = []
    for point, following in zip(shape.points, (*shape.points[1:], shape.points[0]), strict=True):
        pieces = []
        for feather in (False, True):
            ends = [np.add(p.center, p.feather if feather else (0, 0)) for p in (point, following)]
            out = point.feather_right if feather else point.right
            back = following.feather_left if feather else following.left
            pieces.append(np.array([ends[0], ends[0] + out, ends[1] + back, ends[1]]))
        a, b, c, d = (1 - level) * pieces[0] + level * pieces[1]
        t = np.linspace(0, 1, chords, endpoint=False)[:, None]
        corners.append((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)
    return np.concatenate(corners)


def sample_winding(polygon: Floats, width: int, height: int) -> NDArray[np.int64]:
    """Winding number at every sample: signed crossings of a ray to the left."""
    xs, ys = sample_positions(width, height)
    (x0, y0), (x1, y1) = polygon.T, np.roll(polygon, -1, axis=0).T
    winding = np.zeros((len(ys), len(xs)), dtype=np.int64)
    for row, y in enumerate(ys):
        for sign, crosses in ((1, (y0 <= y) & (y < y1)), (-1, (y1 <= y) & (y < y0))):
            at = x0[crosses] + (y - y0[crosses]) / (y1[crosses] - y0[crosses]) * (x1[crosses] - x0[crosses])
            winding[row] += sign * (at[:, None] < xs).sum(axis=0)
    return winding


def supersample(shape: Shape, width: int, height: int) -> Floats:
    return mean_of_samples(sample_winding(fine_polygon(shape), width, height) != 0, width, height)


def supersample_field(alpha: Callable[[Floats, Floats], Floats], width: int, height: int) -> Floats:
    xs, ys = sample_positions(width, height)
    return mean_of_samples(alpha(xs[None, :], ys[:, None]), width, height)


def polygon_shape(*corners: tuple[float, float], **fields: object) -> Shape:
    return Shape("polygon", tuple(ControlPoint(corner) for corner in corners), **fields)  # type: ignore[arg-type]


def square(left: float, top: float, right: float, bottom: float, **fields: object) -> Shape:
    return polygon_shape((left, top), (right, top), (right, bottom), (left, bottom), **fields)


def ring(
    center: tuple[float, float],
    radius: Callable[[float], float],
    feather: Callable[[float], float] | None = None,
    *,
    points: int = 24,
    **fields: object,
) -> Shape:
    """A star-shaped outline by its radius over the angle; tangents by Hermite interpolation."""

    def vertex(reach: Callable[[float], float], angle: float) -> Floats:
        return np.array([math.cos(angle), math.sin(angle)]) * reach(angle)

    def tangent(reach: Callable[[float], float], angle: float) -> Floats:
        slope = (vertex(reach, angle + 1e-5) - vertex(reach, angle - 1e-5)) / 2e-5
        # 4/3 tan(step / 4) is the arc's tangent length; for a circle of 24 vertices it is right to 1e-7 of the radius
        return slope * 4 / 3 * math.tan(math.tau / points / 4)

    def pair(vector: Floats) -> tuple[float, float]:
        return float(vector[0]), float(vector[1])

    vertices = []
    for angle in np.arange(points) * math.tau / points:
        at, along = vertex(radius, angle), tangent(radius, angle)
        soft = ()
        if feather is not None:
            spread = tangent(feather, angle)
            soft = (pair(vertex(feather, angle) - at), pair(-spread), pair(spread))
        vertices.append(ControlPoint(pair(at + center), pair(-along), pair(along), *soft))
    return Shape("ring", tuple(vertices), **fields)  # type: ignore[arg-type]


HARD_SHAPES = {
    "circle": ring((31.3, 24.7), lambda a: 17.9),
    "wobbly outline of 40 points": ring((32.1, 23.2), lambda a: 15 + 4 * math.sin(5 * a) + math.cos(9 * a), points=40),
    "triangle": polygon_shape((3.3, 40.7), (60.2, 31.9), (22.6, 4.1)),
    "long thin sliver": polygon_shape((1.2, 1.1), (62.7, 45.3), (62.9, 44.8)),
    "smaller than a pixel": polygon_shape((20.2, 20.3), (20.8, 20.4), (20.5, 20.9)),
    "lens of two points": Shape(
        "lens", (ControlPoint((8.1, 30.3), (0, 0), (10, -25)), ControlPoint((55.4, 20.6), (-20, -18), (-14, 22)))
    ),
    "figure of eight": polygon_shape((10.3, 8.1), (50.7, 40.2), (50.2, 9.4), (11.1, 39.8)),
    "pentagram, its core wound twice": polygon_shape(
        *(
            (32 + 20 * math.sin(0.3 + k * math.tau * 2 / 5), 24 - 20 * math.cos(0.3 + k * math.tau * 2 / 5))
            for k in range(5)
        )
    ),
    "loop within one segment": Shape(
        "loop", (ControlPoint((20.3, 40.1), (4, 3), (60, -45)), ControlPoint((42.2, 39.3), (-60, -45), (-5, 4)))
    ),
    "partly outside the frame": ring((60.4, 2.3), lambda a: 22.2),
    "covering the frame": ring((30, 20), lambda a: 300),
}


@pytest.mark.parametrize("name", HARD_SHAPES)
def test_coverage_is_that_of_16x16_samples(name: str) -> None:
    shape = HARD_SHAPES[name]
    matte = rasterize_shapes([shape], width=64, height=48)
    assert matte.dtype == np.float32
    assert matte.shape == (48, 64)
    assert matte.max() > 0
    np.testing.assert_allclose(matte, supersample(shape, 64, 48), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("seed", range(12))
def test_coverage_of_random_curves_with_crossings_is_that_of_16x16_samples(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = tuple(
        ControlPoint(tuple(rng.uniform(-10, 70, 2)), tuple(rng.normal(0, 12, 2)), tuple(rng.normal(0, 12, 2)))
        for _ in range(rng.integers(2, 9))
    )
    shape = Shape("random", points)
    expected = supersample(shape, 60, 40)
    np.testing.assert_allclose(rasterize_shapes([shape], width=60, height=40), expected, rtol=0, atol=TOLERANCE)


def test_area_of_a_circle_is_kept() -> None:
    matte = rasterize_shapes([ring((50.3, 50.8), lambda a: 40.0)], width=100, height=100)
    assert matte.sum(dtype=np.float64) == pytest.approx(math.pi * 40**2, rel=1e-4)


@pytest.mark.parametrize("falloff", [1.0, 2.0, 0.5])
@pytest.mark.parametrize("reach", [0.8, 2.0, 5.0, 17.5, 60.0])
def test_feather_of_a_circle_ramps_radially(reach: float, falloff: float) -> None:
    center, radius = (61.3, 60.8), 22.4
    shape = ring(center, lambda a: radius, lambda a: radius + reach, feather_falloff=falloff)
    expected = supersample_field(
        lambda x, y: (1 - np.clip((np.hypot(x - center[0], y - center[1]) - radius) / reach, 0, 1)) ** falloff, 120, 120
    )
    np.testing.assert_allclose(rasterize_shapes([shape], width=120, height=120), expected, rtol=0, atol=TOLERANCE)


def test_inward_feather_is_full_at_the_feather_edge_and_zero_at_the_shape() -> None:
    center = (40.3, 39.6)
    shape = ring(center, lambda a: 34.0, lambda a: 12.0)
    expected = supersample_field(lambda x, y: np.clip((34 - np.hypot(x - center[0], y - center[1])) / 22, 0, 1), 80, 80)
    np.testing.assert_allclose(rasterize_shapes([shape], width=80, height=80), expected, rtol=0, atol=TOLERANCE)


def test_feather_of_two_points_softens_one_side_alone() -> None:
    """Half-plane ramp: the right side of a square is pulled 24 px out, the other sides stay hard."""
    corners = [(8.25, 4.5), (30.5, 4.5), (30.5, 40.25), (8.25, 40.25)]
    pulled = [(0.0, 0.0), (24.0, 0.0), (24.0, 0.0), (0.0, 0.0)]
    shape = Shape("one side", tuple(ControlPoint(c, feather=f) for c, f in zip(corners, pulled, strict=True)))
    matte = rasterize_shapes([shape], width=64, height=48)
    expected = supersample_field(
        lambda x, y: (x > 8.25) * (y > 4.5) * (y < 40.25) * np.clip((54.5 - x) / 24, 0, 1), 64, 48
    )
    np.testing.assert_allclose(matte, expected, rtol=0, atol=TOLERANCE)
    assert matte[20, 8] == 0.75
    assert matte[20, 42] == pytest.approx(0.5, abs=TOLERANCE)


def test_feather_of_a_square_is_mitred() -> None:
    corners = [(20.0, 20.0), (44.0, 20.0), (44.0, 44.0), (20.0, 44.0)]
    pulled = [(-10.0, -10.0), (10.0, -10.0), (10.0, 10.0), (-10.0, 10.0)]
    shape = Shape("square", tuple(ControlPoint(c, feather=f) for c, f in zip(corners, pulled, strict=True)))
    expected = supersample_field(
        lambda x, y: np.clip(1 - (np.maximum(np.abs(x - 32), np.abs(y - 32)) - 12) / 10, 0, 1), 64, 64
    )
    np.testing.assert_allclose(rasterize_shapes([shape], width=64, height=64), expected, rtol=0, atol=TOLERANCE)


def test_feather_that_crosses_the_outline_is_the_mean_of_the_outlines_between() -> None:
    """Outward on one side, inward on the other, nothing between: no holes, no seams."""
    shape = ring((9.2, 9.1), lambda a: 5.0, lambda a: 5 + 3 * math.cos(a), points=6)
    levels = (np.arange(256) + 0.5) / 256
    inside = [sample_winding(fine_polygon(shape, chords=40, level=s), 18, 18) != 0 for s in levels]
    expected = mean_of_samples(np.mean(inside, axis=0), 18, 18)
    np.testing.assert_allclose(rasterize_shapes([shape], width=18, height=18), expected, rtol=0, atol=TOLERANCE)


def test_wide_feather_has_no_visible_steps() -> None:
    """A 500 px ramp falls by 1/500 a pixel; a step of 1/255 would show as banding."""
    shape = Shape(
        "ramp",
        (
            ControlPoint((10, 0)),
            ControlPoint((10, 0.0), feather=(500, 0)),
            ControlPoint((10, 20.0), feather=(500, 0)),
            ControlPoint((10, 20)),
        ),
    )
    row = rasterize_shapes([shape], width=520, height=20)[10, 10:510]
    assert np.abs(np.diff(row)).max() < 1 / 255
    np.testing.assert_allclose(row, 1 - (np.arange(500) + 0.5) / 500, rtol=0, atol=1 / 510)


def test_coinciding_feather_is_no_feather() -> None:
    points = ring((20, 20), lambda a: 11.3).points
    doubled = tuple(ControlPoint(p.center, p.left, p.right, (0, 0), p.left, p.right) for p in points)
    soft = rasterize_shapes([Shape("soft", doubled)], width=40, height=40)
    np.testing.assert_array_equal(soft, rasterize_shapes([Shape("hard", points)], width=40, height=40))


@pytest.mark.parametrize(
    "corners",
    [((5.0, 5.0), (30.0, 20.0)), ((5.0, 9.0), (20.0, 9.0), (35.0, 9.0)), ((7.0, 7.0), (7.0, 7.0), (7.0, 7.0))],
)
def test_shape_without_area_covers_nothing(corners: tuple[tuple[float, float], ...]) -> None:
    assert rasterize_shapes([polygon_shape(*corners)], width=40, height=30).max() == 0


@pytest.mark.parametrize("offset", [(-100, 0), (100, 0), (0, -100), (0, 100)])
def test_shape_outside_the_frame_covers_nothing(offset: tuple[int, int]) -> None:
    shape = ring((20 + offset[0], 15 + offset[1]), lambda a: 12.0, lambda a: 18.0)
    assert rasterize_shapes([shape], width=40, height=30).max() == 0


def test_huge_shape_costs_no_more_than_what_the_frame_shows() -> None:
    """A circle of a million pixels' radius whose rim passes through the frame: locally a straight vertical edge."""
    shape = ring((20.25 - 1e6, 15.0), lambda a: 1e6, points=400)
    matte = rasterize_shapes([shape], width=40, height=30)
    np.testing.assert_allclose(matte[15, 19:22], [1, 0.25, 0], rtol=0, atol=TOLERANCE)
    assert (np.diff(matte, axis=1) <= 0).all()


def test_coordinates_beyond_reason_are_refused_with_the_name_of_the_shape() -> None:
    with pytest.raises(AnnotationError, match="'polygon'"):
        rasterize_shapes([polygon_shape((0, 0), (1e9, 0), (0, 5))], width=8, height=8)


def test_no_shapes_is_an_empty_matte() -> None:
    np.testing.assert_array_equal(rasterize_shapes([], width=5, height=4), np.zeros((4, 5), np.float32))


BELOW, ABOVE = 0.5, 0.8
BLENDED = {  # hand calculation for a = 0.8 over b = 0.5: (where both are, where only b is)
    "over": (0.9, 0.5),
    "max": (0.8, 0.5),
    "min": (0.5, 0.0),
    "multiply": (0.4, 0.0),
    "screen": (0.9, 0.5),
    "plus": (1.0, 0.5),
    "minus": (0.3, 0.0),
    "difference": (0.3, 0.5),
    "exclusion": (0.5, 0.5),
    "from": (0.0, 0.5),
}


@pytest.mark.parametrize("mode", BLEND_MODES)
def test_blend_mode_combines_with_what_lies_below(mode: str) -> None:
    below = square(0, 0, 20, 10, opacity=BELOW)
    above = square(10, 0, 20, 10, opacity=ABOVE, blend_mode=mode)
    matte = rasterize_shapes([below, above], width=20, height=10)
    both, only_below = BLENDED[mode]
    np.testing.assert_allclose(matte[:, 10:], both, atol=1e-6)
    np.testing.assert_allclose(matte[:, :10], only_below, atol=1e-6)


def test_first_shape_is_bottommost() -> None:
    hole = square(4, 4, 8, 8, blend_mode="from")
    body = square(0, 0, 12, 12)
    assert rasterize_shapes([body, hole], width=12, height=12)[6, 6] == 0
    assert rasterize_shapes([hole, body], width=12, height=12)[6, 6] == 1


def test_inverted_hole_keeps_what_lies_outside_it() -> None:
    matte = rasterize_shapes(
        [square(0, 0, 12, 12), square(4, 4, 8, 8, inverted=True, blend_mode="multiply")], width=16, height=12
    )
    assert (matte[6, 6], matte[1, 1], matte[1, 14]) == (0, 1, 0)


COORDINATE = st.integers(8 * 16, 40 * 16).map(lambda n: n / 16 + 1 / 64)
TANGENT = st.integers(-6 * 16, 6 * 16).map(lambda n: n / 16)
POINT = st.builds(
    ControlPoint,
    center=st.tuples(COORDINATE, COORDINATE),
    left=st.tuples(TANGENT, TANGENT),
    right=st.tuples(TANGENT, TANGENT),
    feather=st.tuples(TANGENT, TANGENT),
    feather_left=st.tuples(TANGENT, TANGENT),
    feather_right=st.tuples(TANGENT, TANGENT),
)
SHAPE = st.builds(
    Shape,
    name=st.just("any"),
    points=st.lists(POINT, min_size=2, max_size=6).map(tuple),
    opacity=st.sampled_from([0.0, 0.25, 1.0]),
    inverted=st.booleans(),
    blend_mode=st.sampled_from(BLEND_MODES),
    feather_falloff=st.sampled_from([0.5, 1.0, 3.0]),
)


def moved(shape: Shape, dx: int, dy: int) -> Shape:
    points = tuple(
        ControlPoint((p.center[0] + dx, p.center[1] + dy), p.left, p.right, p.feather, p.feather_left, p.feather_right)
        for p in shape.points
    )
    return replaced(shape, points=points)


def replaced(shape: Shape, **fields: object) -> Shape:
    return Shape(**{**shape.__dict__, **fields})


@settings(deadline=None, max_examples=30)
@given(SHAPE, st.integers(0, 15), st.integers(0, 15))
def test_moving_a_shape_by_whole_pixels_moves_its_matte(shape: Shape, dx: int, dy: int) -> None:
    shape = replaced(shape, inverted=False, blend_mode="over")
    matte = rasterize_shapes([shape], width=96, height=96)
    expected = np.zeros_like(matte)
    expected[dy:, dx:] = matte[: 96 - dy, : 96 - dx]
    np.testing.assert_array_equal(rasterize_shapes([moved(shape, dx, dy)], width=96, height=96), expected)


@settings(deadline=None, max_examples=30)
@given(SHAPE)
def test_inverting_a_shape_complements_its_matte(shape: Shape) -> None:
    plain = rasterize_shapes([replaced(shape, inverted=False, opacity=1.0, blend_mode="over")], width=48, height=40)
    inverse = rasterize_shapes([replaced(shape, inverted=True, opacity=1.0, blend_mode="over")], width=48, height=40)
    np.testing.assert_allclose(plain + inverse, 1, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(SHAPE, st.floats(0, 1))
def test_opacity_scales_the_matte(shape: Shape, opacity: float) -> None:
    full = rasterize_shapes([replaced(shape, opacity=1.0, blend_mode="over")], width=48, height=40)
    part = rasterize_shapes([replaced(shape, opacity=opacity, blend_mode="over")], width=48, height=40)
    np.testing.assert_allclose(part, full * opacity, atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.lists(SHAPE, max_size=4))
def test_any_stack_of_shapes_stays_in_range(shapes: list[Shape]) -> None:
    matte = rasterize_shapes(shapes, width=48, height=40)
    assert np.isfinite(matte).all()
    assert matte.min() >= 0
    assert matte.max() <= 1
