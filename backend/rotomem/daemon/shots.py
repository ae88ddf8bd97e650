"""From what is stored of a session to what is told of it, and to the task of a job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rotomem.daemon.index import AnnotationRow, JobRow, MatteRow, SessionRow
from rotomem.daemon.store import MATTE_NAME, Store
from rotomem.errors import AnnotationError, PlateMissingError, RotomemError, SettingError
from rotomem.plates import FramePattern
from rotomem.session.shot import PlateReference, PropagationTask, ShotAnnotation
from rotomem_client.messages import AnnotatedFrames, MatteReady, Plate, Propagate, SessionState


class Shots:
    """Reads sessions out of a store.

    Args:
        plate_roots: folders below which plates may be read by their pattern; none means anywhere.
        device: what ``auto`` means in a request.
        weights_dir: handed to the engine.
    """

    def __init__(
        self, store: Store, *, plate_roots: Sequence[Path] = (), device: str = "auto", weights_dir: Path | None = None
    ) -> None:
        self._store = store
        self._plate_roots = [root.resolve() for root in plate_roots]
        self._device = device
        self._weights_dir = weights_dir

    def state(self, session: SessionRow) -> SessionState:
        """Return what a client is told of a session."""
        frames: dict[str, list[int]] = {}
        for row in self._store.index.annotations(session.id, session.revision):
            frames.setdefault(row.object_name, []).append(row.frame)
        mattes = self._store.index.newest_mattes(session.id)
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

    def require_ready(self, session: SessionRow, request: Propagate) -> None:
        """Refuse a propagation that cannot begin.

        Raises:
            SettingError: the range reaches outside the plate.
            AnnotationError: nothing is annotated.
            PlateMissingError: naming the first frame that neither the daemon can read nor the client has sent.
        """
        plate = session.plate
        if request.first < plate.first or request.last > plate.last:
            raise SettingError(
                f"the frame range {request.first}-{request.last} reaches outside the plate, which has frames "
                f"{plate.first}-{plate.last}; shorten the range"
            )
        used, _ = _split_annotations(self._store.index.annotations(session.id, session.revision), session)
        if not used:
            raise AnnotationError("nothing is annotated; draw the object on at least one frame")
        if self.can_read(plate):
            return
        files = self._store.plate_files(session.id)
        annotated = [row.frame for row in used]
        first = min(max(plate.first, request.first - request.handles), *annotated)
        last = max(min(plate.last, request.last + request.handles), *annotated)
        missing = next((frame for frame in range(first, last + 1) if frame not in files), None)
        if missing is not None:
            where = f"cannot be read at {plate.pattern} by the daemon and " if plate.pattern else ""
            raise PlateMissingError(
                f"frame {missing} of the plate {where}was not uploaded; render it, or shorten the range"
            )

    def task(self, job: JobRow) -> tuple[PropagationTask, list[str]]:
        """Return a job's task, with the annotations of its revision, and warnings about those that it cannot use.

        Raises:
            AnnotationError: an annotation's alpha is gone.
            DiskFullError, StoreError: the folder of its mattes cannot be made.
        """
        session = SessionRow(job.session, job.plate, job.objects, job.revision)
        used, ignored = _split_annotations(self._store.index.annotations(job.session, job.revision), session)
        request = Propagate(**job.request)
        by_pattern = self.can_read(job.plate)
        task = PropagationTask(
            plate=PlateReference(
                first=job.plate.first,
                last=job.plate.last,
                pattern=job.plate.pattern if by_pattern else "",
                files={} if by_pattern else self._store.plate_files(job.session),
                colourspace=job.plate.colourspace,
            ),
            annotations=tuple(self._annotation(row) for row in used),
            objects=job.objects,
            first=request.first,
            last=request.last,
            output_pattern=self._store.new_matte_pattern(job.session, job.revision, job.id),
            handles=request.handles,
            engine=request.engine,
            device=self._device if request.device == "auto" else request.device,
            revision=job.revision,
            weights_dir=self._weights_dir,
            refine_edges=request.refine_edges,
        )
        warnings = [
            f"the annotation of {row.object_name!r} on frame {row.frame} was not used: the plate has frames "
            f"{job.plate.first}-{job.plate.last} and the objects {', '.join(job.objects)}"
            for row in ignored
        ]
        return task, warnings

    def _annotation(self, row: AnnotationRow) -> ShotAnnotation:
        alpha = self._store.alpha_path(row.alpha_sha256) if row.kind == "alpha" else None
        return ShotAnnotation(row.frame, row.object_name, row.shapes, alpha, row.kind == "absent")


def matte_ready(matte: MatteRow) -> MatteReady:
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
    )


def _split_annotations(
    rows: Sequence[AnnotationRow], session: SessionRow
) -> tuple[list[AnnotationRow], list[AnnotationRow]]:
    """Return the annotations that the session's plate and objects have a place for, and the others."""
    used: list[AnnotationRow] = []
    ignored: list[AnnotationRow] = []
    for row in rows:
        fits = session.plate.first <= row.frame <= session.plate.last and row.object_name in session.objects
        (used if fits else ignored).append(row)
    return used, ignored
