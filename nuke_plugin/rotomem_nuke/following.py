"""Following one job of the daemon: its mattes into the cache, what to say of it, and what to write down beside them.

It runs on a worker thread where Nuke has a window, and on the calling thread in ``nuke -t``.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Callable, Optional

from rotomem_client.errors import ClientError, DaemonUnreachableError, JobFailedError, RefusedError, TransferError
from rotomem_nuke import host
from rotomem_nuke.cache import Manifest, frames_on_disk, matte_file, read_manifest, write_manifest
from rotomem_nuke.settings import Settings

if TYPE_CHECKING:
    from rotomem_client.client import Client
    from rotomem_client.jobs import Job
    from rotomem_client.messages import JobEvent, JobFinished, MatteReady

log = logging.getLogger(__name__)

EVENT_WAIT_S = 0.25
"""How long a silent daemon delays the look at the Stop button."""
RELOAD_INTERVAL_S = 1.0
MAX_REMARKS = 3


@dataclass(frozen=True)
class Goal:
    """Which mattes are wanted.

    Args:
        first: first frame to make, handles included.
        last: last one, inclusive.
        shown_first: first frame of the whole plate: from here on a matte that was not made is a hole.
        shown_last: last one, inclusive.
        annotated: how many frames are.
        objects: names in output order.
        fingerprint: of all that the mattes depend on.
        remarks: sentences about the annotations, for the artist.
    """

    settings: Settings
    first: int
    last: int
    shown_first: int
    shown_last: int
    annotated: int
    objects: tuple[str, ...] = ()
    fingerprint: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        return self.last - self.first + 1

    def manifest(self, *, frozen: bool = False) -> Manifest:
        return Manifest(
            fingerprint=self.fingerprint,
            first=self.first,
            last=self.last,
            shown_first=self.shown_first,
            shown_last=self.shown_last,
            annotated=self.annotated,
            endpoint=self.settings.endpoint,
            objects=self.objects,
            frozen=frozen,
        )


def goal_of(settings: Settings, manifest: Manifest) -> Goal:
    """Return what a job was to make that an earlier session of Nuke started."""
    return Goal(
        settings,
        manifest.first,
        manifest.last,
        manifest.shown_first,
        manifest.shown_last,
        manifest.annotated,
        manifest.objects,
        manifest.fingerprint,
    )


@dataclass(frozen=True)
class Report:
    """What the node shows of the work on one view, or of all together.

    Args:
        sentence: for the status line.
        done: mattes of this run so far.
        total: mattes that this run should make.
        wanted: of the frames that should have a matte, how many have one; a preview where nothing was is none.
        on_disk: frames with a matte in the cache, previews too, ascending.
        shown: first and last frame of the plate, where a missing matte is a hole.
        made: frame and confidence of each matte of this run, in the order they came.
        engine: that made them; empty until known.
        reload: the mattes changed since the last report that said so.
        complete: every frame asked for has its matte.
        older: mattes beside them that were made from something else.
    """

    sentence: str
    done: int = 0
    total: int = 0
    wanted: int = 0
    on_disk: tuple[int, ...] = ()
    shown: tuple[int, int] = (0, 0)
    made: tuple[tuple[int, float], ...] = ()
    engine: str = ""
    reload: bool = False
    complete: bool = False
    older: int = 0


class Following:
    """The mattes of one goal, as they come.

    Args:
        show: told what changed, on the thread that runs; it must not block.
        stopped: the artist asked to stop.
    """

    def __init__(self, goal: Goal, *, show: Callable[[Report], None], stopped: Callable[[], bool]) -> None:
        self._goal = goal
        self._show = show
        self._stopped = stopped
        self._pattern = goal.settings.mattes
        self._made: dict[int, float] = {}
        self._previewed: set[int] = set()
        self._on_disk = set(frames_on_disk(self._pattern))
        self._before = set(self._on_disk)
        self._unshown = False
        self._engine = ""
        self._weights_sha256 = ""
        self._revision = 0
        self._shown_at = 0.0
        self._phase = "propagating"
        self._to_fetch: list[MatteReady] = []

    def say(self, sentence: str) -> None:
        self._show(self._report(sentence, reload=False))

    def stopped_report(self) -> Report:
        older = len(self._on_disk) - len(set(self._made))
        sentence = f"stopped: {len(self._made)}/{self._goal.total} made{_of_older(older)}"
        return self._report(sentence, reload=bool(self._made or self._previewed), older=older)

    def follow(self, client: Client, job: Job) -> Report:
        """Fetch mattes until the job ends; a stop keeps what arrived and what is still on its way.

        Raises:
            JobFailedError: with the daemon's sentence.
            ClientError: a matte cannot be fetched; without a window, also a daemon that fell silent.
        """
        self._note(job=job.id)
        try:
            report = self._until_end(client, job)
        except JobFailedError:
            self._note(older=len(self._previewed))
            raise
        self._note(complete=report.complete, older=report.older)
        return report

    def _until_end(self, client: Client, job: Job) -> Report:
        asked_to_stop = False
        heard = time.monotonic()
        while True:
            try:
                if self._stopped() and not asked_to_stop:
                    asked_to_stop = True
                    job.cancel()
                self._fetch(client)
                for event in job.events(timeout_s=EVENT_WAIT_S):
                    heard = time.monotonic()
                    report = self._take(client, event)
                    if report is not None:
                        return report
                    self._say_progress()
                    if self._stopped() and not asked_to_stop:
                        break
                if self._unshown:
                    self._say_progress()
                if time.monotonic() - heard > self._goal.settings.timeout_s:
                    client.ping()
                    heard = time.monotonic()
            except DaemonUnreachableError:
                if self._stopped() or not host.gui():
                    raise
                self.say(f"waiting for the daemon at {client.endpoint}; Stop ends the wait and the job goes on there")

    def _take(self, client: Client, event: JobEvent) -> Optional[Report]:
        """Return the final report if ``event`` ends the job."""
        from rotomem_client.messages import JobCancelled, JobFailed, JobFinished, MatteReady, Progress

        if isinstance(event, MatteReady):
            self._to_fetch.append(event)
            self._fetch(client)
        elif isinstance(event, Progress):
            if self._phase != event.phase:
                self._phase = event.phase
                self._show(self._report(self._phase_and_count(), reload=False))
        elif isinstance(event, JobFinished):
            return self._finished_report(event, self._older_mattes(client, event.engine))
        elif isinstance(event, JobCancelled):
            return self.stopped_report()
        elif isinstance(event, JobFailed):
            raise JobFailedError(event.code, event.message)
        return None

    def _fetch(self, client: Client) -> None:
        """Bring the mattes that were announced; one that a broken connection kept back is tried again."""
        while self._to_fetch:
            ready = self._to_fetch[0]
            # After a reconnect and for frames that were right already, the very file may be here.
            if self._is_on_disk(ready.frame, ready.sha256):
                if ready.preview:  # of a run that an earlier session of Nuke began
                    self._before.discard(ready.frame)
            else:
                try:
                    client.fetch_matte(ready, matte_file(self._pattern, ready.frame))
                except (RefusedError, TransferError) as error:
                    if not ready.preview:
                        raise
                    log.info("%s: the preview of frame %d is gone: %s", self._goal.settings.name, ready.frame, error)
                    self._to_fetch.pop(0)
                    continue
            self._to_fetch.pop(0)
            self._take_matte(ready)

    def _take_matte(self, ready: MatteReady) -> None:
        """Count what was fetched; a preview is shown and no more."""
        self._unshown = True
        self._on_disk.add(ready.frame)
        self._revision = ready.revision
        if ready.preview:
            self._previewed.add(ready.frame)
            return
        self._previewed.discard(ready.frame)
        self._made[ready.frame] = ready.confidence
        self._engine = ready.engine

    def _say_progress(self) -> None:
        # The internal Read reloads with each report, and a reload clears the Viewer's picture: once a second is enough.
        now = time.monotonic()
        if now - self._shown_at >= RELOAD_INTERVAL_S:
            self._shown_at = now
            self._unshown = False
            self._show(self._report(self._phase_and_count(), reload=self._goal.settings.live))

    def _phase_and_count(self) -> str:
        if "%" in self._phase:  # two figures in one sentence would be taken for each other
            return self._phase
        return f"{self._phase} {len(self._made)}/{self._goal.total}"

    def _report(self, sentence: str, *, reload: bool = True, complete: bool = False, older: int = 0) -> Report:
        goal = self._goal
        have = self._on_disk - (self._previewed - self._before)
        return Report(
            sentence,
            done=len(self._made),
            total=goal.total,
            wanted=sum(1 for frame in have if goal.first <= frame <= goal.last),
            on_disk=tuple(sorted(self._on_disk)),
            shown=(goal.shown_first, goal.shown_last),
            made=tuple(self._made.items()),
            engine=self._engine,
            reload=reload,
            complete=complete,
            older=older,
        )

    def _finished_report(self, finished: JobFinished, older: int) -> Report:
        self._engine = finished.engine
        goal = self._goal
        self._weights_sha256 = finished.weights_sha256
        sentence = (
            f"ready: {goal.annotated} annotated, {len(self._made)}/{goal.total} by {finished.engine}{_of_older(older)}"
        )
        for warning in finished.warnings:
            log.warning("%s: %s", goal.settings.name, warning)
        said = [*goal.remarks, *finished.warnings]
        if len(said) > MAX_REMARKS:
            said[MAX_REMARKS:] = [f"and {len(said) - MAX_REMARKS} more remarks in the log"]
        return self._report("; ".join((sentence, *said)), complete=True, older=older)

    def _older_mattes(self, client: Client, engine: str) -> int:
        """Count the mattes in the folder that this propagation would have made otherwise.

        A matte of an earlier propagation counts as one of this if the daemon has the very same file under the present
        revision - the same plate, objects and annotations - and the same engine made it, with the weights of now.
        """
        earlier = self._on_disk - set(self._made)
        if not earlier:
            return 0
        try:
            listed = client.list_mattes(self._goal.settings.session_id, self._revision)
            alike = {ready.frame: ready.sha256 for ready in listed if ready.engine == engine and not ready.stale}
            return sum(1 for frame in earlier if not self._is_on_disk(frame, alike.get(frame, "")))
        except ClientError as error:
            log.warning("%s: cannot tell older mattes apart: %s", self._goal.settings.name, error)
            return len(earlier)

    def _is_on_disk(self, frame: int, sha256: str) -> bool:
        from rotomem_client.delivery import describe_file

        path = matte_file(self._pattern, frame)
        return bool(sha256) and path.is_file() and describe_file(frame, path).offer.sha256 == sha256

    def _note(self, *, job: str = "", complete: bool = False, older: int = 0) -> None:
        """Write down beside the mattes what they are made from, and who is making them."""
        before = read_manifest(self._pattern)
        plain = self._goal.manifest(frozen=before is not None and before.frozen)
        noted = replace(plain, job=job, complete=complete, older=older)
        write_manifest(self._pattern, replace(noted, engine=self._engine, weights_sha256=self._weights_sha256))


def _of_older(count: int) -> str:
    return f", {count} older {'matte' if count == 1 else 'mattes'} still shown" if count else ""
