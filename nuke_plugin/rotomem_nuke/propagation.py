"""One propagation from collected values to mattes in the cache: everything that may wait for disk or network.

It runs on a worker thread where Nuke has a window, and on the calling thread in ``nuke -t``; what needs Nuke's API
goes through ``host.on_main``.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from rotomem_client.errors import ClientError, JobFailedError, TransferError
from rotomem_nuke import host
from rotomem_nuke.annotation import Annotation
from rotomem_nuke.errors import GraphError, PluginError, RenderCancelled
from rotomem_nuke.node import Settings, frames_on_disk
from rotomem_nuke.plate import PlateSource, frame_chunks

if TYPE_CHECKING:
    from rotomem_client.client import Client
    from rotomem_client.jobs import Job
    from rotomem_client.messages import JobFinished, MatteReady

log = logging.getLogger(__name__)

EVENT_WAIT_S = 0.25
"""How long a silent daemon delays the look at the Stop button."""
RELOAD_INTERVAL_S = 1.0
MAX_REMARKS = 3


@dataclass(frozen=True)
class PropagationRequest:
    """All that a propagation needs to know, read on the main thread when the button was pressed.

    Args:
        remarks: sentences about the annotations, for the artist.
        first: first frame to make, inclusive.
        last: last frame to make, inclusive.
        shown_first: first frame of the whole plate: from here on a matte that was not made is a hole.
        shown_last: last frame of the whole plate, inclusive.
        folder: for rendered frames; removed at the end.
        extract: (first, last) -> files; renders the plate. Main thread.
        render_alpha: renders one annotation. Main thread.
    """

    settings: Settings
    plate: PlateSource
    objects: tuple[str, ...]
    annotations: tuple[Annotation, ...]
    remarks: tuple[str, ...]
    first: int
    last: int
    shown_first: int
    shown_last: int
    folder: Path
    extract: Callable[[int, int], dict[int, Path]]
    render_alpha: Callable[[Annotation], Path]


@dataclass(frozen=True)
class Report:
    """What the node shows of a run.

    Args:
        on_disk: frames with a matte in the cache, ascending.
        done: mattes of this run so far.
        total: mattes that this run should make.
        sentence: for the status line.
        engine: that made them; empty until known.
        reload: the mattes changed since the last report that said so.
        complete: every frame asked for has its matte.
    """

    sentence: str
    done: int = 0
    total: int = 0
    on_disk: tuple[int, ...] = ()
    engine: str = ""
    reload: bool = False
    complete: bool = False


class Propagation:
    """A run of one request.

    Args:
        show: told what changed, on the thread that runs; it must not block.
        stopped: the artist asked to stop.
    """

    def __init__(
        self, request: PropagationRequest, *, show: Callable[[Report], None], stopped: Callable[[], bool]
    ) -> None:
        self._request = request
        self._show = show
        self._stopped = stopped
        self._made: list[int] = []
        self._on_disk: set[int] = set()
        self._engine = ""
        self._revision = 0
        self._shown_at = 0.0
        first = max(request.plate.first, request.first - request.settings.handles)
        last = min(request.plate.last, request.last + request.settings.handles)
        self._total = last - first + 1

    def run(self) -> Report:
        """Propagate, and return the last report.

        Raises:
            PluginError: Nuke could not render what was asked for.
            ClientError: the daemon is away, refused a request, or its job failed.
        """
        from rotomem_client.client import Client

        settings = self._request.settings
        try:
            self._on_disk = set(frames_on_disk(settings.mattes))
            self._say(f"connecting to {settings.endpoint}")
            with Client(settings.endpoint, name=f"nuke {settings.name}", timeout_s=settings.timeout_s) as client:
                client.connect()
                return self._propagate(client)
        except RenderCancelled:
            return self._stopped_report()
        finally:
            shutil.rmtree(str(self._request.folder), ignore_errors=True)

    def _propagate(self, client: Client) -> Report:
        from rotomem_client.messages import Plate

        request = self._request
        plate = request.plate
        state = client.open_session(
            request.settings.node_uuid,
            Plate(
                first=plate.first,
                last=plate.last,
                pattern=plate.pattern,
                colourspace=plate.colourspace,
                width=plate.format.width,
                height=plate.format.height,
                pixel_aspect=plate.format.pixel_aspect,
            ),
            request.objects,
        )
        if not state.plate_visible:
            self._send_plate(client)
        self._send_annotations(client, {entry.object_name: entry.frames for entry in state.annotations})
        if self._stopped():
            return self._stopped_report()
        settings = request.settings
        job = client.propagate(
            settings.node_uuid,
            request.first,
            request.last,
            handles=settings.handles,
            engine=settings.engine,
            refine_edges=settings.refine_edges,
        )
        return self._follow(client, job)

    def _send_plate(self, client: Client) -> None:
        request = self._request
        plate = request.plate
        if plate.pattern:
            files = {frame: _file_of(plate.pattern, frame) for frame in range(plate.first, plate.last + 1)}
            for frame, path in files.items():
                if not path.is_file():
                    raise GraphError(
                        f"frame {frame} of the plate is not on disk ({path}); render it or choose a custom frame range"
                    )
            self._say("sending the plate")
            self._upload(client, files)
            return
        for first, last in frame_chunks(plate.first, plate.last):
            self._check_stop("rendering the plate")
            self._say(f"rendering the plate, frame {first} of {plate.first}-{plate.last}")
            self._upload(client, host.on_main(partial(request.extract, first, last)))

    def _upload(self, client: Client, files: dict[int, Path]) -> None:
        try:
            client.upload_frames(self._request.settings.node_uuid, files, cancelled=self._stopped)
        except TransferError:
            self._check_stop("sending the plate")
            raise

    def _send_annotations(self, client: Client, stored: dict[str, tuple[int, ...]]) -> None:
        session = self._request.settings.node_uuid
        drawn = {(annotation.object_name, annotation.frame) for annotation in self._request.annotations}
        for name, frames in stored.items():
            for frame in frames:
                if (name, frame) not in drawn:
                    client.remove_annotation(session, frame, name)
        for annotation in self._request.annotations:
            self._check_stop("sending annotations")
            self._say(f"sending {annotation.object_name} on frame {annotation.frame}")
            alpha: Optional[Path] = None
            if annotation.rendered_because:
                alpha = host.on_main(partial(self._request.render_alpha, annotation))
            client.put_annotation(
                session,
                annotation.frame,
                annotation.object_name,
                shapes=annotation.shapes,
                alpha=alpha,
                absent=annotation.absent,
            )

    def _follow(self, client: Client, job: Job) -> Report:
        """Fetch mattes until the job ends; a stop keeps what arrived and what is still on its way."""
        from rotomem_client.messages import JobCancelled, JobFailed, JobFinished, MatteReady, Progress

        asked_to_stop = False
        phase = "propagating"
        while True:
            if self._stopped() and not asked_to_stop:
                asked_to_stop = True
                job.cancel()
            for event in job.events(timeout_s=EVENT_WAIT_S):
                if isinstance(event, MatteReady):
                    self._fetch(client, event)
                elif isinstance(event, Progress):
                    phase = event.phase
                elif isinstance(event, JobFinished):
                    return self._finished_report(event, self._older_mattes(client, event.engine))
                elif isinstance(event, JobCancelled):
                    return self._stopped_report()
                elif isinstance(event, JobFailed):
                    raise JobFailedError(event.code, event.message)
                self._say_progress(phase)
                if self._stopped() and not asked_to_stop:
                    break

    def _fetch(self, client: Client, ready: MatteReady) -> None:
        destination = self._matte_file(ready.frame)
        destination.parent.mkdir(parents=True, exist_ok=True)
        client.fetch_matte(ready, destination)
        self._made.append(ready.frame)
        self._on_disk.add(ready.frame)
        self._engine = ready.engine
        self._revision = ready.revision

    def _say(self, sentence: str) -> None:
        self._show(self._report(sentence, reload=False))

    def _say_progress(self, phase: str) -> None:
        # The internal Read reloads with each report, and a reload clears the Viewer's picture: once a second is enough.
        now = time.monotonic()
        if now - self._shown_at >= RELOAD_INTERVAL_S:
            self._shown_at = now
            self._show(self._report(f"{phase} {len(self._made)}/{self._total}"))

    def _report(self, sentence: str, *, reload: bool = True, complete: bool = False) -> Report:
        return Report(
            sentence,
            len(self._made),
            self._total,
            tuple(sorted(self._on_disk)),
            engine=self._engine,
            reload=reload,
            complete=complete,
        )

    def _older_mattes(self, client: Client, engine: str) -> int:
        """Count the mattes in the folder that this propagation would have made otherwise.

        A matte of an earlier propagation counts as one of this if the daemon has the very same file under the present
        revision - the same plate, objects and annotations - and the same engine made it.
        """
        earlier = self._on_disk - set(self._made)
        if not earlier:
            return 0
        try:
            listed = client.list_mattes(self._request.settings.node_uuid, self._revision)
            alike = {ready.frame: ready.sha256 for ready in listed if ready.engine == engine}
            return sum(1 for frame in earlier if not self._is_on_disk(frame, alike.get(frame, "")))
        except ClientError as error:
            log.warning("%s: cannot tell older mattes apart: %s", self._request.settings.name, error)
            return len(earlier)

    def _is_on_disk(self, frame: int, sha256: str) -> bool:
        from rotomem_client.delivery import describe_file

        return bool(sha256) and describe_file(frame, self._matte_file(frame)).offer.sha256 == sha256

    def _matte_file(self, frame: int) -> Path:
        return Path(self._request.settings.mattes.replace("%04d", f"{frame:04d}"))

    def _finished_report(self, finished: JobFinished, older: int) -> Report:
        self._engine = finished.engine
        annotated = len({annotation.frame for annotation in self._request.annotations})
        sentence = (
            f"ready: {annotated} annotated, {len(self._made)}/{self._total} by {finished.engine}{_of_older(older)}"
        )
        for warning in finished.warnings:
            log.warning("%s: %s", self._request.settings.name, warning)
        said = [*self._request.remarks, *finished.warnings]
        if len(said) > MAX_REMARKS:
            said[MAX_REMARKS:] = [f"and {len(said) - MAX_REMARKS} more remarks in the log"]
        return self._report("; ".join((sentence, *said)), complete=True)

    def _stopped_report(self) -> Report:
        older = len(self._on_disk) - len(set(self._made))
        sentence = f"stopped: {len(self._made)}/{self._total} made{_of_older(older)}"
        return self._report(sentence, reload=bool(self._made))

    def _check_stop(self, doing: str) -> None:
        if self._stopped():
            raise RenderCancelled(f"stopped while {doing}")


def _of_older(count: int) -> str:
    return f", {count} older {'matte' if count == 1 else 'mattes'} still shown" if count else ""


def _file_of(pattern: str, frame: int) -> Path:
    """Return one frame's file of a ``%04d``, ``####`` or single-file pattern."""
    hashes = re.search(r"#+", pattern)
    if hashes:
        width = len(hashes.group())
        return Path(pattern[: hashes.start()] + str(frame).zfill(width) + pattern[hashes.end() :])
    digits = re.search(r"%(0?\d*)d", pattern)
    if digits:
        return Path(pattern[: digits.start()] + digits.group() % frame + pattern[digits.end() :])
    return Path(pattern)


def explain(error: Exception) -> str:
    """Return the one sentence that the artist sees."""
    if is_expected(error):
        return str(error)
    return f"{type(error).__name__}: {error} (the log has the details)"


def is_expected(error: Exception) -> bool:
    """Tell a sentence that was written for the artist from a fault in the plugin."""
    return isinstance(error, (PluginError, ClientError))
