"""What a shot's mattes look like over time: confidence, stability, seams, and the frames worth a look."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rotomem.errors import CancelledError, PlateMissingError, SettingError
from rotomem.plates import FramePattern, MatteMetadata, PlateSource, read_alpha, read_matte_metadata
from rotomem.session.seams import JumpMeter, find_seams
from rotomem.session.shot import PlateReference, Progress, Seam
from rotomem.session.suggest import SuggestionTask, suggest_shot

Floats = NDArray[np.float32]

THUMBNAILS = 6


@dataclass(frozen=True)
class ReportTask:
    """What a report is made from.

    Args:
        matte_pattern: of a propagation's mattes; frames without a file are shown as missing.
        first: first frame, inclusive.
        last: last frame, inclusive.
        suggested: frames to draw next, best first.
        suggest: how many frames to suggest where ``suggested`` names none.
    """

    plate: PlateReference
    matte_pattern: str
    first: int
    last: int
    suggested: tuple[int, ...] = ()
    suggest: int = 0


@dataclass(frozen=True)
class Thumbnail:
    """One frame's picture.

    Args:
        plate: (H, W, 3) display-encoded in [0, 1].
        matte: (H, W) in [0, 1], of all objects.
        reason: why it is shown, in a few words.
    """

    frame: int
    plate: Floats
    matte: Floats
    reason: str


@dataclass(frozen=True)
class ShotReport:
    """One shot's figures by frame.

    Args:
        frames: of the report, ascending.
        annotated: frames that the artist drew.
        made: metadata of every matte that is there.
        jumps: from each frame to the next, by the earlier one; see ``rotomem.session.seams``.
        seams: at the annotated frames.
        suggested: best first.
        thumbnails: ascending, at most ``THUMBNAILS``.
    """

    frames: range
    annotated: tuple[int, ...]
    made: dict[int, MatteMetadata]
    jumps: dict[int, float]
    seams: tuple[Seam, ...]
    suggested: tuple[int, ...]
    thumbnails: tuple[Thumbnail, ...]

    @property
    def confidence(self) -> dict[int, float]:
        """Figure by frame, where it was measured."""
        return {frame: one.confidence for frame, one in self.made.items() if one.confidence is not None}

    @property
    def worst_seam(self) -> Seam | None:
        """The seam that stands out most; None where there is none."""
        return max(self.seams, key=lambda seam: seam.excess, default=None)


def measure_report(
    task: ReportTask, *, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> ShotReport:
    """Read a shot's mattes and plate, frame by frame, and measure them.

    Args:
        on_progress: told before the first frame and after each one.
        cancelled: asked between frames.

    Raises:
        SettingError: an empty range.
        PlateMissingError: there is no matte at all in the range.
        PlateError: a matte or a frame of the plate cannot be read.
        CancelledError: asked to stop.
    """
    if task.first > task.last:
        raise SettingError(f"the range {task.first}-{task.last} is empty; the first frame must not be after the last")
    frames = range(task.first, task.last + 1)
    files = FramePattern.parse(task.matte_pattern)
    made = {frame: read_matte_metadata(files.path(frame)) for frame in frames if files.path(frame).is_file()}
    if not made:
        raise PlateMissingError(
            f"there are no mattes {task.matte_pattern} in {task.first}-{task.last}; propagate first, or check the path"
        )
    source = PlateSource(
        pattern=task.plate.pattern,
        files=task.plate.files,
        first=task.plate.first,
        last=task.plate.last,
        colourspace=task.plate.colourspace,
    )
    with contextlib.closing(source):
        annotated = tuple(frame for frame, metadata in made.items() if metadata.annotated)
        jumps = dict(_measure_jumps(source, files, sorted(made), on_progress, cancelled))
        report = ShotReport(
            frames=frames,
            annotated=annotated,
            made=made,
            jumps=jumps,
            seams=find_seams(jumps, annotated),
            suggested=_suggested(task, annotated, cancelled),
            thumbnails=(),
        )
        return _with_thumbnails(report, source, files)


def _measure_jumps(
    source: PlateSource,
    files: FramePattern,
    made: list[int],
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> Iterator[tuple[int, float]]:
    meter = JumpMeter(source)
    started = time.monotonic()
    on_progress(Progress(0, len(made), "measuring", 0.0))
    earlier: tuple[int, Floats] | None = None
    for count, frame in enumerate(made, start=1):
        if cancelled():
            raise CancelledError(f"cancelled after {count - 1} of {len(made)} frames; no report was written")
        matte = meter.shrink(read_alpha(files.path(frame), frame))
        if earlier is not None and earlier[0] == frame - 1:
            yield frame - 1, meter.jump(frame - 1, earlier[1], matte)
        earlier = frame, matte
        on_progress(Progress(count, len(made), "measuring", count / max(time.monotonic() - started, 1e-9)))


def _suggested(task: ReportTask, annotated: tuple[int, ...], cancelled: Callable[[], bool]) -> tuple[int, ...]:
    if task.suggested or not task.suggest:
        return tuple(frame for frame in task.suggested if task.first <= frame <= task.last)
    wanted = SuggestionTask(
        plate=task.plate,
        annotated=annotated,
        first=task.first,
        last=task.last,
        matte_pattern=task.matte_pattern,
        count=task.suggest,
    )
    found = suggest_shot(wanted, on_progress=lambda _: None, cancelled=cancelled)
    return tuple(suggestion.frame for suggestion in found)


def _with_thumbnails(report: ShotReport, source: PlateSource, files: FramePattern) -> ShotReport:
    chosen = _choose_thumbnails(report)
    thumbnails = [
        Thumbnail(frame, source.image(frame), read_alpha(files.path(frame), frame), reason)
        for frame, reason in sorted(chosen.items())
    ]
    return ShotReport(**{**vars(report), "thumbnails": tuple(thumbnails)})


def _choose_thumbnails(report: ShotReport) -> dict[int, str]:
    """Return frames and why each is worth a look: what to fix first, then what was drawn."""
    chosen: dict[int, str] = {}
    propagated = [frame for frame in report.made if frame not in report.annotated]
    confidence = {frame: value for frame, value in report.confidence.items() if frame in propagated}
    if confidence:
        chosen[min(confidence, key=lambda frame: (confidence[frame], frame))] = "least certain"
    seam = report.worst_seam
    if seam is not None and seam.excess > 0:
        chosen.setdefault(seam.neighbour, f"jumps beside frame {seam.annotated}")
    for number, frame in enumerate(report.suggested, start=1):
        if frame in report.made:
            chosen.setdefault(frame, f"suggestion {number}")
    for frame in [*report.annotated[:1], *report.annotated[:0:-1]]:
        chosen.setdefault(frame, "drawn")
    return dict(list(chosen.items())[:THUMBNAILS])
