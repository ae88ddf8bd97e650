"""Image files made to order with OpenImageIO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from numpy.typing import ArrayLike

WriteImage = Callable[..., Path]


def write_image(
    path: Path,
    pixels: ArrayLike,
    *,
    sample: str = "half",
    channels: Sequence[str] = (),
    window: tuple[int, int, int, int] | None = None,
    origin: tuple[int, int] = (0, 0),
    **attributes: object,
) -> Path:
    """Write (H, W, C) pixels.

    ``window`` is the display window as x, y, width, height and ``origin`` the data window's corner; in attribute names,
    ``__`` stands for a colon. A tuple of eight numbers is written as chromaticities are.
    """
    pixels = np.ascontiguousarray(pixels)
    height, width, count = pixels.shape
    spec = oiio.ImageSpec(width, height, count, sample)
    spec.x, spec.y = origin
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = window or (*origin, width, height)
    if channels:
        spec.channelnames = tuple(channels)
    for name, value in attributes.items():
        name = name.replace("__", ":")
        if name in ("tile_width", "tile_height"):
            setattr(spec, name, value)
        elif isinstance(value, tuple):
            spec.attribute(name, oiio.TypeDesc(f"float[{len(value)}]"), value)
        else:
            spec.attribute(name, value)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(pixels), output.geterror()
    assert output.close(), output.geterror()
    return path


@pytest.fixture(name="write_image")
def write_image_fixture() -> WriteImage:
    return write_image


@pytest.fixture(autouse=True)
def no_studio_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the bundled OCIO configuration, whatever the machine's ``$OCIO``."""
    monkeypatch.delenv("OCIO", raising=False)
