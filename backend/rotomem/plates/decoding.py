"""Opening and decoding image files with OpenImageIO: what is there, and whether all of it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from rotomem.errors import PlateMissingError, PlateUnreadableError
from rotomem.plates.channels import ChannelChoice, Part
from rotomem.plates.window import Window

MAX_SIDE = 32768
"""Pixels; 16K plates with overscan fit."""

MAX_PIXELS = 1 << 28
"""Of one display window: 16384 squared, 3 GiB as RGB float32."""

MAX_DECODED_MB = 8192

# A header is a few bytes that may ask for any amount of memory, and plates come over the wire.
oiio.attribute("limits:resolution", MAX_SIDE)
oiio.attribute("limits:channels", 1024)
oiio.attribute("limits:imagesize_MB", MAX_DECODED_MB)


class OpenImage:
    """An image file open for reading; made by ``open_image``.

    ``file_format`` is OpenImageIO's name, such as ``openexr``, told by the content, so that a file may have any name.
    """

    def __init__(self, source: oiio.ImageInput, path: Path, frame: int) -> None:
        self._source = source
        self._path = path
        self._frame = frame
        self._specs: list[oiio.ImageSpec] = []
        while source.seek_subimage(len(self._specs), 0):
            self._specs.append(source.spec())
        source.geterror()  # Seeking beyond the last part may leave a message that is none.
        self.file_format = str(source.format_name())
        several = len(self._specs) > 1
        self.parts = tuple(
            Part(index, str(spec.getattribute("oiio:subimagename") or "") if several else "", tuple(spec.channelnames))
            for index, spec in enumerate(self._specs)
        )

    def is_float(self, part: int) -> bool:
        """Whether samples are stored as half or float."""
        return str(self._specs[part].format) in ("half", "float", "double")

    def metadata(self, part: int) -> dict[str, object]:
        """Return the part's attributes under OpenImageIO's names: strings, numbers and tuples of numbers."""
        return {attribute.name: attribute.value for attribute in self._specs[part].extra_attribs}

    def windows(self, part: int) -> tuple[Window, Window]:
        """Return the display window and the data window of a part.

        Only EXR has both: a TIFF's or PNG's offset is a place on a page, which Nuke ignores too.
        """
        spec = self._specs[part]
        if self.file_format != "openexr":
            whole = Window(0, 0, spec.width, spec.height)
            return whole, whole
        display = Window(spec.full_x, spec.full_y, spec.full_width, spec.full_height)
        return display, Window(spec.x, spec.y, spec.width, spec.height)

    def pixel_aspect(self, part: int) -> float:
        """Width of a pixel divided by its height; 1 where the file does not say or says nonsense."""
        aspect = float(self._specs[part].get_float_attribute("PixelAspectRatio", 1.0))
        return aspect if 0.01 < aspect < 100.0 else 1.0

    def read(self, choice: ChannelChoice) -> NDArray[np.float32]:
        """Decode channels into the display window: zeros where there are no pixels, overscan cut off.

        Orientation metadata is left alone, as in Nuke: what the artist saw and drew on is not rotated. Colour is not
        multiplied or divided by alpha. Integers become [0, 1].

        Returns:
            (H, W, C), C as in ``choice``.

        Raises:
            PlateUnreadableError: truncated, corrupt, deep, or larger than the limits above.
        """
        spec = self._specs[choice.part]
        display, stored = self.windows(choice.part)
        if spec.deep:
            raise self._error("is a deep image", "flatten it (DeepToImage) and render it again")
        if max(display.width, display.height) > MAX_SIDE or display.width * display.height > MAX_PIXELS:
            raise self._error(
                f"says that it is {display.width}x{display.height} pixels", f"at most {MAX_SIDE} a side can be read"
            )
        begin, end = min(choice.channels), max(choice.channels) + 1
        pixels = self._source.read_image(choice.part, 0, begin, end, oiio.FLOAT)
        message = self._source.geterror()
        # OpenImageIO opens a truncated EXR without complaint, and decodes a truncated JPEG to grey with only a message.
        if pixels is None or message:
            raise self._error(
                f"cannot be decoded ({_first_line(message) or 'no reason given'})",
                "it may be half-written or damaged: render or copy it again",
            )
        if choice.channels != tuple(range(begin, end)):
            pixels = pixels[..., [channel - begin for channel in choice.channels]]
        if stored == display:
            return np.ascontiguousarray(pixels)
        return _place(pixels, stored, display)

    def _error(self, what: str, remedy: str) -> PlateUnreadableError:
        return PlateUnreadableError(f"frame {self._frame}: {self._path} {what}; {remedy}")


@contextmanager
def open_image(path: Path, frame: int) -> Iterator[OpenImage]:
    """Open an image file; ``frame`` is for the error messages.

    Raises:
        PlateMissingError: there is no such file.
        PlateUnreadableError: empty, forbidden or no image.
    """
    try:
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except FileNotFoundError as error:
        raise PlateMissingError(
            f"frame {frame} is not on disk: there is no {path}; render it or leave the frame out of the range"
        ) from error
    except OSError as error:
        raise PlateUnreadableError(
            f"frame {frame}: {path} cannot be opened: {error.strerror}; check the path"
        ) from error
    if is_empty:
        raise PlateUnreadableError(f"frame {frame}: {path} is empty (0 bytes); render or copy it again")
    # Without this hint OpenImageIO multiplies a PNG's or TIFF's colour by its alpha.
    wish = oiio.ImageSpec()
    wish.attribute("oiio:UnassociatedAlpha", 1)
    source = oiio.ImageInput.open(str(path), wish)
    if source is None:
        reason = _first_line(oiio.geterror()) or "unknown format"
        raise PlateUnreadableError(
            f"frame {frame}: {path} is not an image that can be read ({reason}); render or copy it again"
        )
    try:
        yield OpenImage(source, path, frame)
    finally:
        source.close()


def _place(pixels: NDArray[np.float32], stored: Window, display: Window) -> NDArray[np.float32]:
    """Copy what ``stored`` and ``display`` have in common into an image of the display window."""
    placed = np.zeros((display.height, display.width, pixels.shape[2]), np.float32)
    left, right = max(stored.x, display.x), min(stored.right, display.right)
    top, bottom = max(stored.y, display.y), min(stored.bottom, display.bottom)
    if left < right and top < bottom:
        placed[top - display.y : bottom - display.y, left - display.x : right - display.x] = pixels[
            top - stored.y : bottom - stored.y, left - stored.x : right - stored.x
        ]
    return placed


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0].strip() if message.strip() else ""
