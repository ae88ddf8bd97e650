"""The outlines of a matte with sub-pixel positions, and which outline of one frame goes on in the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVEL = 0.5
MIN_AREA_PX = 1.0
"""Outlines around less are noise of the matte's edge."""
MIN_OVERLAP = 0.2
"""Intersection over union of the bounding boxes of an outline in two frames."""
MAX_GROWTH = 2.0
"""How many times larger or smaller an outline may become from one frame to the next and still be the same one."""


@dataclass(frozen=True, eq=False)
class Contour:
    """One closed outline.

    Args:
        points: (N, 2) pixels, origin top-left, pixel centres at +0.5; the last one joins the first.
        area: enclosed, in pixels; below 0 for the outline of a hole.
    """

    points: Floats
    area: float

    @property
    def hole(self) -> bool:
        return self.area < 0


@dataclass(frozen=True, eq=False)
class Track:
    """One outline over successive frames.

    Args:
        frames: ascending, as many as ``contours``.
    """

    frames: tuple[int, ...]
    contours: tuple[Contour, ...]


def trace_contours(matte: NDArray[np.float32]) -> list[Contour]:
    """Return the outlines along which a matte is one half, the largest first.

    Marching squares on pixel centres; a crossing lies where the linear ramp between two centres is one half, so an
    anti-aliased edge is met within a fraction of a pixel. Outside of the frame the matte is 0, which closes outlines
    at its border. A cell with two opposite corners inside is joined or cut by the mean of its corners.

    Source: Lorensen and Cline, "Marching Cubes" (SIGGRAPH 1987), in two dimensions.

    Args:
        matte: (H, W) in [0, 1].
    """
    padded = np.pad(matte.astype(np.float64), 1)
    start, end, place = _segments(padded)
    if not len(start):
        return []
    edges, index = np.unique(np.concatenate([start, end]), return_inverse=True)
    following = np.empty(len(edges), np.int64)
    following[index[: len(start)]] = index[len(start) :]
    positions = place(edges)
    loops = (Contour(positions[loop], _area(positions[loop])) for loop in _loops(following))
    return sorted((loop for loop in loops if abs(loop.area) >= MIN_AREA_PX), key=lambda loop: -abs(loop.area))


def link_contours(by_frame: Mapping[int, list[Contour]]) -> list[Track]:
    """Follow each outline from frame to frame; of one that parts, what overlaps it most goes on and the rest begins.

    Args:
        by_frame: of every frame wanted, in any order; neighbours in their order count as successive.
    """
    open_tracks: list[list[tuple[int, Contour]]] = []
    closed: list[list[tuple[int, Contour]]] = []
    for frame in sorted(by_frame):
        contours = by_frame[frame]
        pairs = _pairs([track[-1][1] for track in open_tracks], contours)
        going_on = [[*open_tracks[before], (frame, contours[now])] for before, now in pairs]
        begun = [[(frame, contour)] for now, contour in enumerate(contours) if now not in {pair[1] for pair in pairs}]
        closed += [track for before, track in enumerate(open_tracks) if before not in {pair[0] for pair in pairs}]
        open_tracks = going_on + begun
    found = [Track(tuple(f for f, _ in track), tuple(c for _, c in track)) for track in closed + open_tracks]
    return sorted(found, key=lambda track: -max(abs(contour.area) for contour in track.contours))


def _segments(padded: Floats) -> tuple[Ints, Ints, _Placer]:
    """Return first and last edge of each piece, with the inside on one side throughout."""
    inside = padded >= LEVEL
    width = padded.shape[1]
    corners = np.stack([inside[:-1, :-1], inside[:-1, 1:], inside[1:, 1:], inside[1:, :-1]], axis=-1)  # clockwise
    mixed = corners.any(axis=-1) & ~corners.all(axis=-1)
    rows, columns = np.nonzero(mixed)
    corners = corners[mixed]
    top, left = rows * width + columns, rows * width + columns
    vertical = padded.size
    edges = np.stack([top, vertical + left + 1, top + width, vertical + left], axis=-1)  # top, right, bottom, left
    leaves = corners & ~np.roll(corners, -1, axis=-1)
    enters = ~corners & np.roll(corners, -1, axis=-1)
    middle = _cell_means(padded)[mixed] >= LEVEL
    starts, ends = [], []
    for side in range(4):
        for step in (1, 2, 3):
            # From the side where the walk round the cell leaves the inside, to the next one where it enters again;
            # with the inside cut in two, to the one where it last entered.
            other = (side + step) % 4
            between = [(side + k) % 4 for k in range(1, step)]
            beyond = [(side + k) % 4 for k in range(step + 1, 4)]
            first = ~enters[:, between].any(axis=1) if between else np.ones(len(enters), bool)
            last = ~enters[:, beyond].any(axis=1) if beyond else np.ones(len(enters), bool)
            chosen = leaves[:, side] & enters[:, other] & np.where(middle, first, last)
            starts.append(edges[chosen, side])
            ends.append(edges[chosen, other])
    return np.concatenate(starts), np.concatenate(ends), _Placer(padded)


def _cell_means(padded: Floats) -> Floats:
    means: Floats = (padded[:-1, :-1] + padded[:-1, 1:] + padded[1:, 1:] + padded[1:, :-1]) / 4
    return means


class _Placer:
    """Where on the grid's edges the matte is one half."""

    def __init__(self, padded: Floats) -> None:
        self._padded = padded

    def __call__(self, edges: Ints) -> Floats:
        size, width = self._padded.size, self._padded.shape[1]
        upright = edges >= size
        near = edges % size
        far = near + np.where(upright, width, 1)
        values = self._padded.ravel()
        part = (LEVEL - values[near]) / (values[far] - values[near])
        # Half a pixel to the centre, one back for the padding.
        x = near % width - 0.5 + np.where(upright, 0.0, part)
        y = near // width - 0.5 + np.where(upright, part, 0.0)
        return np.stack([x, y], axis=-1)


def _loops(following: Ints) -> list[Ints]:
    left = following.tolist()
    seen = bytearray(len(left))
    loops = []
    for first in range(len(left)):
        loop = []
        here = first
        while not seen[here]:
            seen[here] = 1
            loop.append(here)
            here = left[here]
        if len(loop) > 2:
            loops.append(np.array(loop))
    return loops


def _area(points: Floats) -> float:
    x, y = points[:, 0], points[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _pairs(before: list[Contour], now: list[Contour]) -> list[tuple[int, int]]:
    """Return which goes on as which, the best overlaps first."""
    scored = []
    for i, one in enumerate(before):
        for j, other in enumerate(now):
            if one.hole == other.hole and 1 / MAX_GROWTH <= other.area / one.area <= MAX_GROWTH:
                scored.append((_overlap(one.points, other.points), i, j))
    chosen: list[tuple[int, int]] = []
    for overlap, i, j in sorted(scored, reverse=True):
        if overlap >= MIN_OVERLAP and all(i != a and j != b for a, b in chosen):
            chosen.append((i, j))
    return chosen


def _overlap(one: Floats, other: Floats) -> float:
    low = np.maximum(one.min(axis=0), other.min(axis=0))
    high = np.minimum(one.max(axis=0), other.max(axis=0))
    shared = np.prod(np.maximum(high - low, 0.0))
    both = np.prod(np.ptp(one, axis=0)) + np.prod(np.ptp(other, axis=0)) - shared
    return float(shared / max(both, 1e-9))
