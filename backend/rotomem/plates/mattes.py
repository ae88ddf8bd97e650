"""Matte files: half-float EXR that appear whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from rotomem import __version__
from rotomem.errors import AnnotationError, PlateUnreadableError
from rotomem.plates.decoding import open_image
from rotomem.plates.publishing import WrittenFile, publish_file
from rotomem.plates.reading import read_alpha
from rotomem.plates.window import Window

OBJECT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What both an EXR layer and a Nuke layer may be called."""

RESERVED_NAMES = ("rgba", "rgb", "alpha", "all", "none")
"""Nuke's own: a layer ``rgba`` would overwrite the union, and ``alpha`` and the others mean something in its menus."""

CONFIDENCE_LAYER = "confidence"
"""Channel ``confidence.A``, which Nuke shows as ``confidence.alpha``, as it shows each object's layer."""

MOTION_ERROR_LAYER = "motion_error"
"""Channel ``motion_error.A``, likewise."""

CONFIDENCE_LEVELS = 255
"""Steps that the layer is rounded to: it is noise below them, which would make the file three times as large."""

_PREFIX = "rotomem/"


@dataclass(frozen=True)
class MatteMetadata:
    """What made a matte; in the file as ``rotomem/engine``, ``rotomem/weights_sha256`` and so on.

    Args:
        engine: such as ``warp``.
        frame: Nuke frame number.
        annotated: the artist's own matte, for at least one object.
        revision: of the annotations it was made from.
        weights_sha256: of the network's weights; empty for engines without.
        project_version: ``rotomem/version`` in the file.
        confidence: of the frame, in [0, 1]: the mean over the mattes and a narrow band around them, 1 is certain; None
            where it was not measured.
        disagreement: of the forward and the backward pass, in [0, 1]: 0 is the same matte, 1 two without a common
            pixel; None where only one pass came here, or none.
        motion_error: area that motion takes for wrong over the matte's area, at least 0; None where it was not asked.
        preview: made in haste, to be made again; ``rotomem/preview`` is in the file only then.
    """

    engine: str
    frame: int
    annotated: bool = False
    revision: int = 0
    weights_sha256: str = ""
    project_version: str = __version__
    confidence: float | None = None
    disagreement: float | None = None
    motion_error: float | None = None
    preview: bool = False


def check_object_name(name: str) -> None:
    """Refuse names that cannot be a layer.

    Raises:
        AnnotationError: says what is allowed.
    """
    if not OBJECT_NAME.fullmatch(name):
        raise AnnotationError(
            f"the object name {name!r} cannot be a layer in Nuke; use letters, digits and _, and no digit in front"
        )
    if name.lower() in RESERVED_NAMES:
        raise AnnotationError(f"the object name {name!r} is one of Nuke's own layers; call the object something else")
    if name.lower() in (CONFIDENCE_LAYER, MOTION_ERROR_LAYER):
        raise AnnotationError(
            f"the object name {name!r} is the layer that holds a matte's {name.lower().replace('_', ' ')}; "
            "call the object something else"
        )


def write_mattes(
    path: Path,
    mattes: Mapping[str, NDArray[np.float32]],
    *,
    display_window: Window,
    pixel_aspect: float,
    metadata: MatteMetadata,
    confidence: NDArray[np.float32] | None = None,
    motion_error: NDArray[np.float32] | None = None,
) -> WrittenFile:
    """Write one frame's mattes as a half-float ZIP EXR.

    Channel ``A`` (Nuke's ``rgba.alpha``) is their union, 1 - prod(1 - a): what is seen of any of them where soft edges
    overlap. ``<object>.A`` (Nuke's ``<object>.alpha``) is each one. Data window and display window are the plate's. The
    folder is made where it is missing. The file is under ``path`` only when it is complete and synced.

    Args:
        mattes: object name to (H, W) in [0, 1], H and W as in ``display_window``; at least one.
        confidence: (H, W) in [0, 1], 1 is certain, for channel ``confidence.A``; rounded to 1/255.
        motion_error: likewise, 1 is certainly wrong, for channel ``motion_error.A``.

    Raises:
        AnnotationError: an object name that cannot be a layer.
        DiskFullError: no space or quota left; nothing is left behind under ``path``, and an older file stays.
        OutputUnwritableError: the folder cannot be made or written.
        ValueError: no mattes, or a matte of another size or with values outside [0, 1].
    """
    if not mattes:
        raise ValueError("no mattes to write")
    for name, matte in mattes.items():
        check_object_name(name)
        if matte.shape != (display_window.height, display_window.width):
            raise ValueError(f"matte {name!r} is {matte.shape}, the display window {display_window}")
        if not (matte.min() >= 0.0 and matte.max() <= 1.0):  # Also true of NaN.
            raise ValueError(f"matte {name!r} has values outside [0, 1]")
    layers = dict(mattes)
    for layer, figures in ((CONFIDENCE_LAYER, confidence), (MOTION_ERROR_LAYER, motion_error)):
        if figures is not None:
            rounded = np.rint(figures * np.float32(CONFIDENCE_LEVELS)) / np.float32(CONFIDENCE_LEVELS)
            layers[layer] = np.asarray(rounded, dtype=np.float32)
    # Filled layer by layer: ten objects in 4K would take 0.4 GB more as a stack of single precision.
    stack = np.empty((display_window.height, display_window.width, 1 + len(layers)), np.float16)
    stack[..., 0] = _union(list(mattes.values()))
    for index, values in enumerate(layers.values(), start=1):
        stack[..., index] = values
    spec = _matte_spec(list(layers), display_window, pixel_aspect, metadata)
    return publish_file(path, lambda target: _encode(target, spec, stack))


def read_matte_metadata(path: Path) -> MatteMetadata:
    """Read what made a matte.

    Raises:
        PlateMissingError: there is no such file.
        PlateUnreadableError: it is no image, or was not made by this project.
    """
    with open_image(path, 0) as image:
        found = image.metadata(0)
    try:
        return MatteMetadata(
            engine=str(found[_PREFIX + "engine"]),
            frame=int(str(found[_PREFIX + "frame"])),
            annotated=found[_PREFIX + "annotated"] == 1,
            revision=int(str(found[_PREFIX + "revision"])),
            weights_sha256=str(found.get(_PREFIX + "weights_sha256", "")),
            project_version=str(found[_PREFIX + "version"]),
            confidence=_optional_figure(found, "confidence"),
            disagreement=_optional_figure(found, "disagreement"),
            motion_error=_optional_figure(found, "motion_error"),
            preview=found.get(_PREFIX + "preview") == 1,
        )
    except (KeyError, ValueError) as error:
        raise PlateUnreadableError(
            f"{path} does not say how it was made ({error}); it is no matte of Rotomem"
        ) from error


def read_confidence(path: Path, frame: int) -> NDArray[np.float32] | None:
    """Read a matte's confidence layer.

    Args:
        frame: for messages.

    Returns:
        (H, W) in [0, 1], 1 is certain; None where the matte was written without one.

    Raises:
        PlateMissingError: there is no such file.
        PlateUnreadableError: it cannot be decoded whole.
    """
    with open_image(path, frame) as image:
        there = any(f"{CONFIDENCE_LAYER}.A" in part.channels for part in image.parts)
    return read_alpha(path, frame, object_name=CONFIDENCE_LAYER) if there else None


def _optional_figure(found: Mapping[str, object], name: str) -> float | None:
    value = found.get(_PREFIX + name)
    return None if value is None else float(str(value))


def _union(mattes: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    if len(mattes) == 1:
        return mattes[0]  # 1 - (1 - a) would round it.
    uncovered = np.ones_like(mattes[0], dtype=np.float32)
    for matte in mattes:
        uncovered *= 1.0 - matte
    return 1.0 - uncovered


def _matte_spec(layers: list[str], window: Window, pixel_aspect: float, metadata: MatteMetadata) -> oiio.ImageSpec:
    spec = oiio.ImageSpec(window.width, window.height, 1 + len(layers), "half")
    spec.x = spec.full_x = window.x
    spec.y = spec.full_y = window.y
    spec.full_width, spec.full_height = window.width, window.height
    spec.channelnames = ("A", *(f"{name}.A" for name in layers))
    spec.alpha_channel = 0
    spec.attribute("compression", "zip")
    spec.attribute("PixelAspectRatio", float(pixel_aspect))
    spec.attribute("Software", f"Rotomem {metadata.project_version}")
    spec.attribute(_PREFIX + "engine", metadata.engine)
    spec.attribute(_PREFIX + "frame", metadata.frame)
    spec.attribute(_PREFIX + "annotated", int(metadata.annotated))
    spec.attribute(_PREFIX + "revision", metadata.revision)
    spec.attribute(_PREFIX + "weights_sha256", metadata.weights_sha256)
    spec.attribute(_PREFIX + "version", metadata.project_version)
    if metadata.preview:
        spec.attribute(_PREFIX + "preview", 1)
    for name in ("confidence", "disagreement", "motion_error"):
        value = getattr(metadata, name)
        if value is not None:
            spec.attribute(_PREFIX + name, float(value))
    return spec


def _encode(target: Path, spec: oiio.ImageSpec, pixels: NDArray[np.float16]) -> str:
    """Write an EXR; return what went wrong, or nothing.

    The last rows are read back, because OpenImageIO has been seen to report success while what stdio still held did not
    fit on the disk any more; losses before those are reported by OpenImageIO itself.
    """
    output = oiio.ImageOutput.create("openexr")
    if output is None:
        return str(oiio.geterror()) or "OpenImageIO has no EXR writer"
    written = output.open(str(target), spec) and output.write_image(pixels)
    # Some errors show only when the file is closed.
    if not (output.close() and written):
        return str(output.geterror()) or "no reason given"
    source = oiio.ImageInput.open(str(target))
    if source is None:
        return str(oiio.geterror()) or "it cannot be opened again"
    bottom = spec.y + spec.height
    tail = source.read_scanlines(bottom - 1, bottom, 0, 0, spec.nchannels, oiio.HALF)
    message = source.geterror()
    source.close()
    return "" if tail is not None and not message else f"the file is incomplete: {message or 'its last row is missing'}"
