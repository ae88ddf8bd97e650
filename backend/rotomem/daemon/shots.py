"""From what is stored of a session to what is told of it, and to the task of a job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rotomem.config import Settings
from rotomem.daemon.rows import AnnotationRow, JobRow, MatteRow, SessionRow, WriterRow
from rotomem.daemon.staleness import Staleness
from rotomem.daemon.store import FEATURES, MATTE_NAME, Store
from rotomem.engine_names import ENGINES_WITH_WEIGHTS, default_engine
from rotomem.errors import AnnotationError, PlateMissingError, RotomemError, SettingError
from rotomem.plates import FramePattern
from rotomem.session.motion_task import MotionTask
from rotomem.session.prompt import PromptTask
from rotomem.session.shot import PlateReference, PropagationTask, ShotAnnotation
from rotomem.session.suggest import SuggestionTask
from rotomem.weights_files import chosen_sha256
from rotomem_client.messages import (
    AnnotatedFrames,
    MatteReady,
    MattesOfRevision,
    Plate,
    PromptFrame,
    Propagate,
    ProposeMotion,
    SessionState,
    SuggestFrames,
)

_MAX_SHOWN = 1024


class Shots:
    """Reads sessions out of a store.

    Args:
        plate_roots: folders below which plates may be read by their pattern; none means anywhere.
        device: what ``auto`` means in a request.
        weights_dir: handed to the engine.
        feature_bytes: that a session's encoded frames may have on disk.
    """

    def __init__(
        self,
        store: Store,
        *,
        plate_roots: Sequence[Path] = (),
        device: str = "auto",
        weights_dir: Path | None = None,
        feature_bytes: int = 0,
    ) -> None:
        self._store = store
        self._plate_roots = [root.resolve() for root in plate_roots]
        self._device = device
        self._weights_dir = weights_dir
        self._feature_bytes = feature_bytes
        self.staleness = Staleness(store, self.annotations, self._weights_sha256)

    def state(self, session: SessionRow, writer: WriterRow | None, *, writing: bool) -> SessionState:
        """Return what a client is told of a session; ``writing`` says that this client is the writer."""
        names = dict(session.object_ids)
        frames: dict[str, list[int]] = {}
        for row in self._store.index.annotations(session.id, session.revision):
            if row.object_id in names:
                frames.setdefault(names[row.object_id], []).append(row.frame)
        mattes = self._store.index.newest_mattes(session.id)
        shown = self._store.index.shown_mattes(session.id)
        fresh = self.staleness.fresh(session, shown)
        stale = [matte for matte in shown if matte.frame not in fresh]
        undoable, redoable = self._store.edits.undo_stacks(session)
        folders = {Path(matte.path).parent for matte in mattes}
        return SessionState(
            session_id=session.id,
            revision=session.revision,
            objects=session.objects,
            annotations=tuple(AnnotatedFrames(name, tuple(frames[name])) for name in sorted(frames)),
            plate_visible=self.can_read(session.plate),
            plate_frames=tuple(self._store.plate_files(session.id)),
            matte_revision=mattes[0].revision if mattes else 0,
            mattes=tuple(matte.frame for matte in mattes),
            matte_pattern=str(folders.pop() / MATTE_NAME) if len(folders) == 1 else "",
            shown=_by_revision(shown),
            stale=tuple(matte.frame for matte in stale),
            stale_reason=self.staleness.reason(session, stale),
            writer=writer.user if writer is not None else "",
            writer_since=writer.since if writer is not None else 0.0,
            writing=writing,
            can_undo=bool(undoable),
            can_redo=bool(redoable),
        )

    def can_read(self, plate: Plate) -> bool:
        """Whether this machine can open the plate's first and last frame by its pattern."""
        if not Path(plate.pattern).is_absolute():
            return False
        try:
            pattern = FramePattern.parse(plate.pattern)
            return all(self._is_readable(pattern.path(frame)) for frame in (plate.first, plate.last))
        except (RotomemError, OSError):
            return False

    def _is_readable(self, path: Path) -> bool:
        resolved = path.resolve()
        if self._plate_roots and not any(resolved.is_relative_to(root) for root in self._plate_roots):
            return False
        return resolved.is_file() and os.access(resolved, os.R_OK)

    def require_ready(self, session: SessionRow, request: Propagate | ProposeMotion) -> None:
        """Refuse a job that cannot begin.

        Raises:
            SettingError: the range reaches outside the plate.
            AnnotationError: nothing is annotated, and that is what mattes are to be made from.
            PlateMissingError: naming the first frame that neither the daemon can read nor the client has sent.
        """
        plate = session.plate
        if request.first < plate.first or request.last > plate.last:
            raise SettingError(
                f"the frame range {request.first}-{request.last} reaches outside the plate, which has frames "
                f"{plate.first}-{plate.last}; shorten the range"
            )
        used, _ = _split_annotations(self._store.index.annotations(session.id, session.revision), session)
        if not used and isinstance(request, Propagate):
            raise AnnotationError("nothing is annotated; draw the object on at least one frame")
        if self.can_read(plate):
            return
        files = self._store.plate_files(session.id)
        first, last = self._frames_read(session, request)
        missing = next((frame for frame in range(first, last + 1) if frame not in files), None)
        if missing is not None:
            where = f"cannot be read at {plate.pattern} by the daemon and " if plate.pattern else ""
            raise PlateMissingError(
                f"frame {missing} of the plate {where}was not uploaded; render it, or shorten the range"
            )

    def note_plate_files(self, session: SessionRow, request: Propagate | ProposeMotion) -> None:
        """Make a new revision if the plate's files have changed on disk since a job last read them.

        Call it within the transaction that accepts a job.
        """
        if not self.can_read(session.plate):
            return
        pattern = FramePattern.parse(session.plate.pattern)
        first, last = self._frames_read(session, request)
        found = {frame: _stamp(pattern.path(frame)) for frame in range(first, last + 1)}
        known = self._store.index.plate_stamps(session.id)
        if any(known.get(frame, stamp) != stamp for frame, stamp in found.items()):
            self._store.index.note_plate_change(session.id, self._store.index.bump_revision(session.id))
        self._store.index.put_plate_stamps(session.id, found)

    def _frames_read(self, session: SessionRow, request: Propagate | ProposeMotion) -> tuple[int, int]:
        """Return the first and the last frame that a job reads."""
        if isinstance(request, ProposeMotion):
            return request.first, request.last
        plate = session.plate
        used, _ = _split_annotations(self._store.index.annotations(session.id, session.revision), session)
        annotated = [row.frame for row in used]
        first = min(max(plate.first, request.first - request.handles), *annotated)
        return first, max(min(plate.last, request.last + request.handles), *annotated)

    def current_mattes(self, job: JobRow) -> list[MatteRow]:
        """Return the mattes that a propagation need not make again."""
        engine = job.request["engine"]
        if engine == "auto":
            # Without a folder of its own, the worker takes the one of the settings.
            folder = self._weights_dir or Settings.load().weights_dir
            tune = Propagate(**job.request).tune
            engine = "xmem" if job.request.get("weights") else default_engine(folder, tune=tune)
        return self.staleness.current(job, engine)

    def _weights_sha256(self, name: str) -> str:
        # Without a folder of its own, the worker takes the one of the settings.
        return chosen_sha256(self._weights_dir or Settings.load().weights_dir, name)

    def task(self, job: JobRow, kept: Sequence[int], pattern: str) -> tuple[PropagationTask, list[str]]:
        """Return a job's task, with the annotations of its revision, and warnings about those that it cannot use.

        Args:
            kept: frames whose mattes lie below ``pattern`` already.
            pattern: where the mattes go.

        Raises:
            AnnotationError: an annotation's alpha is gone.
        """
        session = job.as_session
        _, ignored = _split_annotations(self._store.index.annotations(job.session, job.revision), session)
        request = Propagate(**job.request)
        shown = self._store.index.shown_mattes(job.session, job.revision)
        task = PropagationTask(
            plate=self._plate(session),
            annotations=tuple(self.annotations(session)),
            objects=job.objects,
            first=request.first,
            last=request.last,
            output_pattern=pattern,
            handles=request.handles,
            engine=request.engine,
            device=self._device if request.device == "auto" else request.device,
            revision=job.revision,
            weights=request.weights,
            weights_dir=self._weights_dir,
            refine_edges=request.refine_edges,
            focus=request.focus,
            current=frozenset(kept),
            shown=frozenset(matte.frame for matte in shown if matte.engine in ENGINES_WITH_WEIGHTS),
            confidence=request.confidence,
            processing_size=request.processing_size,
            tune=request.tune,
            motion=request.motion,
            shot_id=job.session,
            tuning_dir=self._store.root / "sessions" / job.session / "tuned",
            feature_dir=self._store.root / "sessions" / job.session / FEATURES,
            feature_bytes=self._feature_bytes,
        )
        names = dict(job.object_ids)
        warnings = [
            f"the annotation of {names[row.object_id]!r} on frame {row.frame} was not used: the plate has frames "
            f"{job.plate.first}-{job.plate.last}"
            for row in ignored
            if row.object_id in names
        ]
        return task, warnings

    def motion_task(self, job: JobRow, pattern: str) -> MotionTask:
        """Return the task of a job that makes mattes from motion alone, into ``pattern``."""
        session, request = job.as_session, ProposeMotion(**job.request)
        return MotionTask(
            plate=self._plate(session),
            first=request.first,
            last=request.last,
            output_pattern=pattern,
            objects=job.objects,
            flow=request.flow,
            device=self._device if request.device == "auto" else request.device,
            engine=request.engine,
            weights=request.weights,
            weights_dir=self._weights_dir,
            refine_edges=request.refine_edges,
            revision=job.revision,
            annotations=tuple(self.annotations(session)),
        )

    def prompt_task(self, session: SessionRow, request: PromptFrame) -> PromptTask:
        """Return what a prompt asks of one frame.

        Raises:
            PlateMissingError: the frame can neither be read nor was it uploaded.
        """
        self.plate_files(session, [request.frame])
        box = request.box
        return PromptTask(
            plate=self._plate(session),
            frame=request.frame,
            points=tuple((point.x, point.y, point.inside) for point in request.points),
            box=None if box is None else (box.left, box.top, box.right, box.bottom),
            object_name=request.object_name,
            device=self._device if request.device == "auto" else request.device,
            weights_dir=self._weights_dir,
        )

    def suggestion_task(self, job: JobRow) -> SuggestionTask:
        """Return the task of a job that suggests frames; it looks at the mattes shown when it begins."""
        session, request = job.as_session, SuggestFrames(**job.request)
        used, _ = _split_annotations(self._store.index.annotations(job.session, job.revision), session)
        shown = self._store.index.shown_mattes(job.session, previews=False)
        return SuggestionTask(
            plate=self._plate(session),
            annotated=tuple(sorted({row.frame for row in used})),
            first=job.plate.first,
            last=job.plate.last,
            matte_files={matte.frame: Path(matte.path) for matte in shown},
            count=request.count,
            scoring=request.scoring,
            device=self._device if request.device == "auto" else request.device,
            weights=request.weights,
            weights_dir=self._weights_dir,
            cache_dir=self._store.root / "sessions" / job.session / FEATURES,
        )

    def annotations(self, session: SessionRow) -> list[ShotAnnotation]:
        """Return what a session has annotated at its revision, as far as its plate and objects have a place for it."""
        used, _ = _split_annotations(self._store.index.annotations(session.id, session.revision), session)
        names = dict(session.object_ids)
        return [self._annotation(row, names[row.object_id]) for row in used]

    def _annotation(self, row: AnnotationRow, name: str) -> ShotAnnotation:
        alpha = self._store.alpha_path(row.alpha_sha256) if row.kind == "alpha" else None
        return ShotAnnotation(row.frame, name, row.shapes, alpha, row.kind == "absent")

    def plate_files(self, session: SessionRow, frames: Sequence[int]) -> dict[int, Path]:
        """Return where frames of a session's plate lie; raises ``PlateMissingError`` for one that is nowhere."""
        plate = self._plate(session)
        by_pattern = FramePattern.parse(plate.pattern) if plate.pattern else None
        files = {}
        for frame in frames:
            path = by_pattern.path(frame) if by_pattern is not None else plate.files.get(frame)
            if (
                path is None
                or not plate.first <= frame <= plate.last
                or (by_pattern is not None and not self._is_readable(path))
            ):
                raise PlateMissingError(
                    f"frame {frame} of session {session.id!r} is not here; upload it, then ask again"
                )
            files[frame] = path
        return files

    def _plate(self, session: SessionRow) -> PlateReference:
        by_pattern = self.can_read(session.plate)
        return PlateReference(
            first=session.plate.first,
            last=session.plate.last,
            pattern=session.plate.pattern if by_pattern else "",
            files={} if by_pattern else self._store.plate_files(session.id),
            colourspace=session.plate.colourspace,
        )


def matte_ready(matte: MatteRow, *, stale: bool) -> MatteReady:
    """Return the event that tells of a stored matte."""
    return MatteReady(
        job_id=matte.job,
        session_id=matte.session,
        frame=matte.frame,
        revision=matte.revision,
        sha256=matte.sha256,
        size=matte.size,
        path=matte.path,
        annotated=matte.annotated,
        engine=matte.engine,
        made_revision=matte.made_revision,
        stale=stale,
        confidence=min(max(matte.confidence, 0.0), 1.0),
        preview=matte.preview,
    )


def _by_revision(mattes: Sequence[MatteRow]) -> tuple[MattesOfRevision, ...]:
    frames: dict[int, list[int]] = {}
    for matte in mattes:
        frames.setdefault(matte.made_revision, []).append(matte.frame)
    groups = [MattesOfRevision(revision, tuple(frames[revision])) for revision in sorted(frames, reverse=True)]
    return tuple(groups[:_MAX_SHOWN])


def _stamp(path: Path) -> str:
    """Return what differs once a file was written again; empty if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _split_annotations(
    rows: Sequence[AnnotationRow], session: SessionRow
) -> tuple[list[AnnotationRow], list[AnnotationRow]]:
    """Return the annotations that the session's plate and objects have a place for, and the others."""
    used: list[AnnotationRow] = []
    ignored: list[AnnotationRow] = []
    for row in rows:
        fits = session.plate.first <= row.frame <= session.plate.last and row.object_id in dict(session.object_ids)
        (used if fits else ignored).append(row)
    return used, ignored
