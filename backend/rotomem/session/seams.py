"""How much mattes jump from frame to frame beyond the plate's own motion, above all beside annotated frames.

Carried frames follow the plate's edges, an annotated one is the artist's to the bit: where the two were made in another
manner, the matte pops. The jump between two neighbouring frames is the mean absolute difference of their mattes after
the earlier one has been moved along the plate's optical flow, as a share of the mattes' area:
sum(abs(b - moved a)) / mean(sum(a), sum(b)). What is left without any pop is the error of the flow, new and hidden
parts of the object, and edges that flicker; so each seam is compared with the next pairs of propagated frames.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from rotomem.errors import PlateError
from rotomem.plates import FramePattern, read_alpha
from rotomem.propagation.engine import FrameSource
from rotomem.propagation.flow import PlateFlow, carry, resize_area
from rotomem.propagation.trail import PackedShares
from rotomem.session.shot import Seam

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]

LONGER_SIDE_PX = 320
"""Mattes are compared at this size. Areas survive the shrinking, and flow takes a quarter of the engine's time."""
COMPARED_PAIRS = 2
"""A seam is compared with as many pairs of propagated frames beside it."""
CACHE_BYTES = 1 << 25
LEAST_AREA_PX = 16.0
"""At the compared size: an object smaller than this is as good as not there, and no share of it means much."""


class JumpMeter:
    """Compares neighbouring frames' mattes.

    Args:
        source: the plate.
    """

    def __init__(self, source: FrameSource) -> None:
        self._flow = PlateFlow(source, cache_bytes=CACHE_BYTES, longer_side_px=LONGER_SIDE_PX)

    def shrink(self, union: Floats) -> Floats:
        """Bring a matte (H, W) to the size at which mattes are compared."""
        return resize_area(union, self._flow.size)

    def jump(self, frame: int, earlier: Floats, later: Floats) -> float:
        """Return the jump from ``frame`` to the next one; 0 or more, 1 is the mattes' whole area.

        Args:
            earlier: (h, w) in [0, 1], as ``shrink`` returns it, on ``frame``.
            later: likewise on the next frame.

        Raises:
            PlateError: one of the two cannot be read.
        """
        moved = carry(earlier, self._flow.displacement(frame + 1, frame))
        area = 0.5 * float(earlier.sum(dtype=np.float64) + later.sum(dtype=np.float64))
        return float(np.abs(later - moved).sum(dtype=np.float64)) / max(area, LEAST_AREA_PX)


class SeamMeter:
    """Measures the jumps near annotated frames while a job makes the mattes there.

    Args:
        annotated: frames on which an object is annotated.
        frames: of the job.
    """

    def __init__(self, source: FrameSource, annotated: Collection[int], frames: range) -> None:
        self._meter = JumpMeter(source)
        self._annotated = frozenset(annotated)
        reach = range(-COMPARED_PAIRS - 1, COMPARED_PAIRS + 2)
        self._near = frozenset(frame + step for frame in annotated for step in reach).intersection(frames)
        self._open = {
            frame for frame in self._near if frame + 1 in self._near and not {frame, frame + 1} <= self._annotated
        }
        self._mattes: dict[int, PackedShares] = {}
        self._jumps: dict[int, float] = {}

    def add(self, frame: int, mattes: Floats) -> None:
        """Take note of a frame's mattes (K, H, W), and measure what can be: now the plate's frames are at hand."""
        if frame not in self._near:
            return
        self._mattes[frame] = PackedShares(self._meter.shrink(union(mattes)))
        for earlier in (frame - 1, frame):
            if earlier in self._mattes and earlier + 1 in self._mattes:
                self._measure(earlier)

    def finish(self, files: FramePattern) -> tuple[Seam, ...]:
        """Return the seam at each pair of an annotated and a propagated frame; see ``find_seams``.

        Args:
            files: of the mattes, for frames that this job did not make.
        """
        for earlier in sorted(self._open):
            try:
                for frame in (earlier, earlier + 1):
                    if frame not in self._mattes:
                        alpha = read_alpha(files.path(frame), frame)
                        self._mattes[frame] = PackedShares(self._meter.shrink(alpha))
            except PlateError as error:
                log.warning("the step from frame %d to %d is not measured: %s", earlier, earlier + 1, error)
            else:
                self._measure(earlier)
        return find_seams(self._jumps, self._annotated)

    def _measure(self, earlier: int) -> None:
        if earlier not in self._open:
            return
        self._open.discard(earlier)
        pair = [self._mattes[frame].unpack() for frame in (earlier, earlier + 1)]
        try:
            self._jumps[earlier] = self._meter.jump(earlier, *pair)
        except PlateError as error:  # of an engine that itself never reads the plate
            log.warning("the step from frame %d to %d is not measured: %s", earlier, earlier + 1, error)


def find_seams(jumps: Mapping[int, float], annotated: Collection[int]) -> tuple[Seam, ...]:
    """Compare each jump beside an annotated frame with the jumps that follow on the same side.

    Args:
        jumps: from each frame to the next, by the earlier frame.
        annotated: frames.
    """
    seams = []
    for frame in sorted(annotated):
        for step in (-1, 1):
            neighbour = frame + step
            pair = min(frame, neighbour)
            if neighbour in annotated or pair not in jumps:
                continue
            usual = []
            for distance in range(1, COMPARED_PAIRS + 1):
                further = pair + step * distance
                if further not in jumps or {further, further + 1}.intersection(annotated):
                    break
                usual.append(jumps[further])
            seams.append(Seam(frame, neighbour, jumps[pair], float(np.mean(usual)) if usual else None))
    return tuple(seams)


def union(mattes: Floats) -> Floats:
    """Return what is seen of any object, as channel ``A`` of a matte file holds it; (K, H, W) to (H, W)."""
    if len(mattes) == 1:
        return np.asarray(mattes[0], dtype=np.float32)
    uncovered = 1.0 - mattes[0]
    for matte in mattes[1:]:
        uncovered *= 1.0 - matte
    return np.asarray(1.0 - uncovered, dtype=np.float32)
