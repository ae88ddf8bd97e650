"""How sprites move by themselves: turning, growing, tilting, crossing, leaving and returning, hanging on joints."""

from __future__ import annotations

import numpy as np

from rotomem.training.synthetic.cast import SLOTS, Cast, Slot
from rotomem.training.synthetic.draws import Draws, Floats, Integers
from rotomem.training.synthetic.timing import Oscillation, Timing

BACKGROUND_OVERSCAN = 1.3
"""How much further than the picture the background reaches before its texture mirrors."""


def sprite_transforms(draws: Draws, cast: Cast, timing: Timing, *, aspect: float, difficulty: float) -> Floats:
    """Placement (B, S, T, J, 3, 3) on each slot's plane, as the neutral camera sees it."""
    pace = (0.25 + 0.75 * difficulty) * timing.stride[:, None]
    position = _positions(draws, cast, timing, aspect=aspect, difficulty=difficulty)
    turn = draws.log_uniform("sprite.turn", 0.002, 0.06, (SLOTS,)) * draws.signs("sprite.turn-sign", (SLOTS,))
    angle = Oscillation(
        speed=turn * pace,
        reach=draws.log_uniform("sprite.turn-reach", 0.1, 2.5, (SLOTS,)),
        phase=draws.uniform("sprite.turn-phase", -1, 1, (SLOTS,)),
    ).at(timing.clock)
    angle += draws.uniform("sprite.angle", -0.9, 0.9, (SLOTS, 1, 1))
    rate = draws.log_uniform("sprite.growth", 0.001, 0.02, (SLOTS, 2)) * draws.signs("sprite.growth-sign", (SLOTS, 2))
    growth = Oscillation(
        speed=rate * pace[..., None],
        reach=np.full((draws.count, SLOTS, 2), (0.35, 0.12)),
        phase=draws.uniform("sprite.growth-phase", -1, 1, (SLOTS, 2)),
    ).at(timing.clock)
    tilt = Oscillation(
        speed=draws.log_uniform("sprite.tilt", 0.002, 0.04, (SLOTS,)) * pace,
        reach=np.full((draws.count, SLOTS), 0.7),
        phase=draws.uniform("sprite.tilt-phase", -1, 1, (SLOTS,)),
    ).at(timing.clock)
    scale = np.exp(growth[:, :, 0])[..., None] * np.exp(np.stack([growth[:, :, 1], -growth[:, :, 1]], -1))
    transforms = _assemble(position, angle, scale * cast.size[..., None, None, None], tilt)
    _hang_limbs(draws, cast, timing, transforms, pace[:, 0])
    for slot in (Slot.BACKGROUND, Slot.MIDGROUND):
        transforms[:, slot] = _still(transforms[:, slot], slot, cast, aspect)
    return transforms


def _assemble(position: Floats, angle: Floats, scale: Floats, tilt: Floats) -> Floats:
    """Translate, rotate, tilt out of the plane (with perspective), scale: (..., 3, 3)."""
    matrix = np.zeros((*angle.shape, 3, 3))
    cosine, sine, narrowing = np.cos(angle), np.sin(angle), np.cos(tilt)
    matrix[..., 0, 0] = cosine * scale[..., 0] * narrowing
    matrix[..., 1, 0] = sine * scale[..., 0] * narrowing
    matrix[..., 0, 1] = -sine * scale[..., 1]
    matrix[..., 1, 1] = cosine * scale[..., 1]
    matrix[..., :2, 2] = position
    matrix[..., 2, 0] = 0.3 * np.sin(tilt) * np.clip(scale[..., 0], 0.0, 1.0)
    matrix[..., 2, 2] = 1.0
    # The perspective row must not drag the centre along: the centre stays where the path says.
    matrix[..., :2, 0] += position * matrix[..., 2:, 0]
    return matrix


def _still(moving: Floats, slot: Slot, cast: Cast, aspect: float) -> Floats:
    """Scenery that only the camera moves: the background fills the picture, a plane keeps its first placement."""
    if slot == Slot.BACKGROUND:
        return np.asarray(np.broadcast_to(np.diag([aspect, 1.0, 1.0 / BACKGROUND_OVERSCAN]), moving.shape))
    middle = moving.shape[1] // 2
    return np.broadcast_to(moving[:, middle : middle + 1, :1], moving.shape)


def _positions(draws: Draws, cast: Cast, timing: Timing, *, aspect: float, difficulty: float) -> Floats:
    """Centres (B, S, T, J, 2) on the screen before the camera moves."""
    pace = (0.25 + 0.75 * difficulty) * timing.stride[:, None, None]
    wander = Oscillation(
        speed=draws.log_uniform("path.speed", 0.002, 0.035, (SLOTS, 2)) * draws.signs("path.sign", (SLOTS, 2)) * pace,
        reach=draws.uniform("path.reach", 0.15, 0.9, (SLOTS, 2)),
        phase=draws.uniform("path.phase", -1.2, 1.2, (SLOTS, 2)),
    ).at(timing.clock)
    wander = np.moveaxis(wander, 2, -1)
    anchor_frame = draws.integers("path.anchor-frame", 0, timing.frames)
    held = _at_frame(wander, anchor_frame)
    reach = np.array([0.7 * aspect, 0.65])
    spread = np.full((SLOTS, 1), 1.0)
    spread[Slot.HERO], spread[Slot.MIDGROUND] = 0.75, 1.3
    anchor = draws.uniform("path.anchor", -1, 1, (SLOTS, 2)) * reach * spread
    position = anchor[:, :, None, None] + wander - held
    for slot in (Slot.TWIN, Slot.OCCLUDER):
        position[:, slot] = position[:, Slot.HERO] + _crossing(draws, cast, timing, slot)
    leaving = _excursions(draws, cast, timing, anchor, anchor_frame, aspect=aspect, difficulty=difficulty)
    leaving[:, [Slot.MIDGROUND, Slot.TWIN, Slot.OCCLUDER]] = 0.0
    return np.asarray(position + leaving)


def _crossing(draws: Draws, cast: Cast, timing: Timing, slot: Slot) -> Floats:
    """Offset (B, T, J, 2) from the hero of a sprite that passes over or behind it during the shot."""
    name = slot.name.lower()
    together = cast.size[:, Slot.HERO] + cast.size[:, slot]
    passes = draws.log_uniform(f"{name}.passes", 0.5, 1.8) * together / max(timing.frames / 2, 1.0)
    heading = draws.uniform(f"{name}.heading", 0, 2 * np.pi)
    direction = np.stack([np.cos(heading), np.sin(heading)], -1)
    meeting = draws.uniform(f"{name}.meeting", -0.45, 0.55) * timing.frames
    miss = draws.uniform(f"{name}.miss", -0.55, 0.55) * cast.size[:, Slot.HERO]
    travel = passes[:, None, None] * (timing.clock - meeting[:, None, None])
    across = np.stack([-direction[:, 1], direction[:, 0]], -1) * miss[:, None]
    return np.asarray(travel[..., None] * direction[:, None, None] + across[:, None, None])


def _at_frame(path: Floats, frame: Integers) -> Floats:
    """A path (B, S, T, J, ...) at one frame (B,), in the middle of the shutter: (B, S, 1, 1, ...)."""
    return np.asarray(path[np.arange(len(path)), :, frame, path.shape[3] // 2][:, :, None, None])


def _excursions(
    draws: Draws,
    cast: Cast,
    timing: Timing,
    anchor: Floats,
    anchor_frame: Integers,
    *,
    aspect: float,
    difficulty: float,
) -> Floats:
    """Offsets (B, S, T, J, 2) of sprites that leave the picture, come into it, or leave and return.

    All are in the picture at ``anchor_frame`` (B,), so that no target is missing throughout.
    """
    plan = draws.choose("leave.plan", (0.62, 0.11, 0.11, 0.16), (SLOTS,))
    plan = np.where(draws.chance("leave.easy", 1.0 - difficulty, (SLOTS,)), 0, plan)[..., None, None]
    half = timing.frames / 2
    clock = timing.clock[:, None]
    turn = draws.uniform("leave.turn", -0.35, 0.35, (SLOTS,))[..., None, None] * timing.frames
    ramp = draws.uniform("leave.ramp", 0.35, 0.9, (SLOTS,))[..., None, None] * max(half, 1.0)
    away = draws.uniform("leave.away", 0.1, 0.35, (SLOTS,))[..., None, None] * half
    leaves = _ease((clock - turn) / ramp)
    returns = _ease((away - np.abs(clock - turn)) / ramp + 1.0)
    amount = np.select([plan == 1, plan == 2, plan == 3], [leaves, 1.0 - leaves, returns], 0.0)
    away_at_anchor = _at_frame(amount, anchor_frame)
    amount = np.clip(amount - away_at_anchor, 0.0, None) / np.maximum(1.0 - away_at_anchor, 0.05)
    tilt = draws.uniform("leave.heading", -0.7, 0.7, (SLOTS,))
    side = draws.signs("leave.side", (SLOTS,))
    distance = 1.1 * (aspect + 1.2 * cast.size + 0.1) - side * anchor[..., 0]
    direction = np.stack([side, np.tan(tilt)], -1) * distance[..., None]
    return np.asarray(amount[..., None] * direction[:, :, None, None])


def _ease(value: Floats) -> Floats:
    """Smoothstep from 0 to 1."""
    value = np.clip(value, 0.0, 1.0)
    return np.asarray(value * value * (3.0 - 2.0 * value))


def _hang_limbs(draws: Draws, cast: Cast, timing: Timing, transforms: Floats, pace: Floats) -> None:
    """Replace the limbs' placement by joints: limb A on the hero, limb B at the end of A or on the hero as well."""
    swing = Oscillation(
        speed=draws.log_uniform("limb.swing", 0.02, 0.15, (2,)) * pace[:, None],
        reach=draws.uniform("limb.reach", 0.25, 1.0, (2,)),
        phase=draws.uniform("limb.phase", -1.5, 1.5, (2,)),
    ).at(timing.clock)
    heading = draws.uniform("limb.heading", -np.pi, np.pi)
    shoulder = 0.5 * np.stack([np.cos(heading), np.sin(heading)], -1)
    ratio = cast.size[:, [Slot.LIMB_A, Slot.LIMB_B]] / cast.size[:, [Slot.HERO]]
    hero = transforms[:, Slot.HERO]
    arm = hero @ _joint(shoulder, heading[:, None, None] + swing[:, 0], ratio[:, 0])
    forearm = arm @ _joint(np.tile([0.75, 0.0], (draws.count, 1)), swing[:, 1], ratio[:, 1] / ratio[:, 0])
    other = hero @ _joint(-shoulder, heading[:, None, None] + np.pi + swing[:, 1], ratio[:, 1])
    linked = draws.chance("limb.linked", 0.6)[:, None, None, None, None]
    transforms[:, Slot.LIMB_A] = arm
    transforms[:, Slot.LIMB_B] = np.where(linked, forearm, other)


def _joint(pivot: Floats, angle: Floats, ratio: Floats) -> Floats:
    """(B, T, J, 3, 3): a limb whose canonical point (-0.75, 0) hangs at ``pivot`` (B, 2) of its parent."""
    matrix = np.zeros((*angle.shape, 3, 3))
    size = ratio[:, None, None]
    cosine, sine = size * np.cos(angle), size * np.sin(angle)
    matrix[..., 0, 0] = matrix[..., 1, 1] = cosine
    matrix[..., 1, 0], matrix[..., 0, 1] = sine, -sine
    matrix[..., 0, 2] = pivot[:, None, None, 0] + 0.75 * cosine
    matrix[..., 1, 2] = pivot[:, None, None, 1] + 0.75 * sine
    matrix[..., 2, 2] = 1.0
    return matrix
