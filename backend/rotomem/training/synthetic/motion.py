"""Rigid motion: a camera in space, and the planes that it sees.

Screen coordinates are half picture heights, x right and y down, the origin in the middle of the picture.
"""

from __future__ import annotations

import numpy as np

from rotomem.training.synthetic.cast import SLOTS, Cast, Slot
from rotomem.training.synthetic.draws import Draws, Flags, Floats
from rotomem.training.synthetic.sprites import sprite_transforms
from rotomem.training.synthetic.timing import Oscillation, Timing


def place_layers(draws: Draws, cast: Cast, timing: Timing, *, aspect: float, difficulty: float) -> Floats:
    """Homographies (B, S, T, J, 3, 3) from each slot's canonical square to the screen."""
    camera = _camera_homographies(draws, cast, timing, difficulty)
    return np.asarray(camera @ sprite_transforms(draws, cast, timing, aspect=aspect, difficulty=difficulty))


def canonical_scale(homographies: Floats) -> Floats:
    """Half picture heights per canonical unit (...,), at the middle of the canonical square."""
    origin = homographies[..., :2, 2] / homographies[..., 2:, 2]
    jacobian = homographies[..., :2, :2] - origin[..., None] * homographies[..., 2:, :2]
    jacobian = jacobian / homographies[..., 2:, 2:]
    return np.asarray(np.sqrt(np.abs(np.linalg.det(jacobian))))


def fastest_motion(homographies: Floats, active: Flags, *, aspect: float) -> Floats:
    """(B,) speed in half picture heights per frame: the fastest layer centre that is in the picture."""
    centre = (homographies[..., :2, 2] / homographies[..., 2:, 2])[..., 0, :]
    inside = (np.abs(centre) < np.array([aspect + 0.3, 1.3])).all(-1) & active[..., None]
    step = np.linalg.norm(np.diff(centre, axis=2), axis=-1)
    step = np.where(inside[..., 1:] & inside[..., :-1], step, 0.0)
    return np.asarray(step.reshape(len(step), -1).max(1, initial=0.0))


def _camera_homographies(draws: Draws, cast: Cast, timing: Timing, difficulty: float) -> Floats:
    r"""Planes through the neutral camera's view, seen by the moving camera.

    A point of the plane at neutral screen position s and inverse depth q(1 + n.s) is P = (s / f, 1) per unit of
    depth; the camera at c, turned by R, sees K R (P - c q (1 + n.s)). That is linear in (s, 1): a homography.
    """
    zoom, rotation, position, focal = _camera_path(draws, timing, difficulty)
    batch = draws.count
    slant = draws.uniform("camera.slant", -0.25, 0.25, (SLOTS, 2))
    slant *= draws.chance("camera.slanted", 0.4)[:, None, None]
    slant[:, Slot.HERO :] = 0.0
    plane = np.concatenate([slant, np.ones((batch, SLOTS, 1))], -1) * cast.inverse_depth[..., None]
    plane[:, [Slot.LIMB_A, Slot.LIMB_B]] = plane[:, [Slot.HERO]]
    lift = np.zeros((batch, 1, 1, 1, 3, 3))
    lift[..., 0, 0] = lift[..., 1, 1] = (1 / focal)[:, None, None, None]
    lift[..., 2, 2] = 1.0
    seen = lift - position[:, None, ..., :, None] * plane[:, :, None, None, None, :]
    project = np.zeros((*zoom.shape, 3, 3))
    project[..., 0, 0] = project[..., 1, 1] = focal[:, None, None] * zoom
    project[..., 2, 2] = 1.0
    return np.asarray((project @ rotation)[:, None] @ seen)


def _camera_path(draws: Draws, timing: Timing, difficulty: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Zoom (B, T, J), rotation (B, T, J, 3, 3), position (B, T, J, 3) and focal length (B,)."""
    batch = draws.count
    focal = draws.log_uniform("camera.focal", 1.4, 3.5)
    moving = draws.chance("camera.moving", 0.75) * (0.25 + 0.75 * difficulty) * timing.stride
    reach = np.array([0.25, 0.2, 0.2, 0.5, 0.3, 0.4, 0.3])
    speed = draws.log_uniform("camera.speed", 0.0006, 0.012, (7,)) * np.array([1, 0.7, 0.7, 2.0, 1.2, 1.5, 0.9])
    path = Oscillation(
        speed=speed * draws.signs("camera.direction", (7,)) * moving[:, None] + 1e-9,
        reach=np.tile(reach, (batch, 1)),
        phase=draws.uniform("camera.phase", -1.0, 1.0, (7,)),
    ).at(timing.clock)
    shake = draws.log_uniform("camera.shake", 0.0005, 0.006) * draws.chance("camera.shaky", 0.3) * difficulty
    wobble = draws.uniform("camera.wobble", 1.5, 2.9, (2, 1, 1)) * timing.clock[:, None]
    wobble += draws.uniform("camera.wobble-phase", 0, 2 * np.pi, (2, 1, 1))
    path[:, :2] += shake[:, None, None, None] * np.sin(wobble)
    pan, tilt, roll = path[:, 0], path[:, 1], path[:, 2]
    rotation = _turn(pan, 0, 2) @ _turn(tilt, 1, 2) @ _turn(roll, 0, 1)
    return np.exp(path[:, 6]), rotation, np.moveaxis(path[:, 3:6], 1, -1), focal


def _turn(angle: Floats, first: int, second: int) -> Floats:
    """Rotation matrices (..., 3, 3) in the plane of two axes."""
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., range(3), range(3)] = 1.0
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., first, second] = -np.sin(angle)
    matrix[..., second, first] = np.sin(angle)
    return matrix
