"""Mattes follow the plate's edges.

Sources: He, Sun and Tang, "Guided Image Filtering", ECCV 2010 (the filter, colour guide); He and Sun, "Fast Guided
Filter", arXiv:1505.00996, 2015 (coefficients at reduced size).
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Matte = NDArray[np.float32]
Image = NDArray[np.float32]

SOLID = 0.02
"""Mattes within this of 0 or 1 count as solid: 5/255, above the noise that quantised and resampled mattes carry."""
EPSILON = 1e-4
"""Regularises the fit: contrast below its root (0.01, plate grain) does not count as an edge."""
FLAT = 1e-6
"""A window whose mattes vary less than this holds one side of the edge only and says nothing about it."""


class _LinearFit(NamedTuple):
    """matte ~ slope . guide + offset around each pixel.

    ``explained`` is the coefficient of determination in [0, 1], ``residual`` the standard deviation left over.
    """

    slope: Image
    offset: Matte
    explained: Matte
    residual: Matte


def guided_filter(guide: Image, matte: Matte, *, radius_px: int, epsilon: float, subsample: int = 1) -> Matte:
    """Fit the matte, around each pixel, as a linear function of the plate's colour, and evaluate the mean fit.

    Args:
        guide: (H, W, 3) in [0, 1].
        matte: (H, W) in [0, 1].
        radius_px: of the square window.
        epsilon: penalty on the slope, squared guide units, at least 1e-6 (single precision); larger smooths more.
        subsample: the fit is made at 1 / ``subsample`` of the size.

    Returns:
        (H, W); may leave [0, 1] slightly, as a linear fit does.
    """
    fit = _fit(guide, matte, None, radius_px=radius_px, epsilon=epsilon, subsample=subsample)
    return _evaluate(fit, guide)


def snap_edges(
    matte: Matte, guide: Image, *, radius_px: int = 8, epsilon: float = EPSILON, subsample: int = 1
) -> Matte:
    """Move the soft and near-edge part of a matte onto the plate's edges; the rest stays bit for bit.

    A guided filter whose fit counts only the pixels that are sure: those farther than ``radius_px`` / 2 from every
    soft pixel and every step. The uncertain ones between are then painted by the colours of the two solid sides, so
    that an edge that lies a little off lands where the plate has it; the plain filter, which lets them vote, moves it
    by a fraction only. The result is stretched by the fit's own residual, so that grain and texture leave solid parts
    solid, and counts as far as the plate explains the matte: an edge that the plate does not show stays put.

    Args:
        matte: (H, W) in [0, 1].
        guide: (H, W, 3) in [0, 1], display-encoded.
        radius_px: pixels at least this far from every soft or edge pixel keep their value.
        epsilon: see :func:`guided_filter`.
        subsample: likewise.

    Returns:
        (H, W) in [0, 1], a new array.
    """
    distance = _distance_from_edge(matte)
    if distance is None:
        return matte.copy()
    band = distance < radius_px
    window = _bounding_window(band, margin_px=3 * radius_px)
    cropped, colours, distance = (np.ascontiguousarray(part[window]) for part in (matte, guide, distance))
    sure = (distance > radius_px / 2).astype(np.float32)
    fit = _fit(colours, cropped, sure, radius_px=2 * radius_px, epsilon=epsilon, subsample=subsample)
    margin = np.minimum(fit.residual, 0.25)
    painted = np.clip((_evaluate(fit, colours) - margin) / (1.0 - 2.0 * margin), 0.0, 1.0)
    fade = np.clip(2.0 - 2.0 * distance / radius_px, 0.0, 1.0)  # 1 up to half the radius, 0 at the band's rim
    snapped = cropped + fade * fit.explained * (painted - cropped)
    result = matte.copy()
    result[window] = np.where(band[window], np.clip(snapped, 0.0, 1.0), cropped)
    return result


def _distance_from_edge(matte: Matte) -> Matte | None:
    """Distance in pixels from the nearest soft pixel or 0-1 step; None where the matte is solid throughout."""
    inside = (matte > 0.5).astype(np.uint8)
    step = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    edge = (step > 0) | ((matte > SOLID) & (matte < 1 - SOLID))
    if not edge.any():
        return None
    return np.asarray(cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 3), dtype=np.float32)


def _bounding_window(band: NDArray[np.bool_], *, margin_px: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(band.any(axis=1)), np.flatnonzero(band.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin_px), int(rows[-1]) + 1 + margin_px),
        slice(max(0, int(columns[0]) - margin_px), int(columns[-1]) + 1 + margin_px),
    )


def _fit(
    guide: Image, matte: Matte, weight: Matte | None, *, radius_px: int, epsilon: float, subsample: int
) -> _LinearFit:
    """Least squares in the window around each pixel, then the mean over the windows that hold the pixel.

    With ``weight`` the pixels count by it, and the windows by the variance of the mattes they saw: a window with one
    side of the edge only fits a constant, which would drag the mean towards it.
    """
    height, width = matte.shape
    weight_sum = np.ones_like(matte) if weight is None else weight
    if subsample > 1:
        small = (max(1, width // subsample), max(1, height // subsample))
        guide, matte, weight_sum = (_resize(part, small, cv2.INTER_AREA) for part in (guide, matte, weight_sum))
        radius_px = max(1, round(radius_px / subsample))
    mean = _WindowMean(weight_sum, radius_px)
    mean_guide, mean_matte = mean(guide), mean(matte)
    covariance = mean(guide * matte[..., None]) - mean_guide * mean_matte[..., None]
    slope = _solve(_guide_covariance(guide, mean_guide, mean), covariance, epsilon)
    offset = mean_matte - np.einsum("hwc,hwc->hw", slope, mean_guide)
    variance = np.maximum(mean(matte * matte) - mean_matte * mean_matte, 0.0)
    explained = np.einsum("hwc,hwc->hw", slope, covariance)
    share = np.clip(explained / np.maximum(variance, FLAT), 0.0, 1.0)
    residual = np.sqrt(np.maximum(variance - explained, 0.0))
    over_windows = _WindowMean(np.ones_like(variance) if weight is None else variance, radius_px)
    parts = [over_windows(part) for part in (slope, offset, share, residual)]
    if subsample > 1:
        parts = [_resize(part, (width, height), cv2.INTER_LINEAR) for part in parts]
    return _LinearFit(*parts)


def _resize(values: NDArray[np.float32], size: tuple[int, int], interpolation: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values, size, interpolation=interpolation), dtype=np.float32)


class _WindowMean:
    """Weighted mean over a square window; 0 where the window has no weight."""

    def __init__(self, weight: Matte, radius_px: int) -> None:
        self._side = 2 * radius_px + 1
        self._weight = weight
        self._per_total = np.asarray(1.0 / np.maximum(self._box(weight), FLAT), dtype=np.float32)

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """``values`` is (H, W) or (H, W, C)."""
        channels = values.ndim - 2
        weight, per_total = (part.reshape(part.shape + (1,) * channels) for part in (self._weight, self._per_total))
        return self._box(values * weight) * per_total

    def _box(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred = cv2.boxFilter(values, -1, (self._side, self._side), borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred, dtype=np.float32)


def _guide_covariance(guide: Image, mean_guide: Image, mean: _WindowMean) -> tuple[Matte, ...]:
    """Return rr, rg, rb, gg, gb, bb."""
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    return tuple(mean(guide[..., i] * guide[..., j]) - mean_guide[..., i] * mean_guide[..., j] for i, j in pairs)


def _solve(covariance: tuple[Matte, ...], right: Image, epsilon: float) -> Image:
    """Solve (covariance + epsilon I) slope = right at each pixel by the adjugate of the symmetric 3x3 matrix."""
    # In double precision: where the colours lie on a line, as at most edges, the cofactors nearly cancel.
    rr, rg, rb, gg, gb, bb = (part.astype(np.float64) for part in covariance)
    rr, gg, bb = rr + epsilon, gg + epsilon, bb + epsilon
    c00, c01, c02 = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c11, c12, c22 = rr * bb - rb * rb, rg * rb - rr * gb, rr * gg - rg * rg
    determinant = np.maximum(rr * c00 + rg * c01 + rb * c02, epsilon**3)
    r, g, b = right[..., 0], right[..., 1], right[..., 2]
    slope = np.stack([c00 * r + c01 * g + c02 * b, c01 * r + c11 * g + c12 * b, c02 * r + c12 * g + c22 * b], axis=-1)
    return np.asarray(slope / determinant[..., None], dtype=np.float32)


def _evaluate(fit: _LinearFit, guide: Image) -> Matte:
    return np.asarray(np.einsum("hwc,hwc->hw", fit.slope, guide) + fit.offset, dtype=np.float32)
