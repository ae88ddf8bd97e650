"""Silhouettes: polygons, Bezier outlines, blobs, clouds, strokes, lattices, holes; and parts of surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rotomem.training.synthetic.cast import SLOTS, Slot
from rotomem.training.synthetic.draws import Draws, Flags, Floats, Integers

OUTLINE_POINTS = 28
STROKE_PIECES = 10
HOLES = 3


@dataclass(frozen=True)
class Silhouette:
    """The shape of every layer, in canonical units.

    Attributes:
        outline: (..., OUTLINE_POINTS, 2), a closed polygon.
        filled: (...,), whether the outline counts at all.
        stroke: (..., STROKE_PIECES, 2, 2), start and end of each piece.
        thickness: (..., STROKE_PIECES, 2), radius at start and end; all 0 if there are no strokes.
        hole: (..., HOLES, 3), x, y, radius; 0 for a hole that is not there.
        lattice: (..., 4), angle, period, half width of bars, whether bars run both ways; period 0: no lattice.
        rough: (..., 3), amplitude of noise on the edge, its frequency, and the noise field's offset.
    """

    outline: Floats
    filled: Flags
    stroke: Floats
    thickness: Floats
    hole: Floats
    lattice: Floats
    rough: Floats


@dataclass(frozen=True)
class Part:
    """A region of a layer's surface: the inside of a wobbly disc, or one side of a wobbly cut.

    Attributes:
        disc: (...,), disc or cut.
        centre: (..., 2), of the disc; the cut passes by it.
        radius: (...,), of the disc.
        heading: (...,), radians, normal of the cut.
        wobble: (..., 3), amplitude, frequency and phase of the edge.
    """

    disc: Flags
    centre: Floats
    radius: Floats
    heading: Floats
    wobble: Floats


def sample_silhouettes(draws: Draws) -> Silhouette:
    """Silhouettes of every slot (B, S, ...)."""
    kind = draws.choose("shape.kind", (0.27, 0.27, 0.16, 0.13, 0.17), (SLOTS,))
    kind[:, [Slot.LIMB_A, Slot.LIMB_B]] = 5
    only_strokes = (kind == 3) | (kind == 5)
    stroke, thickness = _sample_strokes(draws, kind)
    lattice = draws.uniform("shape.lattice", 0.0, 1.0, (SLOTS, 4))
    lattice *= np.array([np.pi, 0.4, 0.0, 1.0])
    lattice[..., 1] += 0.2
    lattice[..., 2] = lattice[..., 1] * draws.uniform("shape.bar", 0.08, 0.3, (SLOTS,))
    latticed = draws.chance("shape.latticed", 0.04, (SLOTS,))
    latticed[:, [Slot.MIDGROUND, Slot.OCCLUDER]] = draws.chance("shape.fence", 0.25, (2,))
    lattice[..., 1] *= latticed & ~only_strokes
    rough = draws.log_uniform("shape.rough", 0.004, 0.05, (SLOTS, 3))
    cloudy = kind == 4
    rough[..., 0] = np.where(cloudy, draws.uniform("shape.cloud", 0.25, 0.9, (SLOTS,)), rough[..., 0])
    rough[..., 0] *= cloudy | (draws.chance("shape.roughened", 0.35, (SLOTS,)) & ~only_strokes)
    rough[..., 1] = np.where(cloudy, 40.0, draws.log_uniform("shape.rough-scale", 60.0, 220.0, (SLOTS,)))
    rough[..., 2] = draws.uniform("shape.rough-offset", 0.0, 250.0, (SLOTS,))
    return Silhouette(
        outline=_sample_outlines(draws, kind),
        filled=~only_strokes,
        stroke=stroke,
        thickness=thickness,
        hole=_sample_holes(draws),
        lattice=lattice,
        rough=rough,
    )


def sample_parts(draws: Draws) -> Part:
    """Parts of every slot (B, S, ...)."""
    wobble = draws.uniform("part.wobble", 0.0, 1.0, (SLOTS, 3))
    wobble = wobble * np.array([0.12, 4.0, 2 * np.pi]) + np.array([0.0, 2.0, 0.0])
    wobble[..., 1] = np.round(wobble[..., 1])
    centre = draws.uniform("part.centre", -0.3, 0.3, (SLOTS, 2))
    radius = draws.uniform("part.radius", 0.28, 0.5, (SLOTS,))
    centre[:, Slot.BACKGROUND] *= 1.5
    radius[:, Slot.BACKGROUND] = draws.uniform("part.wall-radius", 0.15, 0.4)
    disc = draws.chance("part.disc", 0.45, (SLOTS,))
    disc[:, Slot.BACKGROUND] = True
    return Part(
        disc=disc,
        centre=centre,
        radius=radius,
        heading=draws.uniform("part.heading", 0, 2 * np.pi, (SLOTS,)),
        wobble=wobble,
    )


def _sample_outlines(draws: Draws, kind: Integers) -> Floats:
    """(B, S, OUTLINE_POINTS, 2): radial harmonics, smooth Bezier loops with dents, or straight-edged polygons."""
    angle = 2 * np.pi * np.arange(OUTLINE_POINTS) / OUTLINE_POINTS
    order = np.arange(2, 7)
    amplitude = draws.uniform("outline.harmonic", 0.0, 0.42, (SLOTS, 5)) / (order - 1) ** 0.7
    phase = draws.uniform("outline.phase", 0, 2 * np.pi, (SLOTS, 5))
    harmonic = (amplitude[..., None] * np.cos(order[:, None] * angle + phase[..., None])).sum(-2)
    radius = np.clip(1.0 + harmonic, 0.25, None)
    blob = (radius / radius.max(-1, keepdims=True))[..., None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    knots = draws.integers("outline.knots", 5, 9, (SLOTS,))
    dents = draws.uniform("outline.dent", 0.3, 1.0, (SLOTS, 9))
    bezier = _knot_loop(knots, dents, draws.uniform("outline.jitter", -0.35, 0.35, (SLOTS, 9)), smooth=True)
    corners = draws.integers("outline.corners", 3, 10, (SLOTS,))
    corner_radius = draws.uniform("outline.corner", 0.45, 1.0, (SLOTS, 9))
    polygon = _knot_loop(corners, corner_radius, draws.uniform("outline.skew", -0.3, 0.3, (SLOTS, 9)), smooth=False)
    points = np.where((kind == 1)[..., None, None], bezier, blob)
    points = np.where((kind == 2)[..., None, None], polygon, points)
    slender = draws.uniform("outline.slender", 0.45, 1.0, (SLOTS,))[..., None]
    return np.asarray(0.86 * np.stack([points[..., 0], points[..., 1] * slender], -1))


def _knot_loop(knots: Integers, radius: Floats, jitter: Floats, *, smooth: bool) -> Floats:
    """A closed curve (..., OUTLINE_POINTS, 2) through ``knots`` (...,) points at radii and jittered angles (..., 9).

    Smooth curves are cubic Beziers whose handles are a sixth of the chord between the neighbours (Catmull-Rom).
    """
    count = knots[..., None]
    along = np.arange(OUTLINE_POINTS) / OUTLINE_POINTS * count
    first = np.floor(along).astype(np.int64)
    step = (along - first)[..., None]

    def knot(offset: int) -> Floats:
        index = (first + offset) % count
        turn = 2 * np.pi * (index + np.take_along_axis(jitter, index, -1)) / count
        reach = np.take_along_axis(radius, index, -1)
        return np.stack([reach * np.cos(turn), reach * np.sin(turn)], -1)

    start, end = knot(0), knot(1)
    if not smooth:
        # Points gather at the corners, so that straight edges stay straight and corners sharp.
        return np.asarray(start + (end - start) * (step >= 0.5) * (2 * step - 1))
    leave, arrive = start + (end - knot(-1)) / 6, end - (knot(2) - start) / 6
    rest = 1 - step
    return np.asarray(rest**3 * start + 3 * rest**2 * step * leave + 3 * rest * step**2 * arrive + step**3 * end)


def _sample_strokes(draws: Draws, kind: Integers) -> tuple[Floats, Floats]:
    """Pieces (B, S, E, 2, 2) and radii (B, S, E, 2) of one, two or five quadratic Bezier strokes."""
    curves = np.array([1, 2, 5])[draws.choose("stroke.curves", (0.35, 0.3, 0.35), (SLOTS,))]
    limb = kind == 5
    curves = np.where(limb, 1, curves)[..., None]
    pieces = STROKE_PIECES // curves
    index = np.arange(STROKE_PIECES)
    curve = index // pieces
    points = draws.uniform("stroke.points", -0.82, 0.82, (SLOTS, 5, 3, 2))
    root = draws.uniform("stroke.root", -0.5, 0.5, (SLOTS, 1, 2))
    rooted = draws.chance("stroke.rooted", 0.6, (SLOTS,))[..., None, None]
    points[:, :, :, 0] = np.where(rooted, root, points[:, :, :, 0])
    bow = draws.uniform("stroke.bow", -0.25, 0.25, (SLOTS,))
    straight = np.stack([np.stack([-0.78 + 0 * bow, 0 * bow], -1), np.stack([0 * bow, bow], -1)], -2)
    straight = np.concatenate([straight, -straight[..., :1, :] * np.array([1.0, 0.0])], -2)
    points = np.where(limb[..., None, None, None], straight[:, :, None], points)
    chosen = np.take_along_axis(points, curve[..., None, None], 2)
    base = draws.log_uniform("stroke.radius", 0.014, 0.16, (SLOTS,))
    base = np.where(limb, draws.uniform("stroke.limb-radius", 0.13, 0.28, (SLOTS,)), base / np.sqrt(curves[..., 0]))
    taper = draws.uniform("stroke.taper", 0.2, 1.0, (SLOTS,))[..., None]
    ends, radii = [], []
    for offset in (0, 1):
        step = ((index % pieces + offset) / pieces)[..., None]
        weights = np.stack([(1 - step) ** 2, 2 * step * (1 - step), step**2], -2)
        ends.append((weights * chosen).sum(-2))
        radii.append(base[..., None] * (1 - step[..., 0] * (1 - taper)))
    sprouting = draws.chance("stroke.sprouting", 0.3, (SLOTS,))
    present = (kind == 3) | limb | sprouting
    return np.stack(ends, -2), np.stack(radii, -1) * present[..., None, None]


def _sample_holes(draws: Draws) -> Floats:
    place = draws.uniform("hole.place", -0.45, 0.45, (SLOTS, HOLES, 2))
    radius = draws.uniform("hole.radius", 0.08, 0.3, (SLOTS, HOLES))
    radius *= draws.chance("hole.pierced", 0.2, (SLOTS,))[..., None] & draws.chance("hole.there", 0.6, (SLOTS, HOLES))
    radius[:, [Slot.LIMB_A, Slot.LIMB_B]] = 0.0
    return np.concatenate([place, radius[..., None]], -1)
