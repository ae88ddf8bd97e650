"""Mattes to closed cubic Beziers that keep their number of points over time, within a tolerance in pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotomem.matte.contours import Contour, Floats, Track, link_contours, trace_contours
from rotomem_client.shapes import ControlPoint, Outline

SAMPLE_PX = 0.25
"""Distance of the samples on an outline; they cut its corners by less than a tenth of a pixel."""
ARM_PX = 3.0
"""How far a tangent looks."""
CORNER_COSINE = float(np.cos(np.radians(50.0)))
FIRST_KNOTS = 4
REFITS = 3
"""Newton steps that move the samples along the curve, after each of which it is fitted again."""
MAX_KNOTS = 256
"""Of one outline; one that needs more is cut in two over time."""
ALIGNMENT_SAMPLES = 256
CORNER_SEARCH = 0.02
"""How far along the outline, as a part of it, a corner may have gone by the next frame."""


def vectorize_mattes(
    mattes: Mapping[int, NDArray[np.float32]], *, tolerance: float = 0.5, name: str = "outline"
) -> tuple[Outline, ...]:
    """Turn one object's mattes into outlines, one for each contour and as long as it stays one.

    Painted in their order, an outline that is a hole taking away from what lies below, they give back the mattes cut
    at one half: how soft an edge was is not in them.

    Args:
        mattes: frame to (H, W) in [0, 1].
        tolerance: how far, in pixels, an outline may lie from the line where the matte is one half.
        name: outlines are called ``name1``, ``name2``, ...
    """
    return outlines_of({frame: trace_contours(matte) for frame, matte in mattes.items()}, tolerance, name)


def outlines_of(
    contours: Mapping[int, list[Contour]], tolerance: float = 0.5, name: str = "outline"
) -> tuple[Outline, ...]:
    """As ``vectorize_mattes``, of traced mattes."""
    fitted = [fit for track in link_contours(dict(contours)) for fit in _fit(track, tolerance)]
    return tuple(
        Outline(f"{name}{number}", track.contours[0].hole, track.frames, _control_points(pieces))
        for number, (track, pieces) in enumerate(fitted, start=1)
    )


@dataclass(eq=False)
class _Knots:
    """Where an outline is cut into pieces.

    Args:
        at: (F, N) positions along the outline in samples, ascending; the first may lie below 0 by one turn at most.
    """

    at: Floats

    def piece(self, index: int, samples: int) -> tuple[Floats, Floats]:
        """Return begin and end of a piece, (F,) each."""
        begin = self.at[:, index]
        following = self.at[:, (index + 1) % self.at.shape[1]]
        return begin, following + (samples if index + 1 == self.at.shape[1] else 0)


def _fit(track: Track, tolerance: float) -> list[tuple[Track, Floats]]:
    """Return tracks with their pieces, (F, N, 4, 2) control points: the track itself, or it cut over time."""
    # The samples are not the outline itself: what they may be off is kept back.
    pieces = _fit_whole(track, max(0.6 * tolerance, 0.9 * tolerance - SAMPLE_PX / 4))
    if pieces is not None:
        return [(track, pieces)]
    half = len(track.frames) // 2
    parts = (slice(None, half), slice(half, None))
    return [fit for part in parts for fit in _fit(Track(track.frames[part], track.contours[part]), tolerance)]


def _fit_whole(track: Track, tolerance: float) -> Floats | None:
    """Fit all frames of a track with the same pieces; None where that takes too many of them."""
    outline = _sampled(track)
    samples = outline.shape[1]
    corners = [_corners(frame) for frame in outline]
    knots = _first_knots(outline, corners)
    done: dict[int, Floats] = {}
    pending = list(range(knots.at.shape[1]))
    order = list(pending)
    while pending:
        if len(order) > MAX_KNOTS and len(track.frames) > 1:
            return None
        column = pending.pop()
        index = order.index(column)
        sorted_knots = _Knots(knots.at[:, order])
        begin, end = sorted_knots.piece(index, samples)
        curves, worst, part = _fit_piece(outline, begin, end)
        if worst <= tolerance or (end - begin).max() * SAMPLE_PX <= tolerance:
            done[column] = curves
            continue
        new = knots.at.shape[1]
        knots = _Knots(np.concatenate([knots.at, (begin + part * (end - begin))[:, None]], axis=1))
        order.insert(index + 1, new)
        pending += [new, column]
    return np.stack([done[column] for column in order], axis=1)


def _sampled(track: Track) -> Floats:
    """Return (F, M, 2): each frame's outline as equally many, equally spaced points, alike ones beside each other."""
    lengths = [_arc(contour.points)[-1] for contour in track.contours]
    count = max(64, int(np.ceil(max(lengths) / SAMPLE_PX)))
    outline = np.empty((len(lengths), count, 2))
    before: Floats | None = None
    for index, contour in enumerate(track.contours):
        begin = 0.0
        if before is not None:
            begin = _best_start(before, _resampled(contour.points, ALIGNMENT_SAMPLES, 0.0)) * lengths[index]
        outline[index] = _resampled(contour.points, count, begin)
        before = _resampled(contour.points, ALIGNMENT_SAMPLES, begin)
    return outline


def _arc(points: Floats) -> Floats:
    """Return (N + 1,) lengths from the first point to each, and once round."""
    steps = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
    return np.concatenate([[0.0], np.cumsum(steps)])


def _resampled(points: Floats, count: int, begin: float) -> Floats:
    arc = _arc(points)
    at = (begin + np.arange(count) * arc[-1] / count) % arc[-1]
    closed = np.concatenate([points, points[:1]])
    return np.stack([np.interp(at, arc, closed[:, axis]) for axis in (0, 1)], axis=-1)


def _best_start(before: Floats, now: Floats) -> float:
    """Return where on ``now``, as a part of it, the point lies that was the first before: least squares, by FFT."""
    one, other = (shape[:, 0] + 1j * shape[:, 1] for shape in (before, now))
    one, other = one - one.mean(), other - other.mean()
    likeness = np.fft.ifft(np.conj(np.fft.fft(one)) * np.fft.fft(other)).real
    return float(np.argmax(likeness)) / len(now)


def _corners(outline: Floats) -> Floats:
    """Return positions, in samples, at which the outline turns by more than 50 degrees within a few pixels."""
    arm = _arm(outline)
    back = outline - np.roll(outline, arm, axis=0)
    ahead = np.roll(outline, -arm, axis=0) - outline
    size = np.hypot(*back.T) * np.hypot(*ahead.T)
    cosine = (back * ahead).sum(axis=-1) / np.maximum(size, 1e-12)
    sharpest = np.min([np.roll(cosine, shift) for shift in range(-arm, arm + 1)], axis=0)
    return np.nonzero((cosine < CORNER_COSINE) & (cosine <= sharpest))[0].astype(np.float64)


def _arm(outline: Floats) -> int:
    spacing = float(np.hypot(*(outline[1] - outline[0])))
    return int(np.clip(round(ARM_PX / max(spacing, 1e-6)), 1, len(outline) // 16))


def _first_knots(outline: Floats, corners: list[Floats]) -> _Knots:
    """Return knots at the corners of the middle frame, followed through the others, and a few more."""
    frames, samples = outline.shape[:2]
    middle = frames // 2
    start = _spread(list(corners[middle]), samples)
    at = np.empty((frames, len(start)))
    at[middle] = start
    for index in range(middle + 1, frames):
        at[index] = _followed(at[index - 1], corners[index], samples)
    for index in range(middle - 1, -1, -1):
        at[index] = _followed(at[index + 1], corners[index], samples)
    return _Knots(at)


def _spread(knots: list[float], samples: int) -> Floats:
    """Add knots in the widest gaps until there are enough; drop those that nearly touch."""
    apart = samples / 64
    kept: list[float] = []
    for knot in sorted(knots):
        if not kept or (knot - kept[-1] >= apart and kept[0] + samples - knot >= apart):
            kept.append(knot)
    kept = kept[: MAX_KNOTS // 2] or [0.0]
    while len(kept) < FIRST_KNOTS:
        gaps = np.diff([*kept, kept[0] + samples])
        widest = int(np.argmax(gaps))
        kept = sorted([*kept, (kept[widest] + gaps[widest] / 2)])
    return np.array(kept)


def _followed(before: Floats, corners: Floats, samples: int) -> Floats:
    """Return the knots of the next frame: at its corner nearby, else where they were."""
    if not len(corners):
        return before
    apart = (corners[None, :] - before[:, None] + samples / 2) % samples - samples / 2
    nearest = apart[np.arange(len(before)), np.abs(apart).argmin(axis=1)]
    moved = before + np.where(np.abs(nearest) <= CORNER_SEARCH * samples, nearest, 0.0)
    gaps = np.diff(np.append(moved, moved[0] + samples))
    return moved if (gaps > samples / 256).all() else before


def _fit_piece(outline: Floats, begin: Floats, end: Floats) -> tuple[Floats, float, float]:
    """Fit one piece in all frames.

    Returns:
        (F, 4, 2) control points, the largest distance of a sample in pixels, and how far along the piece that was.
    """
    count = int(np.clip(np.ceil((end - begin).max()), 8, 2048)) + 1
    where = begin[:, None] + np.linspace(0.0, 1.0, count) * (end - begin)[:, None]
    points = _at(outline, where)
    leaving, arriving = _tangent(outline, begin, end - begin, 1), _tangent(outline, end, end - begin, -1)
    t = np.broadcast_to(np.linspace(0.0, 1.0, count), points.shape[:2]).copy()
    best = _straight(points)
    least = float(np.hypot(*np.moveaxis(_points_on(best, t) - points, -1, 0)).max())
    if (end - begin).max() * SAMPLE_PX < 1.0:  # no room for handles
        return best, least, 0.5
    part = 0.5
    for refit in range(REFITS + 1):
        curves = _least_squares(points, t, leaving, arriving)
        distance = np.hypot(*np.moveaxis(_points_on(curves, t) - points, -1, 0))
        if distance.max() < least:
            best, least = curves, float(distance.max())
            part = float(np.clip(np.unravel_index(distance.argmax(), distance.shape)[1] / (count - 1), 0.25, 0.75))
        if refit < REFITS:
            t = _nearer(curves, points, t)
    return best, least, part


def _at(outline: Floats, where: Floats) -> Floats:
    """Return (F, K, 2) points at positions (F, K) in samples, between samples on the chord."""
    samples = outline.shape[1]
    low = np.floor(where).astype(np.int64)
    rest = (where - low)[..., None]
    rows = np.arange(len(outline))[:, None]
    found: Floats = outline[rows, low % samples] * (1 - rest) + outline[rows, (low + 1) % samples] * rest
    return found


def _tangent(outline: Floats, at: Floats, length: Floats, side: int) -> Floats:
    """Return (F, 2) unit vectors into the piece: the outline's own direction, or one side's alone at a corner."""
    arm = np.minimum(_arm(outline[len(outline) // 2]), length / 2)
    here = _at(outline, at[:, None])[:, 0]
    into = _at(outline, (at + side * arm)[:, None])[:, 0] - here
    away = here - _at(outline, (at - side * arm)[:, None])[:, 0]
    cosine = (into * away).sum(axis=-1) / np.maximum(np.hypot(*into.T) * np.hypot(*away.T), 1e-12)
    smooth = into + away
    chosen = np.where((cosine < CORNER_COSINE)[:, None], into, smooth)
    unit: Floats = chosen / np.maximum(np.hypot(*chosen.T), 1e-12)[:, None]
    return unit


def _bernstein(t: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    u = 1 - t
    return u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t


def _points_on(curves: Floats, t: Floats) -> Floats:
    weights = np.stack(_bernstein(t), axis=-1)
    points: Floats = np.einsum("fki,fid->fkd", weights, curves)
    return points


def _straight(points: Floats) -> Floats:
    first, last = points[:, 0], points[:, -1]
    return np.stack([first, first + (last - first) / 3, last - (last - first) / 3, last], axis=1)


def _least_squares(points: Floats, t: Floats, leaving: Floats, arriving: Floats) -> Floats:
    """Return (F, 4, 2): the curves through the end points, along the tangents, nearest to the points.

    Source: P. J. Schneider, "An Algorithm for Automatically Fitting Digitized Curves", Graphics Gems (1990): two
    handle lengths as unknowns of a 2 x 2 system in each frame.
    """
    b0, b1, b2, b3 = _bernstein(t)
    first, last = points[:, 0], points[:, -1]
    rest = points - (b0 + b1)[..., None] * first[:, None] - (b2 + b3)[..., None] * last[:, None]
    one, two = b1[..., None] * leaving[:, None], b2[..., None] * arriving[:, None]
    c00, c01, c11 = ((a * b).sum(axis=(1, 2)) for a, b in ((one, one), (one, two), (two, two)))
    x0, x1 = (one * rest).sum(axis=(1, 2)), (two * rest).sum(axis=(1, 2))
    determinant = c00 * c11 - c01 * c01
    safe = np.where(np.abs(determinant) > 1e-12, determinant, 1.0)
    chord = np.hypot(*(last - first).T)
    third = chord / 3
    lengths = []
    for length in ((x0 * c11 - x1 * c01) / safe, (x1 * c00 - x0 * c01) / safe):
        # Handles that turn back or shoot over make loops; a third of the chord is the straight line's.
        plain = (np.abs(determinant) > 1e-12) & (length > 1e-3 * chord) & (length < 3 * chord + 1e-9)
        lengths.append(np.where(plain, length, third)[:, None])
    return np.stack([first, first + lengths[0] * leaving, last + lengths[1] * arriving, last], axis=1)


def _nearer(curves: Floats, points: Floats, t: Floats) -> Floats:
    """Move each sample's parameter one Newton step towards the nearest point of its curve, in order."""
    steps = np.diff(curves, axis=1)
    bends = np.diff(steps, axis=1)
    u = (1 - t)[..., None]
    v = t[..., None]
    first = 3 * (u * u * steps[:, None, 0] + 2 * u * v * steps[:, None, 1] + v * v * steps[:, None, 2])
    second = 6 * (u * bends[:, None, 0] + v * bends[:, None, 1])
    off = _points_on(curves, t) - points
    slope = (first * first).sum(axis=-1) + (off * second).sum(axis=-1)
    step = (off * first).sum(axis=-1) / np.where(np.abs(slope) > 1e-12, slope, np.inf)
    moved = np.maximum.accumulate(np.clip(t - step, 0.0, 1.0), axis=1)
    moved[:, 0], moved[:, -1] = 0.0, 1.0
    return moved


def _control_points(pieces: Floats) -> tuple[tuple[ControlPoint, ...], ...]:
    """Return each frame's vertices of (F, N, 4, 2) pieces."""
    centers = pieces[:, :, 0]
    right = pieces[:, :, 1] - centers
    left = np.roll(pieces[:, :, 2] - pieces[:, :, 3], 1, axis=1)
    return tuple(
        tuple(
            ControlPoint((float(c[0]), float(c[1])), (float(le[0]), float(le[1])), (float(r[0]), float(r[1])))
            for c, le, r in zip(*frame, strict=True)
        )
        for frame in zip(centers, left, right, strict=True)
    )
