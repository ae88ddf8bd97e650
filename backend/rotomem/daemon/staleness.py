"""Which mattes would come out the same if they were made now."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from rotomem.daemon.rows import JobRow, MatteRow, ObjectIds, SessionRow
from rotomem.daemon.store import Store
from rotomem.engine_names import ENGINES_WITH_WEIGHTS
from rotomem.errors import AnnotationError
from rotomem.session.incremental import unchanged_frames
from rotomem.session.shot import ShotAnnotation
from rotomem_client.messages import Propagate

log = logging.getLogger(__name__)

SETTINGS = ("refine_edges", "processing_size", "tune", "weights", "motion")
"""Fields of ``Propagate`` that another matte can depend on, besides the engine and the confidence layer."""


class Staleness:
    """Compares what mattes were made of with what a session is now.

    Args:
        annotations: what a session has annotated, as a task holds it.
        weights_sha256: of the weights that a request's ``weights`` means now; empty if that cannot be told.
    """

    def __init__(
        self,
        store: Store,
        annotations: Callable[[SessionRow], Sequence[ShotAnnotation]],
        weights_sha256: Callable[[str], str],
    ) -> None:
        self._store = store
        self._annotations = annotations
        self._weights_sha256 = weights_sha256
        # A revision never changes, so neither does what was found of two of them; alphas are hashed once.
        self._unchanged = functools.lru_cache(maxsize=256)(self._compare)

    def fresh(self, session: SessionRow, mattes: Sequence[MatteRow]) -> dict[int, MatteRow]:
        """Return by frame those of ``mattes``, one per frame, that are as if they were made now; no preview is."""
        groups: dict[tuple[int, str, str], list[MatteRow]] = {}
        for matte in mattes:
            if matte.preview:
                continue
            groups.setdefault((matte.made_revision, matte.engine, matte.job), []).append(matte)
        found: dict[int, MatteRow] = {}
        for (revision, engine, job_id), group in groups.items():
            if revision < self._store.index.last_plate_change(session.id):
                continue
            group = self._of_these_weights(group)
            if revision < session.revision:
                job = self._store.index.job(job_id)
                if job is None or self._objects_at(session, revision) != session.object_ids:
                    continue
                earlier = replace(job.as_session, revision=revision)
                unchanged = self._unchanged(engine, _Key(earlier), _Key(session))
                group = [matte for matte in group if matte.frame in unchanged]
            found.update((matte.frame, matte) for matte in group)
        return found

    def reason(self, session: SessionRow, stale: Sequence[MatteRow]) -> str:
        """Say why the first of some stale mattes is stale; empty if there is none."""
        if not stale:
            return ""
        revision = min(matte.made_revision for matte in stale)
        advice = "propagate again; what is there is shown until then"
        if revision < self._store.index.last_plate_change(session.id):
            return f"the plate has changed since these mattes were made: {advice}"
        earlier, now = dict(self._objects_at(session, revision)), dict(session.object_ids)
        renamed = [(old, now[key]) for key, old in earlier.items() if now.get(key, old) != old]
        if renamed:
            names = ", ".join(f"{old!r} is now {new!r}" for old, new in renamed)
            return f"{names}, and these mattes still have the old layer: {advice}"
        if self._objects_at(session, revision) != session.object_ids:
            return f"the objects have changed since these mattes were made: {advice}"
        if all(matte.preview for matte in stale):
            return f"these mattes are previews until their job has made them; if that was stopped, {advice}"
        one_per_job = {
            matte.job: matte for matte in stale if matte.made_revision == revision and not matte.preview
        }.values()
        if any(not self._of_these_weights([matte]) for matte in one_per_job):
            return f"the weights have changed since these mattes were made: {advice}"
        return f"annotations have changed since these mattes were made: {advice}"

    def current(self, job: JobRow, engine: str) -> list[MatteRow]:
        """Return the mattes that a job need not make again: fresh, made with its settings, and still on disk.

        Args:
            engine: what the job's ``auto`` means.
        """
        request = Propagate(**job.request)
        if request.remake or request.motion != "off":
            # What motion says of a frame depends on the frames around it, and so on the range.
            return []
        candidates = [
            matte
            for matte in self._store.index.shown_mattes(job.session, job.revision, previews=False)
            if request.first - request.handles <= matte.frame <= request.last + request.handles
            and matte.engine == engine
            and self._made_alike(matte, request)
        ]
        return list(self.fresh(job.as_session, candidates).values())

    def _of_these_weights(self, mattes: Sequence[MatteRow]) -> list[MatteRow]:
        """Return those mattes of one job and engine that its request would make with the same weights now."""
        if mattes[0].engine not in ENGINES_WITH_WEIGHTS:
            return list(mattes)
        job = self._store.index.job(mattes[0].job)
        sha256 = "" if job is None else self._weights_sha256(job.request.get("weights", ""))
        return [matte for matte in mattes if sha256 and matte.weights_sha256 == sha256]

    def _made_alike(self, matte: MatteRow, request: Propagate) -> bool:
        maker = self._store.index.job(matte.job)
        if maker is None:
            return False
        made = Propagate(**maker.request)
        alike = all(getattr(made, name) == getattr(request, name) for name in SETTINGS)
        return alike and (made.confidence or not request.confidence)

    def _objects_at(self, session: SessionRow, revision: int) -> ObjectIds:
        return self._store.index.objects_at(session.id, revision)

    def _compare(self, engine: str, before: _Key, after: _Key) -> frozenset[int]:
        earlier, now = before.session, after.session
        frames = range(now.plate.first, now.plate.last + 1)
        try:
            return unchanged_frames(engine, now.objects, self._annotations(earlier), self._annotations(now), frames)
        except AnnotationError as error:
            log.warning("mattes of session %s count as stale: %s", now.id, error)
            return frozenset()


class _Key:
    """A session at a revision, as what it can be told apart by."""

    def __init__(self, session: SessionRow) -> None:
        self.session = session
        self._identity = (session.id, session.revision, session.plate.first, session.plate.last, session.object_ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)
