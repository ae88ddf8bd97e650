"""Who plays in a shot: the layers, which of them are targets, and in which order they cover each other."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np

from rotomem.training.synthetic.draws import Draws, Flags, Floats, Integers

Record = TypeVar("Record")


class Slot(IntEnum):
    """Places for layers; a shot uses some of them. Canonical coordinates of each are [-1, 1] x [-1, 1]."""

    BACKGROUND = 0
    MIDGROUND = 1
    HERO = 2
    LIMB_A = 3
    LIMB_B = 4
    TWIN = 5
    EXTRA_A = 6
    EXTRA_B = 7
    OCCLUDER = 8


SLOTS = len(Slot)
SPRITES = slice(int(Slot.HERO), SLOTS)


@dataclass(frozen=True)
class Cast:
    """The layers of B shots.

    Attributes:
        active: (B, S), which slots are used.
        inverse_depth: (B, S), in (0, 1]; larger is nearer.
        size: (B, S), half the side of a sprite's box in half picture heights.
        look: (B, S), the slot whose material this slot wears.
        outline: (B, S), the slot whose silhouette this slot has.
        share: (B, S, K, 2), (constant, part): the coverage of target k on a layer is
            ``constant + part * inside_part``; one of (0, 0), (1, 0), (0, 1), (1, -1).
    """

    active: Flags
    inverse_depth: Floats
    size: Floats
    look: Integers
    outline: Integers
    share: Floats


@dataclass(frozen=True)
class LayerIndex:
    """The active layers of all shots in one list, back to front within each shot.

    Attributes:
        shot, slot, rank: (N,) each; rank 0 is the background.
    """

    shot: Integers
    slot: Integers
    rank: Integers


def select(record: Record, index: Any) -> Record:
    """The same record with every array indexed by ``index``."""
    arrays = {field.name: getattr(record, field.name)[index] for field in fields(record)}  # type: ignore[arg-type]
    return replace(record, **arrays)  # type: ignore[type-var]


def sample_cast(
    draws: Draws, difficulty: float, targets: int, *, movers: bool = False, sprite_size: float = 1.0
) -> Cast:
    """Choose layers, sizes, depths and targets of every shot; ``movers``, ``sprite_size`` as in ``generate_batch``."""
    active, chain = _sample_active(draws, difficulty)
    if movers:
        active[:, Slot.EXTRA_B] = False
        active[:, Slot.OCCLUDER] &= ~(active[:, Slot.TWIN] & active[:, Slot.EXTRA_A])
    identical = draws.chance("cast.identical-twin", 0.5)
    look = np.tile(np.arange(SLOTS), (draws.count, 1))
    look[:, [Slot.LIMB_A, Slot.LIMB_B, Slot.TWIN]] = Slot.HERO
    outline = np.tile(np.arange(SLOTS), (draws.count, 1))
    outline[:, Slot.TWIN] = np.where(identical & ~chain, Slot.HERO, Slot.TWIN)
    size = _sample_sizes(draws, chain=chain, identical=identical)
    size[:, SPRITES] *= sprite_size
    return Cast(
        active=active,
        inverse_depth=_sample_depth(draws),
        size=size,
        look=look,
        outline=outline,
        share=_assign_movers(active, targets) if movers else _assign_targets(draws, active, chain, difficulty, targets),
    )


def order_layers(cast: Cast) -> LayerIndex:
    """List the active layers shot by shot, the furthest first."""
    depth = np.where(cast.active, cast.inverse_depth, np.inf)
    order = np.argsort(depth, axis=1, kind="stable")
    shot, rank = np.nonzero(np.arange(SLOTS) < cast.active.sum(1, keepdims=True))
    return LayerIndex(shot=shot, slot=order[shot, rank], rank=rank)


def layers_of(layers: LayerIndex, shots: Integers) -> tuple[LayerIndex, Integers]:
    """The layers of some shots (ascending), renumbered as a batch of their own, and their rows in ``layers``."""
    rows = np.flatnonzero(np.isin(layers.shot, shots))
    chosen = select(layers, rows)
    return replace(chosen, shot=np.searchsorted(shots, chosen.shot)), rows


def _sample_active(draws: Draws, difficulty: float) -> tuple[Flags, Flags]:
    """Which slots are used (B, S), and which heroes are articulated chains (B,)."""
    busy = 0.5 + 0.5 * difficulty
    chain = draws.chance("cast.chain", 0.28)
    active = np.zeros((draws.count, SLOTS), dtype=bool)
    active[:, [Slot.BACKGROUND, Slot.HERO]] = True
    active[:, Slot.MIDGROUND] = draws.chance("cast.midground", 0.35 * busy)
    active[:, Slot.LIMB_A] = active[:, Slot.LIMB_B] = chain
    active[:, Slot.TWIN] = draws.chance("cast.twin", 0.55 * difficulty)
    active[:, Slot.EXTRA_A] = draws.chance("cast.extra-a", 0.55)
    active[:, Slot.EXTRA_B] = draws.chance("cast.extra-b", 0.3 * busy) & ~chain
    active[:, Slot.OCCLUDER] = draws.chance("cast.occluder", 0.5 * busy)
    lonely = active[:, SPRITES].sum(1) < 2
    active[lonely, Slot.EXTRA_A] = True
    return active, chain


def _sample_depth(draws: Draws) -> Floats:
    depth = draws.uniform("cast.depth", 0.55, 0.9, (SLOTS,))
    depth[:, Slot.BACKGROUND] = draws.uniform("cast.depth-background", 0.1, 0.4)
    depth[:, Slot.MIDGROUND] = draws.uniform("cast.depth-midground", 0.41, 0.54)
    depth[:, Slot.OCCLUDER] = draws.uniform("cast.depth-occluder", 0.91, 1.0)
    # A limb lies on its hero, so close in depth that it moves with the same parallax.
    for limb, name in ((Slot.LIMB_A, "a"), (Slot.LIMB_B, "b")):
        side = draws.signs(f"cast.limb-side-{name}") * (1.0 if limb == Slot.LIMB_A else 2.0)
        depth[:, limb] = depth[:, Slot.HERO] + 1e-5 * side
    return depth


def _sample_sizes(draws: Draws, *, chain: Flags, identical: Flags) -> Floats:
    size = draws.log_uniform("cast.size", 0.22, 0.9, (SLOTS,))
    size[:, Slot.BACKGROUND] = 1.0
    size[:, Slot.MIDGROUND] = draws.uniform("cast.size-midground", 0.9, 1.7)
    whole = draws.log_uniform("cast.size-hero", 0.38, 1.35)
    size[:, Slot.HERO] = np.where(chain, draws.uniform("cast.size-torso", 0.32, 0.75), whole)
    limb = draws.uniform("cast.size-limb", 0.65, 1.1, (2,)) * size[:, [Slot.HERO]]
    size[:, [Slot.LIMB_A, Slot.LIMB_B]] = limb
    similar = size[:, Slot.HERO] * np.where(identical, 1.0, draws.uniform("cast.twin-ratio", 0.7, 1.3))
    size[:, Slot.TWIN] = similar
    size[:, Slot.OCCLUDER] = draws.log_uniform("cast.size-occluder", 0.3, 1.0)
    return size


def _assign_movers(active: Flags, targets: int) -> Floats:
    """Shares (B, S, K, 2): the hero with its limbs, then every other sprite, a target each."""
    share = np.zeros((len(active), SLOTS, max(targets, 3), 2))
    for slot in (Slot.HERO, Slot.LIMB_A, Slot.LIMB_B):
        share[active[:, slot], slot, 0] = (1, 0)
    others = active[:, [Slot.TWIN, Slot.EXTRA_A, Slot.OCCLUDER]]
    place = np.cumsum(others, axis=1)
    for index, slot in enumerate((Slot.TWIN, Slot.EXTRA_A, Slot.OCCLUDER)):
        shots = np.flatnonzero(others[:, index])
        share[shots, slot, place[shots, index]] = (1, 0)
    return share[:, :, :targets]


def _assign_targets(draws: Draws, active: Flags, chain: Flags, difficulty: float, targets: int) -> Floats:
    """Shares (B, S, K, 2); targets of one shot never overlap."""
    share = np.zeros((draws.count, SLOTS, targets, 2))
    part = draws.chance("cast.part", 0.45 * (0.3 + 0.7 * difficulty))
    wall = draws.chance("cast.wall-part", 0.07 * difficulty) & ~part
    limb = part & chain & draws.chance("cast.limb-target", 0.6)
    body = part & ~limb
    whole = ~part & ~wall
    share[wall, Slot.BACKGROUND, 0] = (0, 1)
    share[body, Slot.HERO, 0] = (0, 1)
    share[limb, Slot.LIMB_A, 0] = (1, 0)
    for slot in (Slot.HERO, Slot.LIMB_A, Slot.LIMB_B):
        share[whole, slot, 0] = (1, 0)
    if targets > 1:
        _assign_second(draws, share, active=active, wall=wall, body=body, limb=limb)
    if targets > 2:
        share[active[:, Slot.EXTRA_A] & (share[:, Slot.EXTRA_A, 1, 0] == 0), Slot.EXTRA_A, 2] = (1, 0)
    return share


def _assign_second(draws: Draws, share: Floats, *, active: Flags, wall: Flags, body: Flags, limb: Flags) -> None:
    """Give target 1 the rest of the hero, the twin, another sprite, or nothing."""
    choice = draws.choose("cast.second", (0.35, 0.3, 0.15, 0.2))
    rest = (choice == 0) & (body | limb)
    share[rest & body, Slot.HERO, 1] = (1, -1)
    share[rest & limb, Slot.HERO, 1] = (1, 0)
    share[rest & body, Slot.LIMB_A, 1] = (1, 0)
    share[rest, Slot.LIMB_B, 1] = (1, 0)
    hero = (choice == 0) & wall
    for slot in (Slot.HERO, Slot.LIMB_A, Slot.LIMB_B):
        share[hero, slot, 1] = (1, 0)
    twin = active[:, Slot.TWIN] & ~rest & ~hero & (choice < 2)
    share[twin, Slot.TWIN, 1] = (1, 0)
    occluder = active[:, Slot.OCCLUDER] & ~twin & (choice == 2)
    share[occluder, Slot.OCCLUDER, 1] = (1, 0)
    extra = active[:, Slot.EXTRA_A] & ~rest & ~hero & ~twin & ~occluder & (choice < 3)
    share[extra, Slot.EXTRA_A, 1] = (1, 0)
