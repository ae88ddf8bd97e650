"""The camera's own motion, fitted to flow, and what is said about it."""

from __future__ import annotations

import numpy as np
import pytest

from rotomem.propagation.classical_motion.camera import (
    CameraMotion,
    camera_displacement,
    describe_step,
    fit_camera,
    overall_motion,
)

SIZE = (120, 200)
CENTRE = np.array([[1, 0, 100], [0, 1, 60], [0, 0, 1]], dtype=np.float64)


def about_centre(zoom: float = 1.0, degrees: float = 0.0, pan: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """A homography that zooms and turns about the picture's centre, then pans."""
    turn = np.radians(degrees)
    spin = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = spin, pan
    moved = CENTRE @ matrix @ np.linalg.inv(CENTRE)
    return moved


def noisy(flow: np.ndarray) -> np.ndarray:
    return (flow + np.random.default_rng(0).normal(0, 0.1, flow.shape)).astype(np.float32)


def test_the_camera_is_found_beside_an_object_that_moves_otherwise() -> None:
    flow = noisy(camera_displacement(about_centre(zoom=1.01, pan=(4, -1)), SIZE))
    flow[30:90, 60:140] += (6, 2)
    step = fit_camera(flow, np.zeros(SIZE, np.float32))
    motion = describe_step(step, SIZE, frames_apart=1, plate_px=1.0)
    assert motion.pan_px == pytest.approx((4, -1), abs=0.1)
    assert motion.zoom == pytest.approx(1.01, abs=0.001)
    assert motion.inlier_share == pytest.approx(1 - 60 * 80 / (120 * 200), abs=0.03)
    assert motion.rim_share > 0.98
    assert 0 < motion.residual_px < 0.3


def test_an_object_that_fills_most_of_the_picture_is_not_taken_for_the_scene() -> None:
    flow = noisy(camera_displacement(about_centre(pan=(3, 0)), SIZE))
    flow[12:108, 20:180] = (-5, 0)  # 64 % of the picture
    motion = describe_step(fit_camera(flow, np.zeros(SIZE, np.float32)), SIZE, frames_apart=1, plate_px=1.0)
    assert motion.pan_px == pytest.approx((3, 0), abs=0.1)


def test_flow_that_is_unsure_does_not_count() -> None:
    flow = noisy(camera_displacement(about_centre(pan=(2, 0)), SIZE))
    unsure = np.zeros(SIZE, np.float32)
    flow[:80], unsure[:80] = (-9, 0), 1.0  # two thirds of it
    motion = describe_step(fit_camera(flow, unsure), SIZE, frames_apart=1, plate_px=1.0)
    assert motion.pan_px == pytest.approx((2, 0), abs=0.1)


def test_flow_without_any_agreement_counts_as_a_still_camera() -> None:
    flow = np.random.default_rng(1).uniform(-30, 30, (*SIZE, 2)).astype(np.float32)
    step = fit_camera(flow, np.zeros(SIZE, np.float32))
    assert step.rim_share < 0.2
    assert np.isfinite(step.homography).all()


def test_figures_are_per_frame_and_in_plate_pixels() -> None:
    step = fit_camera(
        noisy(camera_displacement(about_centre(zoom=1.03**3, degrees=3.0, pan=(6, 0)), SIZE)),
        np.zeros(SIZE, np.float32),
    )
    ahead = describe_step(step, SIZE, frames_apart=3, plate_px=2.0)
    assert ahead.pan_px == pytest.approx((4, 0), abs=0.1)
    assert ahead.zoom == pytest.approx(1.03, abs=0.001)
    assert ahead.roll_degrees == pytest.approx(1.0, abs=0.05)
    back = describe_step(step, SIZE, frames_apart=-3, plate_px=2.0)
    assert back.pan_px == pytest.approx((-4, 0), abs=0.1)
    assert back.zoom == pytest.approx(1 / 1.03, abs=0.001)


@pytest.mark.parametrize(
    ("motion", "sentence"),
    [
        (CameraMotion((0.1, 0.1), 1.0, 0.0, 0.9, 0.95, 0.1), "the camera is locked off"),
        (CameraMotion((4.0, 0.0), 1.0, 0.0, 0.9, 0.95, 0.1), "the camera pans 4.0 px a frame"),
        (
            CameraMotion((0.0, 0.0), 1.02, 0.0, 0.9, 0.8, 0.1),
            "the camera zooms in 2.0 % a frame; there is some parallax",
        ),
        (
            CameraMotion((3.0, 4.0), 0.99, -0.5, 0.4, 0.3, 0.5),
            "the camera pans 5.0 px a frame, zooms out 1.0 % a frame and rolls 0.5 degrees a frame; "
            "parallax is strong: much of the scene does not follow one plane",
        ),
    ],
)
def test_what_the_camera_does_is_said_in_a_sentence(motion: CameraMotion, sentence: str) -> None:
    assert motion.sentence() == sentence


def test_a_shaking_camera_is_told_by_its_speed() -> None:
    steps = [CameraMotion((sign * 3.0, 0.0), 1.0, 0.0, 1.0, 1.0, 0.1) for sign in (1, -1) * 4]
    assert overall_motion(steps).sentence() == "the camera pans 3.0 px a frame"
