"""Dense optical flow between neighbouring frames, and carrying values along it.

Sources: Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow using Dense Inverse Search", ECCV 2016 (the flow, as
OpenCV implements it); Sundaram, Brox and Keutzer, "Dense Point Trajectories by GPU-accelerated Large Displacement
Optical Flow", ECCV 2010 (the forward-backward check).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.propagation.engine import FrameSource

Displacement = NDArray[np.float32]
"""(h, w, 2), x then y, pixels of the flow's size: where each pixel lies in the other frame."""
Colours = NDArray[np.uint8]
Key = TypeVar("Key")
Array = TypeVar("Array", bound=NDArray[Any])

LONGER_SIDE_PX = 640
"""Flow is computed at no more: DIS at 1080p takes ten times as long and is no more accurate on plates with grain and
motion blur; edges get their plate resolution afterwards, from the plate itself."""
FINEST_SCALE = 0
"""Full size. OpenCV's presets stop at half or a quarter, and so carry a rim of background along with each object: on
five clips with 5 annotations J is 0.836 with the medium preset as it comes, and 0.855 with the fast one at full size.
The medium one there makes it 0.858, at 1.5 times the time of a frame."""
REFINEMENT_ITERATIONS = 2
"""Of variational refinement, instead of the preset's 5, which take half of DIS's time here and gain 0.0002."""
SHORTER_SIDE_PX = 48
"""Smaller plates are enlarged: DIS needs a pyramid of a few of its 8 px patches."""
CACHE_BYTES = 1 << 28
"""For flow, and as much for colours: about 140 frames at 640x360. What falls out is computed again."""
FB_RELATIVE, FB_ABSOLUTE = 0.01, 0.5
"""Sundaram's tolerance: |f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5."""


class FramePair(NamedTuple):
    """Flow at ``target``'s pixels towards ``source``, and where it cannot be trusted.

    ``unsure`` is 1 where the flow back does not return, else 0.
    """

    displacement: Displacement
    unsure: NDArray[np.float32]


class PlateFlow:
    """The plate at the flow's size, and flow between neighbours, computed when asked for.

    Args:
        source: the plate.
        cache_bytes: for flow, and as much again for colours.
        longer_side_px: see ``flow_size``.
        estimate: another estimator than DIS: takes two frames (h, w, 3) RGB and returns the flow at the first's pixels
            towards the second.

    Attributes:
        frames_held: over as many frames flow in both directions is kept.
    """

    def __init__(
        self,
        source: FrameSource,
        *,
        cache_bytes: int | None = None,
        longer_side_px: int = LONGER_SIDE_PX,
        estimate: Callable[[Colours, Colours], Displacement] | None = None,
    ) -> None:
        cache_bytes = CACHE_BYTES if cache_bytes is None else cache_bytes
        self._source = source
        self.size = flow_size(source.size, longer_side_px=longer_side_px)
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._dis.setFinestScale(FINEST_SCALE)
        self._dis.setVariationalRefinementIterations(REFINEMENT_ITERATIONS)
        self._estimate = estimate
        self.frames_held = cache_bytes // (2 * 2 * 2 * self.size[0] * self.size[1])
        self._colours = _Cache[int, Colours](cache_bytes)
        self._flow = _Cache[tuple[int, int], NDArray[np.float16]](cache_bytes)

    def colours(self, frame: int) -> Colours:
        """Return (h, w, 3) RGB, 8 bits."""
        return self._colours.get(frame, lambda: self._shrink(frame))

    def pair(self, target: int, source: int) -> FramePair:
        """Return the flow at ``target`` towards its neighbour ``source``."""
        there = self.displacement(target, source)
        return FramePair(there, disagreement(there, self.displacement(source, target)))

    def displacement(self, target: int, source: int) -> Displacement:
        """Return the flow alone, without the check."""

        def compute() -> NDArray[np.float16]:
            # Not bound once for all: flow that holds itself would outlive its shot.
            estimate = self._estimate or self._dense_inverse_search
            flow = estimate(self.colours(target), self.colours(source))
            return np.asarray(flow, dtype=np.float16)  # half: 1/32 px at 64 px

        return self._flow.get((target, source), compute).astype(np.float32)

    def _dense_inverse_search(self, target: Colours, source: Colours) -> Displacement:
        grey = [cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY) for colours in (target, source)]
        return np.asarray(self._dis.calc(grey[0], grey[1], np.zeros((*self.size, 2), np.float32)), dtype=np.float32)

    def _shrink(self, frame: int) -> Colours:
        height, width = self.size
        small = resize_area(self._source.image(frame), (height, width))
        return np.asarray(np.rint(np.clip(small, 0.0, 1.0) * 255.0), dtype=np.uint8)


def flow_size(plate_size: tuple[int, int], *, longer_side_px: int = LONGER_SIDE_PX) -> tuple[int, int]:
    """Return (height, width) at which flow is computed for a plate of (height, width)."""
    height, width = plate_size
    scale = min(1.0, longer_side_px / max(height, width))
    return max(SHORTER_SIDE_PX, round(height * scale)), max(SHORTER_SIDE_PX, round(width * scale))


def resize_area(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize to (height, width): the mean over each new pixel's area where it shrinks, linear where it grows."""
    height, width = size
    if values.shape[:2] == (height, width):
        return values
    shrinks = height < values.shape[0] or width < values.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=how), dtype=np.float32)


def carry(values: NDArray[np.float32], displacement: Displacement) -> NDArray[np.float32]:
    """Fetch values from where each pixel came from; beyond the picture its rim repeats.

    Args:
        values: (h, w) or (h, w, C) on the source frame.
        displacement: at the target's pixels, towards the source.
    """
    columns, rows = _pixel_grid(*displacement.shape[:2])
    columns, rows = columns + displacement[..., 0], rows + displacement[..., 1]

    def fetch(part: NDArray[np.float32]) -> NDArray[np.float32]:
        fetched = cv2.remap(part, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(fetched, dtype=np.float32).reshape(*columns.shape, -1)

    if values.ndim == 2:
        return fetch(values)[..., 0]
    # OpenCV interpolates at most 4 channels at a time.
    return np.concatenate([fetch(values[..., at : at + 4]) for at in range(0, values.shape[-1], 4)], axis=-1)


@lru_cache(maxsize=4)
def _pixel_grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return columns, rows


def disagreement(there: Displacement, back: Displacement) -> NDArray[np.float32]:
    """Mark with 1 each pixel from which flow there and back does not return, by Sundaram's test; else 0.

    Args:
        there: at this frame, towards the other.
        back: at the other, towards this one.
    """
    returned = carry(back, there)
    tolerance = FB_RELATIVE * (_squared_length(there) + _squared_length(returned)) + FB_ABSOLUTE
    return np.asarray(_squared_length(there + returned) > tolerance, dtype=np.float32)


def _squared_length(displacement: Displacement) -> NDArray[np.float32]:
    # Written out: numpy's sum over an axis of two elements takes five times as long.
    x, y = displacement[..., 0], displacement[..., 1]
    return np.asarray(x * x + y * y, dtype=np.float32)


class _Cache(Generic[Key, Array]):
    """Arrays by key, the least recently used dropped beyond a number of bytes."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._held: OrderedDict[Key, Array] = OrderedDict()
        self._bytes = 0

    def get(self, key: Key, compute: Callable[[], Array]) -> Array:
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        array = compute()
        self._held[key] = array
        self._bytes += array.nbytes
        while self._bytes > self._capacity_bytes and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes
        return array
