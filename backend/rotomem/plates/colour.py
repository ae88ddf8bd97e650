"""From the plate's colourspace to what the network was trained on: sRGB-encoded Rec. 709 in [0, 1]."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import PyOpenColorIO as ocio
from numpy.typing import ArrayLike, NDArray

from rotomem.errors import ColourspaceError
from rotomem.plates.colourspaces import (
    LINEAR_REC709,
    OCIO_ERRORS,
    bundled_configuration,
    configurations,
    resolve_colourspace,
)

SHOULDER_START = 0.8
"""Linear Rec. 709 value up to which ``roll_off`` changes nothing (sRGB 0.906)."""

_LINEAR_NAMES = ("lin_rec709", "Utility - Linear - Rec.709", "Utility - Linear - sRGB", "lin_srgb", "linear")
"""Names of linear Rec. 709 in configurations from before OCIO 2."""


def network_image(pixels: NDArray[np.float32], colourspace: str) -> NDArray[np.float32]:
    """Convert plate pixels to the network's image.

    OCIO to linear Rec. 709, negative values (noise, colours outside Rec. 709) to 0 as in any display image,
    highlights through ``roll_off``, then the sRGB curve. Samples are rounded to half floats on the way, which is at
    most 0.0003 in the result.

    Args:
        pixels: (H, W, 3), finite, in ``colourspace``; not changed.

    Returns:
        (H, W, 3) in [0, 1].

    Raises:
        ColourspaceError: unknown colourspace.
    """
    to_linear = _to_linear(resolve_colourspace(colourspace), configurations())
    linear = pixels
    if not to_linear.isNoOp():
        linear = np.array(pixels, np.float32, order="C")
        to_linear.applyRGB(linear)
    with np.errstate(over="ignore", invalid="ignore"):  # Beyond half float is infinite, which the table knows.
        codes = linear.astype(np.float16).view(np.uint16)
    return _encoding_table().take(codes)


def roll_off(linear: ArrayLike) -> NDArray[np.float64]:
    r"""Compress highlights smoothly into [0, 1).

    .. math:: f(x) = x \quad (x \le k), \qquad f(x) = k + (1 - k) \frac{t}{1 + t}, \quad t = \frac{x - k}{1 - k}

    with k = ``SHOULDER_START``. Value and slope are continuous at k and f rises strictly, so that detail in the
    highlights survives: f(1) = 0.9, f(2) = 0.971, f(16) = 0.997.

    Args:
        linear: any shape, >= 0; linear Rec. 709.
    """
    values = np.asarray(linear, np.float64)
    room = 1.0 - SHOULDER_START
    excess = np.maximum(values - SHOULDER_START, 0.0)
    return np.minimum(values, SHOULDER_START) + room * excess / (room + excess)


def encode_srgb(linear: ArrayLike) -> NDArray[np.float64]:
    """Apply the sRGB curve. Source: IEC 61966-2-1; domain and range [0, 1]; 0.18 becomes 0.4614."""
    values = np.asarray(linear, np.float64)
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * np.power(np.maximum(values, 0.0), 1 / 2.4) - 0.055)


@lru_cache(maxsize=1)
def _encoding_table() -> NDArray[np.float32]:
    """The network's value of each of the 65536 half floats; a table is twice as fast as the power function."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float64)
    linear = np.nan_to_num(halves, nan=0.0, posinf=float(np.finfo(np.float32).max), neginf=0.0)
    return np.asarray(encode_srgb(roll_off(np.maximum(linear, 0.0))), np.float32)


@lru_cache(maxsize=16)
def _to_linear(colourspace: str, configs: tuple[ocio.Config, ...]) -> ocio.CPUProcessor:
    for config in configs:
        if config.getColorSpace(colourspace) is None:
            continue
        try:
            return _processor(config, colourspace).getDefaultCPUProcessor()
        except OCIO_ERRORS as error:
            raise ColourspaceError(
                f"the plate's colourspace {colourspace!r} cannot be converted to linear Rec. 709 ({error}); "
                "choose another one or correct the OCIO configuration"
            ) from error
    raise ColourspaceError(f"the plate's colourspace {colourspace!r} is in no OCIO configuration; choose another one")


def _processor(config: ocio.Config, colourspace: str) -> ocio.Processor:
    bundled = bundled_configuration()
    if config is bundled or config.getColorSpace(LINEAR_REC709) is not None:
        return config.getProcessor(colourspace, LINEAR_REC709)
    try:
        return ocio.Config.GetProcessorFromConfigs(config, colourspace, bundled, LINEAR_REC709)
    except OCIO_ERRORS:
        # A configuration from before OCIO 2, which shares no interchange space with the bundled one.
        known = next((name for name in _LINEAR_NAMES if config.getColorSpace(name) is not None), None)
        if known is None:
            raise
        return config.getProcessor(colourspace, known)
