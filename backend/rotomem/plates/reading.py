"""Plate frames and alphas from image files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rotomem.errors import PlateUnreadableError
from rotomem.plates.channels import choose_alpha, choose_colour, name_channels
from rotomem.plates.colour import network_image
from rotomem.plates.colourspaces import resolve_colourspace
from rotomem.plates.decoding import OpenImage, open_image
from rotomem.plates.detection import detect_colourspace
from rotomem.plates.repair import repair_pixels
from rotomem.plates.window import Window

AUTO = "auto"


@dataclass(frozen=True)
class PlateFrame:
    """One frame of the plate as it is in the file.

    Args:
        pixels: (H, W, 3) float32, the display window, in ``colourspace``; finite. Outside the data window it is 0.
        pixel_aspect: width of a pixel divided by its height.
        colourspace: canonical OCIO name, never ``auto``.
        metadata: the file's attributes under OpenImageIO's names.
        repaired_pixels: how many were NaN or infinite and have been replaced.
        warnings: sentences for the artist.
    """

    pixels: NDArray[np.float32]
    pixel_aspect: float
    display_window: Window
    data_window: Window
    colourspace: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    repaired_pixels: int = 0
    warnings: tuple[str, ...] = ()


def read_plate_frame(path: Path, frame: int, *, colourspace: str = AUTO) -> PlateFrame:
    """Read the picture of one file.

    Args:
        frame: for messages; the file is ``path`` whatever it is.
        colourspace: an OCIO or Nuke name, or ``auto`` to go by metadata and file type.

    Raises:
        PlateMissingError: there is no such file.
        PlateUnreadableError: it cannot be decoded whole, or has no colour channels.
        ColourspaceError: no configuration knows the colourspace.
    """
    named = None if colourspace.strip().lower() in (AUTO, "") else resolve_colourspace(colourspace)
    with open_image(path, frame) as image:
        choice = choose_colour(image.parts)
        if choice is None:
            raise PlateUnreadableError(
                f"frame {frame}: {path} has no picture to follow, only the channels {name_channels(image.parts)}; "
                "render it with R, G and B"
            )
        pixels, repaired = repair_pixels(image.read(choice))
        metadata = image.metadata(choice.part)
        display, stored = image.windows(choice.part)
        aspect = image.pixel_aspect(choice.part)
        detected, doubt = detect_colourspace(image.file_format, is_float=image.is_float(choice.part), metadata=metadata)
    warnings = [doubt] if doubt and not named else []
    if repaired:
        warnings.append(
            f"frame {frame} has {repaired} NaN or infinite pixel{'s' * (repaired > 1)}, replaced by "
            f"{'their' if repaired > 1 else 'its'} neighbours; check the render {path}"
        )
    return PlateFrame(
        pixels=pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2),
        pixel_aspect=aspect,
        display_window=display,
        data_window=stored,
        colourspace=named or detected,
        metadata=metadata,
        repaired_pixels=repaired,
        warnings=tuple(warnings),
    )


def network_rgb(frame: PlateFrame) -> NDArray[np.float32]:
    """Return the frame as the network sees it: (H, W, 3), sRGB-encoded Rec. 709 in [0, 1]; see ``network_image``."""
    return network_image(frame.pixels, frame.colourspace)


def read_alpha(path: Path, frame: int, *, object_name: str | None = None) -> NDArray[np.float32]:
    """Read a matte: one of ours, a rendered alpha or a painted image.

    Args:
        frame: for messages.
        object_name: reads that object's layer, ``<object>.A``. Without it A is read, else luminance, else R where R, G
            and B are equal. An alpha that is 1 everywhere, over a picture in black and white that is not, is what paint
            programs add on saving: then the picture is the matte.

    Returns:
        (H, W) in [0, 1], the display window; NaN and infinite samples are replaced, values outside are clamped.

    Raises:
        PlateMissingError: there is no such file.
        PlateUnreadableError: it cannot be decoded whole, or holds no such matte.
    """
    with open_image(path, frame) as image:
        choice = choose_alpha(image.parts, object_name)
        if choice is None:
            wanted = "alpha" if object_name is None else f"matte of {object_name!r} (channel {object_name}.A)"
            raise PlateUnreadableError(
                f"frame {frame}: {path} has no {wanted}, only the channels {name_channels(image.parts)}; "
                "render it with that channel"
            )
        channels, _ = repair_pixels(image.read(choice))
        if object_name is None and (channels == 1.0).all():
            channels = _painted_matte(image, channels)
    if channels.shape[2] == 3 and not (channels == channels[..., :1]).all():
        raise PlateUnreadableError(
            f"frame {frame}: {path} has no alpha and is not grey, so that no channel is the matte; "
            "render it with an alpha, or in black and white"
        )
    return np.clip(channels[..., 0], 0.0, 1.0)


def _painted_matte(image: OpenImage, opaque: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the file's grey picture (H, W, 1) if it has one that varies, else ``opaque``."""
    choice = choose_colour(image.parts)
    if choice is None:
        return opaque
    picture, _ = repair_pixels(image.read(choice))
    grey = (picture == picture[..., :1]).all() and picture.min() < picture.max()
    return picture[..., :1] if grey else opaque
