"""The artist's shapes and alphas as mattes of the plate's size, in bounded memory."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rotomem.errors import AnnotationError, AnnotationSizeError, EmptyAnnotationError, PlateError
from rotomem.matte import rasterize_shapes
from rotomem.plates import read_alpha
from rotomem.propagation.engine import Image
from rotomem.session.shot import ShotAnnotation

EMPTY_BELOW = 0.5 / 255
"""A matte whose maximum is below half an 8-bit step covers nothing."""
OPEN_BYTES = 1 << 28
"""Mattes held as arrays: 32 of 1080p."""


class AnnotatedMattes(Mapping[int, Mapping[str, Image]]):
    """Frame to object to matte (H, W) float32 in [0, 1], not to be changed.

    The last mattes asked for are held as arrays; the others wait deflated, without loss, cut to where they are not
    zero, which is about a hundredth of their size. So many annotated frames of many objects fit into memory at any
    plate size.

    Args:
        size: (height, width) of each matte, pixels.
        open_bytes: of arrays.
    """

    def __init__(self, size: tuple[int, int], *, open_bytes: int = OPEN_BYTES) -> None:
        self._size = size
        self._open_bytes = open_bytes
        self._packed: dict[int, dict[str, _Packed | None]] = {}  # None as long as it has been open ever since
        self._open: OrderedDict[tuple[int, str], Image] = OrderedDict()

    def put(self, frame: int, name: str, matte: Image) -> None:
        """Hold a matte (H, W) float32."""
        self._packed.setdefault(frame, {})[name] = None
        self._keep_open(frame, name, matte)

    def __getitem__(self, frame: int) -> Mapping[str, Image]:
        return _FrameMattes(self, frame, self._packed[frame])

    def __iter__(self) -> Iterator[int]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def matte(self, frame: int, name: str) -> Image:
        """Return one matte; ``KeyError`` where that object is not annotated there."""
        packed = self._packed[frame][name]
        if packed is not None and (frame, name) not in self._open:
            self._keep_open(frame, name, packed.unpack(self._size))
        self._open.move_to_end((frame, name))
        return self._open[frame, name]

    def _keep_open(self, frame: int, name: str, matte: Image) -> None:
        self._open[frame, name] = matte
        while len(self._open) > max(1, self._open_bytes // max(1, matte.nbytes)):
            (old_frame, old_name), old = self._open.popitem(last=False)
            if self._packed[old_frame][old_name] is None:
                self._packed[old_frame][old_name] = _Packed.of(old)


class _FrameMattes(Mapping[str, Image]):
    """One frame's part of :class:`AnnotatedMattes`."""

    def __init__(self, mattes: AnnotatedMattes, frame: int, names: Mapping[str, object]) -> None:
        self._mattes = mattes
        self._frame = frame
        self._names = names

    def __getitem__(self, name: str) -> Image:
        return self._mattes.matte(self._frame, name)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # Mapping's own would unpack the matte.

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class _Packed:
    """A matte's rectangle that is not zero, deflated without loss."""

    top: int
    left: int
    shape: tuple[int, int]
    deflated: bytes

    @classmethod
    def of(cls, matte: Image) -> _Packed:
        rows, columns = np.flatnonzero(matte.any(axis=1)), np.flatnonzero(matte.any(axis=0))
        if not rows.size:
            return cls(0, 0, (0, 0), b"")
        top, left = int(rows[0]), int(columns[0])
        part = np.ascontiguousarray(matte[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1], dtype=np.float32)
        return cls(top, left, (part.shape[0], part.shape[1]), zlib.compress(part.tobytes(), 1))

    def unpack(self, size: tuple[int, int]) -> Image:
        matte = np.zeros(size, np.float32)
        if self.deflated:
            part = np.frombuffer(zlib.decompress(self.deflated), np.float32).reshape(self.shape)
            matte[self.top : self.top + self.shape[0], self.left : self.left + self.shape[1]] = part
        return matte


def rasterize_annotations(annotations: tuple[ShotAnnotation, ...], *, size: tuple[int, int]) -> AnnotatedMattes:
    """Turn every annotation into a matte.

    Args:
        size: (height, width) of the plate's display window, pixels.

    Returns:
        frame to object to matte (H, W) in [0, 1].

    Raises:
        EmptyAnnotationError: a shape or alpha covers nothing and is not said to be absent.
        AnnotationSizeError: an alpha file of another size than the plate.
    """
    mattes = AnnotatedMattes(size)
    for annotation in annotations:
        mattes.put(annotation.frame, annotation.object_name, _rasterize(annotation, size))
    return mattes


def _rasterize(annotation: ShotAnnotation, size: tuple[int, int]) -> Image:
    height, width = size
    where = f"frame {annotation.frame}, object {annotation.object_name!r}"
    if annotation.absent:
        matte = np.zeros(size, np.float32)
    elif annotation.alpha is not None:
        try:
            matte = read_alpha(annotation.alpha, annotation.frame)
        except PlateError as error:
            raise AnnotationError(f"{where}: the annotation cannot be read: {error}") from error
        if matte.shape != size:
            raise AnnotationSizeError(
                f"{where}: the alpha {annotation.alpha} is {matte.shape[1]}x{matte.shape[0]} but the plate is "
                f"{width}x{height}; render it at the plate's size"
            )
    else:
        matte = rasterize_shapes(annotation.shapes, width=width, height=height)
    if not annotation.absent and float(matte.max(initial=0.0)) < EMPTY_BELOW:
        raise EmptyAnnotationError(
            f"{where}: the annotation covers no pixel of the plate; draw the object, or mark it absent on this frame"
        )
    return matte
