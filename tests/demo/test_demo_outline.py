"""Outlines that become roto shapes, and their feather for motion blur."""

from __future__ import annotations

import math

import numpy as np

from rotomem.demo.outline import outline_shape, smooth_outline, transform_outline
from rotomem.matte import rasterize_shapes


def circle(x: float, y: float, radius: float) -> np.ndarray:
    angles = np.arange(32) * math.tau / 32
    return smooth_outline(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1))


def test_smooth_outline_of_circle_points_is_a_circle() -> None:
    matte = rasterize_shapes([outline_shape("circle", circle(32, 32, 20))], width=64, height=64)
    assert abs(matte.sum() / (math.pi * 400) - 1) < 0.002


def test_corner_keeps_its_handles_on_the_vertex() -> None:
    outline = smooth_outline(np.array([[0.0, 0], [10, 0], [10, 10], [0, 10]]), corners=(0, 2))
    np.testing.assert_array_equal(outline[0], [[0, 0]] * 3)
    np.testing.assert_allclose(outline[1], [[10, 0], [10 - 10 / 6, -10 / 6], [10 + 10 / 6, 10 / 6]])


def test_transform_applies_to_vertices_and_handles_alike() -> None:
    turned = transform_outline(circle(0, 0, 5), np.array([[0.0, -2, 7], [2, 0, 3]]))
    np.testing.assert_allclose(turned[0, 0], [7, 13])
    np.testing.assert_allclose(turned[0, 2] - turned[0, 0], 2 * np.array([-1, 0]) * circle(0, 0, 5)[0, 2, 1])


def test_feather_looks_like_the_motion_blur_of_the_moving_outline() -> None:
    """A disc that travels 8 px to the right while the shutter is open, against the mean of 64 instants."""
    at = [circle(40 + shift, 40, 22) for shift in (0, -4, 4)]
    drawn = rasterize_shapes([outline_shape("disc", *at)], width=80, height=80)
    instants = np.linspace(-4, 4, 64)
    blurred = np.mean(
        [rasterize_shapes([outline_shape("d", circle(40 + s, 40, 22))], width=80, height=80) for s in instants], axis=0
    )
    sharp = rasterize_shapes([outline_shape("d", at[0])], width=80, height=80)
    assert np.abs(drawn - blurred).max() < 0.15
    assert np.abs(drawn - blurred).sum() < 0.2 * np.abs(sharp - blurred).sum()


def test_outline_at_rest_has_no_feather() -> None:
    at = circle(40, 40, 22)
    assert not any(p.feathered for p in outline_shape("still", at, at, at).points)
