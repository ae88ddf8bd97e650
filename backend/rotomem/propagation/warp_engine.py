"""The ``warp`` engine: needs no weights; carries annotated mattes along optical flow from both sides.

Per gap between annotations: the mattes of both sides are carried frame by frame along DIS flow; each pixel keeps a
variance, which grows by the frame, and by much more where the flow fails the forward-backward check; at each frame the
colours of both annotated frames pull at what was carried; both sides are fused by the inverse of their variances, and
the edges are snapped to the plate at its own resolution. Decision and measurements: ``docs/decisions/0008``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.matte import snap_edges
from rotomem.propagation.colour_votes import inside_probability
from rotomem.propagation.engine import Annotations, FrameSource, Image, PropagatedFrame
from rotomem.propagation.flow import LONGER_SIDE_PX, Displacement, FramePair, PlateFlow, resize_area
from rotomem.propagation.gaps import Gap, annotated_frames_by_object, distance_from, nearest, split_gaps
from rotomem.propagation.phase_clock import READING, ClockedSource, PhaseClock
from rotomem.propagation.spool import Spool
from rotomem.propagation.trail import Belief, PackedBelief, PackedCounts, Trail

Floats = NDArray[np.float32]

EDGE_WIDTH_PX = 2.0
"""Of the plate, before snapping: an anti-aliased edge. Fused mattes are probabilities, spread over as many pixels as
the sides disagree, and no wider edge in the picture follows from that."""
LEAST_SLOPE = 0.02
"""Per pixel at the flow's size: a matte flatter than this is undecided, and its slope says nothing of the edge."""
SNAP_RADIUS_PX = 3
"""At the flow's size: how far off a carried edge typically is. Wider bands reach into texture."""
SNAP_EPSILON = 1e-3
"""Footage's texture and grain ask for ten times the synthetic plate's: contrast below 0.03 is no edge."""
FULL_SNAP_FRAMES = 3
"""This far from an annotation edges are snapped in full, nearer to it less: the artist's own matte is not, and so one
that was drawn loosely would pop against tight neighbours."""
WAITING_BYTES = 1 << 28
"""Of packed beliefs and votes in main memory: a gap of some 1,500 frames of one object. The rest lies in a file."""
HALF_TRUST_VARIANCE = 30.0
"""Confidence is halved where the fused variance is that of as many frames of trusted flow."""


class WarpEngine:
    """Satisfies ``Engine``.

    Args:
        refine_edges: snap the mattes' edges to the plate.
        processing_size: shorter side of the flow, pixels; 0 is 640 pixels on the longer side.
    """

    name = "warp"
    weights_sha256 = ""

    def __init__(self, *, refine_edges: bool = True, processing_size: int = 0) -> None:
        self._refine_edges = refine_edges
        self._processing_size = processing_size

    def propagate(
        self,
        source: FrameSource,
        annotations: Annotations,
        objects: Sequence[str],
        frames: Sequence[int],
        *,
        cancelled: Callable[[], bool],
        focus: int | None = None,
    ) -> Iterator[PropagatedFrame]:
        """Yield frames gap by gap, within a gap from its far end; frames annotated for all objects come first.

        With ``focus`` gaps and annotated frames come by their distance from it. A frame's result depends on the plate
        and on the annotations that bound its gaps alone: neither on ``focus`` nor on what else is in ``frames``.

        Memory: flow and colours within a fixed budget, packed beliefs within another (about 150 KB per frame and object
        of the current gap; beyond the budget in a temporary file), and a few arrays of the plate's size per object.

        Raises:
            AnnotationError: an object is annotated nowhere, or a matte has another size than the plate.
            PlateError: a frame cannot be read.
        """
        run = WarpRun(
            source,
            annotations,
            objects,
            refine_edges=self._refine_edges,
            cancelled=cancelled,
            processing_size=self._processing_size,
        )
        return run.results(frames, focus)


class Refine(Protocol):
    """Looks again at what was carried to a frame."""

    def __call__(
        self, frame: int, objects: tuple[str, ...], before: Belief | None, after: Belief | None, belief: Belief
    ) -> Belief:
        """Return a better belief of ``objects`` than the fused ``belief``; all at the flow's size."""


class _Cancelled(Exception):  # noqa: N818 - control flow inside this module, not an error
    """Unwinds the passes of a gap."""


class _Sides:
    """How much the beliefs from both sides differ at one frame; see ``PropagatedFrame.disagreement``."""

    def __init__(self) -> None:
        self._apart = 0.0
        self._either: float | None = None

    def compare(self, one: Floats, other: Floats) -> None:
        """Count some objects' mattes (h, w, K)."""
        self._apart += float(np.abs(one - other).sum(dtype=np.float64))
        self._either = (self._either or 0.0) + float(np.maximum(one, other).sum(dtype=np.float64))

    @property
    def disagreement(self) -> float | None:
        """In [0, 1]; None where nothing was compared."""
        return None if self._either is None else self._apart / max(self._either, 1.0)


class WarpRun:
    """One propagation.

    Attributes:
        plate: flow between neighbouring frames.
        annotated: frames of each object, ascending.
        refine: changes what is believed of a frame, once both sides are known; None leaves it.
    """

    def __init__(
        self,
        source: FrameSource,
        annotations: Annotations,
        objects: Sequence[str],
        *,
        refine_edges: bool,
        cancelled: Callable[[], bool],
        processing_size: int = 0,
        refine: Refine | None = None,
    ) -> None:
        self.refine = refine
        self._clock = PhaseClock()
        self._source = ClockedSource(source, self._clock)
        self._annotations = annotations
        self._objects = tuple(objects)
        self._refine_edges = refine_edges
        self._cancelled = cancelled
        self.plate = PlateFlow(self._source, longer_side_px=_longer_side(source.size, processing_size))
        self.annotated = annotated_frames_by_object(annotations, self._objects, source.size)
        self._spool = Spool(WAITING_BYTES)
        self._waiting: dict[int, dict[tuple[str, ...], PackedBelief]] = {}
        self._sides: defaultdict[int, _Sides] = defaultdict(_Sides)

    def results(self, frames: Sequence[int], focus: int | None) -> Iterator[PropagatedFrame]:
        drawn = [frame for frame in frames if all(frame in self.annotated[name] for name in self._objects)]
        parts: list[int | Gap] = [*drawn, *split_gaps(self.annotated, frames)]
        if focus is not None:
            parts.sort(key=lambda part: distance_from(_frames_of(part), focus))
        try:
            for part in parts:
                if isinstance(part, Gap):
                    yield from self._results_of(part)
                else:
                    self.check_cancelled()
                    yield self._finish(part, {})
        except _Cancelled:
            return

    def _results_of(self, gap: Gap) -> Iterator[PropagatedFrame]:
        """Fill one gap; yield the frames that need no other gap's objects any more."""
        for frame, belief in self._fill(gap):
            if self._is_complete(frame, [gap.objects]):
                yield self._finish(frame, {gap.objects: belief})
                continue
            # Packed even if it is the last one: the order of the gaps must not show in the result.
            waiting = {gap.objects: PackedBelief(belief, self._spool), **self._waiting.pop(frame, {})}
            if self._is_complete(frame, list(waiting)):
                yield self._finish(frame, {names: packed.unpack() for names, packed in waiting.items()})
            else:
                self._waiting[frame] = waiting

    def check_cancelled(self) -> None:
        """End the results here if the job was cancelled."""
        if self._cancelled():
            raise _Cancelled

    # The passes over one gap

    def _fill(self, gap: Gap) -> Iterator[tuple[int, Belief]]:
        if gap.left is not None and gap.right is not None:
            return self._fill_from_both_sides(gap, gap.left, gap.right)
        if gap.left is not None:
            return self._fill_from_one_side(gap, gap.left, step=1)
        assert gap.right is not None  # a gap has an annotation on at least one side
        return self._fill_from_one_side(gap, gap.right, step=-1)

    def _fill_from_one_side(self, gap: Gap, key: int, *, step: int) -> Iterator[tuple[int, Belief]]:
        trail = self._trail(gap, key, step=step)
        end = gap.frames[-1] if step == 1 else gap.frames[0]
        for frame in range(key + step, end + step, step):
            pair = self._pair(frame, frame - step)
            votes = self._count_votes(trail, frame, pair.displacement)
            belief = self._carry(trail, pair, inside_probability(votes, self.plate.size))
            if frame in gap.frames:
                sides = (belief, None) if step == 1 else (None, belief)
                yield frame, self._settle(frame, gap, *sides)

    def _fill_from_both_sides(self, gap: Gap, left: int, right: int) -> Iterator[tuple[int, Belief]]:
        """Three passes: the right side's colour votes; the left side, with both sides' votes; the right side's belief.

        Either side needs the other's votes before it gets there; measured, it is worth the extra pass. Votes are
        counted over the whole gap even if few of its frames are wanted, so that these come out as they always do.
        """
        first, last = gap.frames[0], gap.frames[-1]
        from_right = self._trail(gap, right, step=-1)
        packed_votes: dict[int, PackedCounts] = {}
        for frame in range(right - 1, left, -1):
            self.check_cancelled()
            with self._clock.phase("flow"):
                displacement = self.plate.displacement(frame, frame + 1)
            votes = self._count_votes(from_right, frame, displacement)
            packed_votes[frame] = PackedCounts(votes, self._spool)

        from_left = self._trail(gap, left, step=1)
        held: dict[int, PackedBelief] = {}
        for frame in range(left + 1, right):
            pair = self._pair(frame, frame - 1)
            votes = self._count_votes(from_left, frame, pair.displacement)
            nearness = (right - frame) / (right - left)
            votes = nearness * votes + (1.0 - nearness) * packed_votes[frame].unpack()
            packed_votes[frame] = PackedCounts(votes, self._spool)
            if frame <= last:
                belief = self._carry(from_left, pair, inside_probability(votes, self.plate.size))
            if frame in gap.frames:
                held[frame] = PackedBelief(belief, self._spool)

        for frame in range(right - 1, first - 1, -1):
            votes = packed_votes.pop(frame).unpack()
            belief = self._carry(from_right, self._pair(frame, frame + 1), inside_probability(votes, self.plate.size))
            if frame in gap.frames:
                other = held.pop(frame).unpack()
                self._sides[frame].compare(belief.mattes, other.mattes)
                yield frame, self._settle(frame, gap, other, belief)

    def _settle(self, frame: int, gap: Gap, before: Belief | None, after: Belief | None) -> Belief:
        """Return what to believe of a frame, from what was carried there from either side; at least one is there."""
        sides = [side for side in (after, before) if side is not None]
        belief = sides[0] if len(sides) == 1 else sides[0].fused(sides[1])
        return belief if self.refine is None else self.refine(frame, gap.objects, before, after, belief)

    def _trail(self, gap: Gap, key: int, *, step: int) -> Trail:
        size = self.plate.size
        mattes = np.stack([resize_area(self._annotations[key][name], size) for name in gap.objects], axis=-1)
        with self._clock.phase("warp"):
            return Trail(self.plate, key, step=step, mattes=mattes)

    def _pair(self, target: int, source: int) -> FramePair:
        self.check_cancelled()
        with self._clock.phase("flow"):
            return self.plate.pair(target, source)

    def _count_votes(self, trail: Trail, frame: int, displacement: Displacement) -> Floats:
        with self._clock.phase("colour"):
            return trail.count_votes(frame, displacement)

    def _carry(self, trail: Trail, pair: FramePair, votes: Floats) -> Belief:
        with self._clock.phase("warp"):
            return trail.carry_belief(pair, votes)

    # From beliefs at the flow's size to mattes at the plate's

    def _is_complete(self, frame: int, carried: Sequence[tuple[str, ...]]) -> bool:
        return sum(map(len, carried)) + len(self._annotated_on(frame)) == len(self._objects)

    def _annotated_on(self, frame: int) -> Mapping[str, Image]:
        given = self._annotations.get(frame, {})
        return {name: given[name] for name in self._objects if name in given}

    def _finish(self, frame: int, beliefs: Mapping[tuple[str, ...], Belief]) -> PropagatedFrame:
        mattes: dict[str, Image] = dict(self._annotated_on(frame))
        confidence = np.ones(self.plate.size, np.float32)
        image = self._source.image(frame) if beliefs and self._refine_edges else None
        for names, belief in beliefs.items():
            confidence = np.minimum(confidence, _confidence(belief))
            # The objects of a gap share the annotated frames that bound it.
            distance = abs(nearest(self.annotated[names[0]], frame) - frame)
            for index, name in enumerate(names):
                with self._clock.phase("edges"):
                    softness = None if belief.softness is None else belief.softness[..., index]
                    matte = belief.mattes[..., index]
                    mattes[name] = self._plate_matte(matte, softness, image, min(1.0, distance / FULL_SNAP_FRAMES))
        height, width = self._source.size
        timings = self._clock.take()
        timings.pop(READING, None)
        return PropagatedFrame(
            frame=frame,
            mattes=np.stack([mattes[name] for name in self._objects]),
            confidence=np.asarray(cv2.resize(confidence, (width, height)), dtype=np.float32),
            annotated=bool(self._annotated_on(frame)),
            timings_s=timings,
            disagreement=self._sides.pop(frame, _Sides()).disagreement,
        )

    def _plate_matte(self, carried: Floats, softness: Floats | None, image: Image | None, snap: float) -> Image:
        """Bring one object's carried matte to the plate's size, and by the share ``snap`` to its edges.

        Where the annotated matte was a wide ramp (``softness``), the carried ramp stays as it is.
        """
        height, width = self._source.size
        scale = max(height, width) / max(self.plate.size)
        distance_px = cv2.resize(_distance_inside(carried), (width, height), interpolation=cv2.INTER_LINEAR) * scale
        matte = np.asarray(np.clip(distance_px / EDGE_WIDTH_PX + 0.5, 0.0, 1.0), dtype=np.float32)
        if image is not None:
            scale = max(1.0, scale)
            radius_px = round(SNAP_RADIUS_PX * scale)
            snapped = snap_edges(matte, image, radius_px=radius_px, epsilon=SNAP_EPSILON, subsample=int(scale))
            matte = snapped if snap == 1.0 else matte + np.float32(snap) * (snapped - matte)
        if softness is not None:
            soft, ramp = (cv2.resize(part, (width, height)) for part in (softness, carried))
            matte = matte + soft * (ramp - matte)
        return np.asarray(matte, dtype=np.float32)


def _longer_side(size: tuple[int, int], processing_size: int) -> int:
    """Return the flow's longer side for a plate of ``size`` (height, width), pixels."""
    return round(processing_size * max(size) / min(size)) if processing_size else LONGER_SIDE_PX


def _frames_of(part: int | Gap) -> range:
    return part.frames if isinstance(part, Gap) else range(part, part + 1)


def _distance_inside(carried: Floats) -> Floats:
    """Estimate how far inside the contour at one half a pixel lies, from value and slope; (h, w), pixels."""
    across, down = (cv2.Sobel(carried, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    # Not cv2.magnitude: its last bit depends on where the arrays lie in memory, and so differs from run to run.
    slope = np.sqrt(across * across + down * down)
    return np.asarray((carried - 0.5) / np.maximum(slope, LEAST_SLOPE), dtype=np.float32)


def _confidence(belief: Belief) -> Floats:
    """1 where every object is clearly in or out and its belief fresh, 0 where one is a toss-up; (h, w)."""
    trust = HALF_TRUST_VARIANCE / (HALF_TRUST_VARIANCE + belief.variance)
    return np.asarray((trust * np.abs(2.0 * belief.mattes - 1.0)).min(axis=-1), dtype=np.float32)
