"""The camera's own motion: a homography between two frames, fitted to flow, robustly.

Source: Hartley and Zisserman, "Multiple View Geometry in Computer Vision", 2nd edition, section 13.6 (a turning or
zooming camera moves the picture by a homography; what is left over of a still scene is parallax).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.flow import Displacement

SAMPLE_STEP_PX = 8
INLIER_PX = 1.0
"""A flow vector within this of the homography's own follows the camera: about the error of DIS on textured plates."""
ITERATIONS, CERTAINTY = 2000, 0.999
POLISHING = 2
"""Times that least squares over all that follow the homography replace what the sampling found."""
LEAST_SAMPLES = 24
RIM = 0.12
"""Of each side: where a picture shows the scene rather than what it is about."""

STILL_PX = 0.25
"""A camera that moves the picture by less than this per frame, in pixels of the flow, is locked off."""
ZOOM_PER_FRAME, ROLL_DEGREES = 0.002, 0.1
STRONG_PARALLAX, SOME_PARALLAX = 0.6, 0.85
"""Below this share of the rim following the homography."""


class CameraStep(NamedTuple):
    """The camera's motion from one frame to another, in pixels of the flow.

    Args:
        homography: (3, 3), from this frame's pixels to the other's.
        inlier_share: of the sampled vectors, how many follow it; in [0, 1].
        rim_share: likewise, near the picture's rim alone.
        residual_px: median distance of those that follow it.
    """

    homography: NDArray[np.float64]
    inlier_share: float
    rim_share: float
    residual_px: float


def fit_camera(displacement: Displacement, unsure: NDArray[np.float32]) -> CameraStep:
    """Fit a homography to flow that is sure.

    A large object's motion may fit more of the picture than the scene's does. So a second homography is fitted to what
    the first leaves, and the one that more of the picture's rim follows is the camera's.

    Args:
        displacement: (h, w, 2).
        unsure: (h, w), 1 where the flow cannot be trusted.
    """
    height, width = unsure.shape
    half = SAMPLE_STEP_PX // 2
    rows, columns = np.mgrid[half:height:SAMPLE_STEP_PX, half:width:SAMPLE_STEP_PX]
    trusted = unsure[rows, columns] < 0.5
    if np.count_nonzero(trusted) < LEAST_SAMPLES:
        trusted[...] = True
    here = np.stack([columns, rows], axis=-1)[trusted].astype(np.float32)
    there = here + displacement[rows, columns][trusted]
    rim = _on_rim(here, height, width)
    best = _step(_fit(here, there), here, there, rim)
    left = _distance(best.homography, here, there) > INLIER_PX
    if np.count_nonzero(left) >= LEAST_SAMPLES:
        other = _step(_fit(here[left], there[left]), here, there, rim)
        if other.rim_share > best.rim_share:
            return other
    return best


def camera_displacement(homography: NDArray[np.float64], size: tuple[int, int]) -> Displacement:
    """Return the flow (h, w, 2) that the camera's motion alone would make."""
    height, width = size
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    points = np.stack([columns, rows], axis=-1)
    moved = cv2.perspectiveTransform(points, homography)
    return np.asarray(moved - points, dtype=np.float32)


def _fit(here: NDArray[np.float32], there: NDArray[np.float32]) -> NDArray[np.float64]:
    if len(here) < 4:
        return np.eye(3)
    found, _ = cv2.findHomography(here, there, cv2.USAC_MAGSAC, INLIER_PX, maxIters=ITERATIONS, confidence=CERTAINTY)
    usable = _usable(found)
    homography = np.eye(3) if usable is None else usable
    for _ in range(POLISHING):
        follows = _distance(homography, here, there) <= INLIER_PX
        if np.count_nonzero(follows) < LEAST_SAMPLES:
            break
        polished, _ = cv2.findHomography(here[follows], there[follows], 0)
        usable = _usable(polished)
        if usable is None:
            break
        homography = usable
    return homography


def _usable(found: Any) -> NDArray[np.float64] | None:
    """Return a homography; None of none, and of one that folds the picture: the camera then counts as still."""
    if found is None:
        return None
    homography = np.asarray(found, dtype=np.float64)
    return homography if np.isfinite(homography).all() and np.linalg.det(homography[:2, :2]) > 0.1 else None


def _step(
    homography: NDArray[np.float64], here: NDArray[np.float32], there: NDArray[np.float32], rim: NDArray[np.bool_]
) -> CameraStep:
    distance = _distance(homography, here, there)
    follows = distance <= INLIER_PX
    share = float(follows.mean()) if len(follows) else 0.0
    residual = float(np.median(distance[follows])) if follows.any() else INLIER_PX
    return CameraStep(homography, share, float(follows[rim].mean()) if rim.any() else share, residual)


def _distance(
    homography: NDArray[np.float64], here: NDArray[np.float32], there: NDArray[np.float32]
) -> NDArray[np.float32]:
    moved = cv2.perspectiveTransform(here[:, None], homography)[:, 0]
    return np.asarray(np.linalg.norm(moved - there, axis=-1), dtype=np.float32)


def _on_rim(points: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    inset = np.minimum(points, np.array([width, height], np.float32) - 1 - points) / np.array([width, height])
    return np.asarray(inset.min(axis=-1) < RIM)


@dataclass(frozen=True)
class CameraMotion:
    """The camera's motion over a frame or a range, for people.

    Args:
        pan_px: (x, y) by which the picture's centre moves from frame to frame, plate pixels, right and down.
        zoom: factor by which the picture grows from frame to frame.
        roll_degrees: by which it turns from frame to frame, clockwise.
        inlier_share: of the flow, how much follows the homography; in [0, 1].
        rim_share: likewise, near the picture's rim alone.
        residual_px: median distance of what follows it, plate pixels.
    """

    pan_px: tuple[float, float]
    zoom: float
    roll_degrees: float
    inlier_share: float
    rim_share: float
    residual_px: float

    def sentence(self) -> str:
        """Say what the camera does, such as "the camera pans 4.0 px a frame; parallax is strong"."""
        moves = []
        speed = float(np.hypot(*self.pan_px))
        if speed >= STILL_PX:
            moves.append(f"pans {speed:.1f} px a frame")
        if abs(self.zoom - 1) >= ZOOM_PER_FRAME:
            moves.append(f"zooms {'in' if self.zoom > 1 else 'out'} {100 * abs(self.zoom - 1):.1f} % a frame")
        if abs(self.roll_degrees) >= ROLL_DEGREES:
            moves.append(f"rolls {abs(self.roll_degrees):.1f} degrees a frame")
        doing = " and ".join([*([", ".join(moves[:-1])] if moves[1:] else []), *moves[-1:]]) or "is locked off"
        if self.rim_share < STRONG_PARALLAX:
            return f"the camera {doing}; parallax is strong: much of the scene does not follow one plane"
        if self.rim_share < SOME_PARALLAX:
            return f"the camera {doing}; there is some parallax"
        return f"the camera {doing}"


def describe_step(step: CameraStep, size: tuple[int, int], *, frames_apart: int, plate_px: float) -> CameraMotion:
    """Turn a homography between two frames into figures per frame.

    Args:
        size: (h, w) of the flow.
        frames_apart: signed, other frame minus this one.
        plate_px: plate pixels per pixel of the flow.
    """
    centre = np.array([size[1] / 2, size[0] / 2])
    moved, beside = cv2.perspectiveTransform(np.stack([centre, centre + np.array([1.0, 0.0])])[None], step.homography)[
        0
    ]
    pan = (moved - centre) * plate_px / frames_apart
    along = beside - moved
    zoom = float(np.hypot(*along)) ** (1 / frames_apart)
    roll = float(np.degrees(np.arctan2(along[1], along[0]))) / frames_apart
    residual = step.residual_px * plate_px / abs(frames_apart)
    return CameraMotion((float(pan[0]), float(pan[1])), zoom, roll, step.inlier_share, step.rim_share, residual)


def overall_motion(steps: Sequence[CameraMotion]) -> CameraMotion:
    """Summarise a range: the median of each figure, and for the pan the median speed with the median direction."""
    figures = np.median(
        [(*s.pan_px, s.zoom, s.roll_degrees, s.inlier_share, s.rim_share, s.residual_px) for s in steps], axis=0
    )
    x, y, zoom, roll, inliers, rim, residual = (float(figure) for figure in figures)
    speed, direction = float(np.median([np.hypot(*s.pan_px) for s in steps])), float(np.hypot(x, y))
    # A camera that shakes has speed without direction, and is told by its speed all the same.
    pan = (x * speed / direction, y * speed / direction) if direction > 1e-6 else (speed, 0.0)
    return CameraMotion(pan, zoom, roll, inliers, rim, residual)
