"""What the colours near an object say about a pixel: how often such a colour, about there, was inside it.

Sources: Märki, Perazzi, Wang and Sorkine-Hornung, "Bilateral Space Video Segmentation", CVPR 2016 (counting in a grid
over place and colour); Bai, Wang, Simons and Sapiro, "Video SnapCut", SIGGRAPH 2009 (colour models that hold only in
their neighbourhood, and move along with the object).
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SHRINK = 2
"""Votes are taken at 1 / 2 of the flow's size: colours vary slowly enough, and it is four times as fast."""
CELL_PX = 32
"""A cell's side at the flow's size: wide enough for the drift of 20 or so frames of composed flow, with the blur over
neighbouring cells, and narrow enough to tell a shirt from a wall of its colour elsewhere."""
COLOUR_BIN = 20
"""Of 256 Lab levels: about four just noticeable differences, which shading and exposure shift within a shot."""
PRIOR_INSIDE, PRIOR_TOTAL = 0.05, 0.1
"""Pixels counted beforehand, half of them inside: a colour never seen says nothing."""


class ColourVotes:
    """Counts of an annotated frame's pixels over place (2) and Lab colour (3), in all and inside each object.

    Args:
        colours: (h, w, 3) RGB, 8 bits, the annotated frame at the flow's size.
        mattes: (h, w, K) in [0, 1].
    """

    def __init__(self, colours: NDArray[np.uint8], mattes: Floats) -> None:
        height, width = vote_size(colours.shape[:2])
        self._cells = (int(np.ceil(height * SHRINK / CELL_PX)) + 1, int(np.ceil(width * SHRINK / CELL_PX)) + 1)
        self._shape = (*self._cells, *([256 // COLOUR_BIN + 2] * 3))
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        bins = np.rint(self._coordinates(columns * SHRINK, rows * SHRINK, _lab(colours))).astype(np.int64)
        flat = np.ravel_multi_index(tuple(bins), self._shape).ravel()
        small = _shrink(mattes).reshape(height * width, -1)
        counts = [np.bincount(flat, weights, int(np.prod(self._shape))) for weights in (None, *small.T)]
        grids = np.stack([_blur(count.astype(np.float32).reshape(self._shape)) for count in counts], axis=-1)
        self._counts = np.ascontiguousarray(grids.reshape(-1, len(counts)))
        inside = grids[..., 1:].max(axis=(2, 3, 4, 5)) > 0
        self._near = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0

    def count(self, colours: NDArray[np.uint8], displacement: Floats) -> Floats:
        """Look up how many pixels of each pixel's place and colour there were, in all and inside each object.

        Args:
            colours: (h, w, 3) RGB, 8 bits, of the frame that asks.
            displacement: (h, w, 2) from that frame to the annotated one.

        Returns:
            (h / 2, w / 2, 1 + K). Where no object is near, one pixel in all and none inside.
        """
        height, width = vote_size(colours.shape[:2])
        moved = _shrink(displacement)
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        places = columns * SHRINK + moved[..., 0], rows * SHRINK + moved[..., 1]
        coordinates = self._coordinates(*places, _lab(colours))
        cell_rows, cell_columns = (np.rint(axis).astype(np.int64) for axis in coordinates[:2])
        near = self._near[cell_rows, cell_columns]
        counts = np.zeros((height, width, self._counts.shape[-1]), np.float32)
        counts[..., 0] = 1.0
        counts[near] = self._interpolate(coordinates[:, near])
        return counts

    def _coordinates(self, columns: Floats, rows: Floats, lab: Floats) -> Floats:
        """Grid coordinates (5, h, w): row, column, L, a, b."""
        place = [
            np.clip(axis / CELL_PX, 0, cells - 1.001) for axis, cells in zip((rows, columns), self._cells, strict=True)
        ]
        return np.asarray([*place, *np.moveaxis(lab / COLOUR_BIN, -1, 0)], dtype=np.float32)

    def _interpolate(self, coordinates: Floats) -> Floats:
        """Multilinear interpolation over the 32 corners around (5, N) coordinates; returns (N, 1 + K)."""
        low = np.floor(coordinates).astype(np.int64)
        fraction = coordinates - low
        strides = [int(np.prod(self._shape[axis + 1 :])) for axis in range(5)]
        base = np.tensordot(strides, low, axes=1)
        total = np.zeros((coordinates.shape[1], self._counts.shape[-1]), np.float32)
        for corner in itertools.product((0, 1), repeat=5):
            weight = np.ones(coordinates.shape[1], np.float32)
            for side, part in zip(corner, fraction, strict=True):
                weight *= part if side else 1.0 - part
            offset = sum(stride for side, stride in zip(corner, strides, strict=True) if side)
            total += weight[:, None] * self._counts.take(base + offset, axis=0)
        return total


def inside_probability(counts: Floats, size: tuple[int, int]) -> Floats:
    """Turn counts into the share inside each object.

    Args:
        counts: (h / 2, w / 2, 1 + K), of one annotated frame or a weighted sum over several.
        size: (h, w) of the flow.

    Returns:
        (h, w, K) in (0, 1); 0.5 is no opinion.
    """
    share = (counts[..., 1:] + PRIOR_INSIDE) / (counts[..., :1] + PRIOR_TOTAL)
    enlarged = cv2.resize(share, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(enlarged, dtype=np.float32).reshape(*size, -1)


def vote_size(flow_size: tuple[int, ...]) -> tuple[int, int]:
    """Return (h / 2, w / 2) of votes for the flow's (h, w)."""
    return max(1, flow_size[0] // SHRINK), max(1, flow_size[1] // SHRINK)


def _shrink(values: Floats) -> Floats:
    height, width = vote_size(values.shape)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32).reshape(
        height, width, -1
    )


def _lab(colours: NDArray[np.uint8]) -> Floats:
    height, width = vote_size(colours.shape)
    lab = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)
    return cv2.resize(lab, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)


def _blur(grid: Floats) -> Floats:
    """Blur along each axis by 1/4, 1/2, 1/4."""
    for axis in range(grid.ndim):
        lanes = np.moveaxis(grid, axis, 0)
        blurred = 0.5 * lanes
        blurred[1:] += 0.25 * lanes[:-1]
        blurred[:-1] += 0.25 * lanes[1:]
        grid = np.moveaxis(blurred, 0, axis)
    return np.ascontiguousarray(grid)
