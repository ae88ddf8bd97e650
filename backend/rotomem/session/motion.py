"""Mattes from motion alone: from a plate on disk to matte files and a diagnosis, without any annotation."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rotomem import __version__
from rotomem.errors import CancelledError, OutputUnwritableError
from rotomem.plates import FramePattern, MatteMetadata, PlateFrame, PlateSource, write_mattes
from rotomem.propagation.classical_motion import (
    CameraMotion,
    MotionProposal,
    find_cuts,
    overall_motion,
    propose_objects,
    split_at_cuts,
)
from rotomem.propagation.engine import Engine, Image
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_exemplars import find_exemplars, propagate_exemplars
from rotomem.propagation.network_proposal import network_proposal
from rotomem.propagation.segmenter_proposal import segmenter_proposal
from rotomem.propagation.shot_tuning import ShotTuning, TunedToShot
from rotomem.session.annotated_mattes import AnnotatedMattes, rasterize_annotations
from rotomem.session.motion_edges import MatteFinisher
from rotomem.session.motion_models import find_networks, find_segmenter, make_flow
from rotomem.session.motion_task import ENGINE, MotionTask, check_motion_task
from rotomem.session.propagate import engine_of
from rotomem.session.shot import MatteWritten, Progress
from rotomem.session.task_checks import check_not_overwriting

log = logging.getLogger(__name__)

CLASSICAL, SEGMENTER, NETWORKS = "classical", "flow segmenter", "networks"
"""What objects are found by."""
PASSES = 5
"""Of a frame: looked at for cuts, measured, cut into regions, linked, written."""


@dataclass(frozen=True)
class FrameDiagnosis:
    """One frame.

    Args:
        camera: None in a shot of one frame.
        residual_px: 99th percentile of the motion against the camera, plate pixels per frame.
        confidence: of the mattes, in [0, 1]; 0 where nothing is seen.
        objects: names of the layers in which something is seen.
    """

    frame: int
    camera: CameraMotion | None
    residual_px: float
    confidence: float
    objects: tuple[str, ...]


@dataclass(frozen=True)
class ShotDiagnosis:
    """One shot of the plate, from cut to cut.

    Args:
        first, last: frames, inclusive.
        gap: frames apart at which motion was looked at.
        sentence: what the camera does, and whether anything moves against it.
        camera: overall; None in a shot of one frame.
        found: how many objects move, of which the first ones have mattes.
        frames: each one.
    """

    first: int
    last: int
    gap: int
    sentence: str
    camera: CameraMotion | None
    found: int
    frames: tuple[FrameDiagnosis, ...]


@dataclass(frozen=True)
class MotionSummary:
    """What a finished job made.

    Args:
        cuts: first frame of each new shot.
        flow: ``dis`` or ``raft``.
        found_by: ``classical`` means; or the ``flow segmenter`` or motion ``networks``, if a shot's objects are theirs.
        objects: names of the layers.
        seconds: of the whole job.
        warnings: sentences, such as repaired NaN pixels.
    """

    cuts: tuple[int, ...]
    shots: tuple[ShotDiagnosis, ...]
    flow: str
    found_by: str
    objects: tuple[str, ...]
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """False where no shot has any motion to speak of."""
        return any(shot.found for shot in self.shots)

    def sentences(self) -> tuple[str, ...]:
        """Say shot by shot what was found, then which objects have no layer, then the warnings."""
        told = [f"frames {shot.first}-{shot.last}: {shot.sentence}" for shot in self.shots]
        left = max((shot.found for shot in self.shots), default=0) - len(self.objects)
        if left > 0:
            told.append(f"{left} more object{'s' * (left > 1)} move{'s' * (left == 1)}; add layers to have them too")
        return (*told, *self.warnings)

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self) | {"moves": self.moves}


def propose_shot(
    task: MotionTask,
    *,
    on_matte: Callable[[MatteWritten], None],
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> MotionSummary:
    """Find what moves in each shot of a plate and write a matte for every frame.

    A shot in which nothing moves gets empty mattes with a confidence of 0, and its sentence says so. Shots are finished
    one after the other: what is written stays when the job is stopped.

    Args:
        on_matte: called after each file is in place.
        on_progress: called often; ``done`` counts passes over frames.
        cancelled: asked between frames.

    Raises:
        SettingError: a range, number of objects, flow or output that cannot be used.
        PlateError: the plate cannot be read.
        WeightsError: RAFT was asked for and cannot be had.
        OutputError: a matte cannot be written.
        CancelledError: asked to stop.
    """
    check_motion_task(task)
    plate = task.plate
    source = PlateSource(
        pattern=plate.pattern, files=plate.files, first=plate.first, last=plate.last, colourspace=plate.colourspace
    )
    frames = range(task.first, task.last + 1)
    with contextlib.closing(source):
        source.check_frames(frames)
        check_not_overwriting(task.output_pattern, source, frames)
        drawn = rasterize_annotations(task.annotations, size=source.size)
        name, flow = make_flow(task, source)
        started = time.monotonic()
        steps = _Steps(PASSES * len(frames), on_progress, cancelled)
        engine = None if task.engine == ENGINE else engine_of(task)
        if isinstance(engine, TunedToShot):
            engine.tuning = ShotTuning(enabled=task.tune)  # not the one that a job before this one left there
        networks = find_networks(task) if task.networks else None
        wanted = task.networks and networks is None
        segmenter, sha256 = (find_segmenter(task, without="--classical") if wanted else None) or (None, "")
        found_by = CLASSICAL
        cuts = find_cuts(source, frames, step=steps.counter("looking for cuts"))
        name_and_weights = (ENGINE, "") if engine is None else (engine.name, engine.weights_sha256)
        writer = _ShotWriter(task, source, drawn, on_matte, *name_and_weights)
        shots = []
        for shot in split_at_cuts(frames, cuts):
            proposal = propose_objects(
                flow, shot, plate_px=max(source.size) / max(flow.size), step=steps.counter("finding motion")
            )
            classical = proposal
            if networks is not None:
                proposal = network_proposal(flow, proposal, networks, cancelled=cancelled)
            elif segmenter is not None:
                proposal = segmenter_proposal(flow, proposal, segmenter, cancelled=cancelled)
            if proposal is not classical:
                found_by = SEGMENTER if networks is None else NETWORKS
            writer.segmenter_sha256 = "" if proposal is classical else sha256
            step = steps.counter("writing mattes")
            if engine is None:
                writer.write(proposal, step)
            else:
                writer.propagate(engine, proposal, flow, step, cancelled)
            shots.append(diagnose(proposal, task.objects))
        return MotionSummary(
            cuts=tuple(cuts),
            shots=tuple(shots),
            flow=name,
            found_by=found_by,
            objects=task.objects,
            seconds=time.monotonic() - started,
            warnings=tuple(source.warnings),
        )


class _Steps:
    """Reports and asks between frames."""

    def __init__(self, total: int, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]) -> None:
        self._total, self._on_progress, self._cancelled = total, on_progress, cancelled
        self._done = 0
        self._started = time.monotonic()

    def counter(self, phase: str) -> Callable[[], None]:
        """Return what to call for each frame; raises ``CancelledError``."""

        def step() -> None:
            if self._cancelled():
                raise CancelledError("cancelled; the finished mattes are kept")
            self._done += 1
            rate = self._done / PASSES / max(time.monotonic() - self._started, 1e-9)
            self._on_progress(Progress(self._done, self._total, phase, rate))

        return step


class _ShotWriter:
    """Writes a proposal's mattes with the plate's windows and metadata.

    Attributes:
        segmenter_sha256: of the flow segmenter that found the objects. It is recorded unless an engine or
            segment-anything, which have a later say, have weights of their own.
    """

    def __init__(
        self,
        task: MotionTask,
        source: PlateSource,
        drawn: AnnotatedMattes,
        on_matte: Callable[[MatteWritten], None],
        engine: str,
        weights_sha256: str,
    ) -> None:
        self._engine = engine
        self._finisher = MatteFinisher(task)
        self._own_sha256 = weights_sha256 or self._finisher.weights_sha256
        self.segmenter_sha256 = ""
        self._task, self._source, self._drawn, self._on_matte = task, source, drawn, on_matte
        self._pattern = FramePattern.parse(task.output_pattern)
        self._plate: PlateFrame = source.plate_frame(task.first)
        folder = self._pattern.path(task.first).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputUnwritableError(
                f"the output folder {folder} cannot be made: {error.strerror}; choose another output"
            ) from error

    @property
    def _weights_sha256(self) -> str:
        return self._own_sha256 or self.segmenter_sha256

    def write(self, proposal: MotionProposal, step: Callable[[], None]) -> None:
        """Write every frame of a shot; raises ``OutputError``."""
        layers = self._task.objects
        for frame in proposal.frames:
            image = self._source.image(frame)
            found = self._finisher.mattes(proposal, frame, image, len(layers))
            self._put(frame, dict(zip(layers, found, strict=True)), proposal.confidence(frame, len(layers)))
            step()

    def propagate(
        self,
        engine: Engine,
        proposal: MotionProposal,
        flow: PlateFlow,
        step: Callable[[], None],
        cancelled: Callable[[], bool],
    ) -> None:
        """Propagate a shot's exemplars and write every frame, an empty one where there are none."""
        exemplars = find_exemplars(self._source, flow, [proposal], self._task.objects, {}, cancelled=cancelled)
        left = set(proposal.frames)
        results = propagate_exemplars(engine, self._source, exemplars, proposal.frames, cancelled=cancelled)
        for frame, mattes, confidence in results:
            self._put(frame, mattes, confidence)
            left.discard(frame)
            step()
        for frame in sorted(left):
            step()  # raises where the engine stopped because it was told to
            self._put(frame, {}, 0.0)

    def _put(self, frame: int, found: Mapping[str, Image], confidence: float) -> None:
        """Write one frame; what has no matte in ``found`` is empty, and what is drawn is as it was drawn."""
        drawn = self._drawn.get(frame, {})
        confidence = 1.0 if drawn else confidence
        height, width = self._source.size
        nothing = np.zeros((height, width), np.float32)
        written = write_mattes(
            self._pattern.path(frame),
            {name: drawn.get(name, found.get(name, nothing)) for name in self._task.objects},
            display_window=self._plate.display_window,
            pixel_aspect=self._plate.pixel_aspect,
            metadata=MatteMetadata(
                engine=self._engine,
                weights_sha256=self._weights_sha256,
                revision=self._task.revision,
                project_version=__version__,
                frame=frame,
                annotated=bool(drawn),
                confidence=confidence,
            ),
        )
        self._on_matte(
            MatteWritten(
                frame=frame,
                path=written.path,
                sha256=written.sha256,
                size=written.size,
                annotated=bool(drawn),
                engine=self._engine,
                confidence=confidence,
                weights_sha256=self._weights_sha256,
            )
        )


def diagnose(proposal: MotionProposal, layers: tuple[str, ...]) -> ShotDiagnosis:
    """Return what was measured on a shot, and what it means."""
    shown = list(zip(layers, proposal.objects, strict=False))
    frames = tuple(
        FrameDiagnosis(
            frame=frame,
            camera=proposal.figures[frame].camera,
            residual_px=proposal.figures[frame].residual_px,
            confidence=proposal.confidence(frame, len(layers)),
            objects=tuple(layer for layer, found in shown if frame in found.track.sightings),
        )
        for frame in proposal.frames
    )
    steps = [figures.camera for figures in proposal.figures.values() if figures.camera is not None]
    camera = overall_motion(steps) if steps else None
    first, last = proposal.frames[0], proposal.frames[-1]
    return ShotDiagnosis(first, last, proposal.gap, _sentence(proposal, camera), camera, len(proposal.objects), frames)


def _sentence(proposal: MotionProposal, camera: CameraMotion | None) -> str:
    if camera is None:
        return "the shot is a single frame, which shows no motion"
    count = len(proposal.objects)
    if not count:
        return (
            f"{camera.sentence()}; there is no motion to speak of against it: 99 % of the picture stays within "
            f"{proposal.residual_px:.2f} px a frame"
        )
    return f"{camera.sentence()}; {count} object{'s' * (count > 1)} move{'s' * (count == 1)} against it"
