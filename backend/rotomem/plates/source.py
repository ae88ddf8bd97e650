"""A plate as a sequence of frames: what engines read from."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rotomem.errors import PlateMissingError, PlateSizeError, SettingError
from rotomem.plates.frame_range import format_frame_range
from rotomem.plates.pattern import FramePattern
from rotomem.plates.reading import AUTO, PlateFrame, network_rgb, read_plate_frame

log = logging.getLogger(__name__)

CACHE_FRAMES = 8
CACHE_BYTES = 1 << 30
"""Whichever is reached first; eight frames of UHD are 0.8 GB."""

MAX_PREFETCH = 4

Image = NDArray[np.float32]


@dataclass(frozen=True)
class _Decoded:
    """A frame read in the background: what the plate's own pixels are no longer needed for."""

    image: Image
    warnings: tuple[str, ...]


class PlateSource:
    """Reads a plate's frames, checks that they have one size, and keeps the last ones.

    Engines walk a plate frame by frame, in either direction; as soon as two neighbours have been asked for, the next
    ones are read in the background, so that decoding and the network overlap. What goes wrong in the background is
    raised when that frame is asked for, or never. To be used from one thread.

    Args:
        pattern: a ``FramePattern``; empty where ``files`` names each frame.
        files: frame to file, for frames that were streamed into the store; used before ``pattern``.
        first: first frame of the plate.
        last: last frame of the plate, inclusive.
        colourspace: an OCIO or Nuke name, or ``auto``.
        prefetch: how many frames to read ahead; 0 reads none, None takes what the cores allow, at most four.

    Raises:
        SettingError: neither ``pattern`` nor ``files``, a pattern that cannot be used, or an empty range.
    """

    def __init__(
        self,
        *,
        pattern: str = "",
        files: Mapping[int, Path] | None = None,
        first: int,
        last: int,
        colourspace: str = AUTO,
        prefetch: int | None = None,
    ) -> None:
        if not pattern and not files:
            raise SettingError("the plate has no files; give a file pattern such as /shots/a/plate.%04d.exr")
        if first > last:
            raise SettingError(f"the plate's range {first}-{last} is empty; the first frame must not be after the last")
        self.first = first
        self.last = last
        self.warnings: list[str] = []
        """Sentences for the artist, such as repaired pixels; each once."""
        self._pattern = FramePattern.parse(pattern) if pattern else None
        self._files = {frame: Path(path) for frame, path in (files or {}).items()}
        self._colourspace = colourspace
        self._reference: tuple[int, tuple[int, int]] | None = None
        self._images: OrderedDict[int, Image] = OrderedDict()
        self._pending: dict[int, Future[_Decoded]] = {}
        self._asked: int | None = None
        cores = os.cpu_count() or 1
        self._prefetch = min(MAX_PREFETCH, cores - 1) if prefetch is None else prefetch
        self._pool = ThreadPoolExecutor(self._prefetch, "rotomem-plate") if self._prefetch > 0 else None

    @property
    def name(self) -> str:
        """What to call the plate in a sentence."""
        return self._pattern.text if self._pattern else "the streamed plate"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every frame, pixels; of the first frame that is on disk, until one has been read.

        Raises:
            PlateError: no frame of the range can be read.
        """
        if self._reference is None:
            on_disk = self.frames_on_disk()
            self.plate_frame(on_disk[0] if on_disk else self.first)
        assert self._reference is not None
        return self._reference[1]

    def path(self, frame: int) -> Path:
        """Return the file that holds ``frame``.

        Raises:
            PlateMissingError: outside the plate's range, or not among the streamed frames.
        """
        if not self.first <= frame <= self.last:
            raise PlateMissingError(
                f"frame {frame} is outside the plate {self.name}, which has {self.first}-{self.last}; extend its range"
            )
        if frame in self._files:
            return self._files[frame]
        if self._pattern is None:
            raise PlateMissingError(f"frame {frame} of {self.name} was not sent; propagate again to send it")
        return self._pattern.path(frame)

    def frames_on_disk(self) -> list[int]:
        """Return the frames of the range that have a file, ascending."""
        found = {frame for frame, path in self._files.items() if path.is_file()}
        if self._pattern is not None and self._pattern.is_sequence:
            found.update(frame for frame in self._pattern.frames_on_disk() if frame not in self._files)
        elif self._pattern is not None and self._pattern.path(self.first).is_file():
            found.update(range(self.first, self.last + 1))
        return sorted(frame for frame in found if self.first <= frame <= self.last)

    def check_frames(self, frames: Iterable[int]) -> None:
        """Make sure that every frame has a file, before any work is done.

        Raises:
            PlateMissingError: names all that are missing, and what there is.
        """
        on_disk = self.frames_on_disk()
        missing = sorted(set(frames).difference(on_disk))
        if not missing:
            return
        several = len(missing) > 1
        there = f"on disk: {format_frame_range(on_disk)}" if on_disk else "no frame of it is on disk: check the path"
        raise PlateMissingError(
            f"frame{'s' * several} {format_frame_range(missing)} of {self.name} "
            f"{'are' if several else 'is'} not on disk; "
            f"render {'them' if several else 'it'} or choose a range without {'them' if several else 'it'} ({there})"
        )

    def plate_frame(self, frame: int) -> PlateFrame:
        """Read a frame in the plate's own colourspace, at full range.

        Raises:
            PlateMissingError, PlateUnreadableError, ColourspaceError: as ``read_plate_frame``.
            PlateSizeError: another size than the frames before.
        """
        plate = read_plate_frame(self.path(frame), frame, colourspace=self._colourspace)
        self._accept(frame, plate.pixels.shape, plate.warnings)
        return plate

    def image(self, frame: int) -> Image:
        """Return the frame as the network sees it: (H, W, 3), sRGB-encoded, in [0, 1]. Not to be changed.

        Raises:
            PlateError: as ``plate_frame``.
        """
        if frame not in self._images:
            future = self._pending.pop(frame, None)
            decoded = future.result() if future is not None else self._decode(frame)
            self._accept(frame, decoded.image.shape, decoded.warnings)
            self._keep(frame, decoded.image)
        self._images.move_to_end(frame)
        self._read_ahead(frame)
        return self._images[frame]

    def close(self) -> None:
        """Stop reading ahead and let go of the images. Frames can still be read."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None
        self._pending.clear()
        self._images.clear()

    def _decode(self, frame: int) -> _Decoded:
        plate = read_plate_frame(self.path(frame), frame, colourspace=self._colourspace)
        return _Decoded(network_rgb(plate), plate.warnings)

    def _accept(self, frame: int, shape: tuple[int, ...], warnings: tuple[str, ...]) -> None:
        size = (shape[0], shape[1])
        if self._reference is None:
            self._reference = (frame, size)
        known, expected = self._reference
        if size != expected:
            raise PlateSizeError(
                f"frame {frame} of {self.name} is {size[1]}x{size[0]} but frame {known} is "
                f"{expected[1]}x{expected[0]}; render the plate in one size"
            )
        for warning in warnings:
            if warning not in self.warnings:
                log.warning("%s", warning)
                self.warnings.append(warning)

    def _keep(self, frame: int, image: Image) -> None:
        self._images[frame] = image
        allowed = max(2, min(CACHE_FRAMES, CACHE_BYTES // image.nbytes))
        while len(self._images) > allowed:
            self._images.popitem(last=False)

    def _read_ahead(self, frame: int) -> None:
        step = 0 if self._asked is None else frame - self._asked
        self._asked = frame
        if self._pool is None or abs(step) != 1:
            return
        wanted = range(frame + step, frame + step * (self._prefetch + 1), step)
        for stale in [pending for pending in self._pending if pending not in wanted]:
            self._pending.pop(stale).cancel()
        for ahead in wanted:
            if self.first <= ahead <= self.last and ahead not in self._images and ahead not in self._pending:
                self._pending[ahead] = self._pool.submit(self._decode, ahead)
