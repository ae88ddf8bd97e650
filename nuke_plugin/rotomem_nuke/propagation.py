"""The work on one view, from collected values to mattes in the cache: all that may wait for disk or network.

It runs on a worker thread where Nuke has a window, and on the calling thread in ``nuke -t``; what needs Nuke's API
goes through ``host.on_main``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from rotomem_client.errors import ClientError, DaemonUnreachableError
from rotomem_nuke.cache import Manifest
from rotomem_nuke.collection import PropagationRequest
from rotomem_nuke.errors import PluginError, RenderCancelled
from rotomem_nuke.fingerprint import fingerprint
from rotomem_nuke.following import Following, Goal, Report, goal_of
from rotomem_nuke.settings import Settings, processing_size
from rotomem_nuke.shot import Shot, connect

if TYPE_CHECKING:
    from rotomem_client.client import Client
    from rotomem_client.jobs import Job

Show = Callable[[Report], None]
Stopped = Callable[[], bool]


class Propagation:
    """A new propagation of one request.

    Args:
        remake: make also those mattes that the daemon knows to be right.
    """

    def __init__(self, request: PropagationRequest, *, remake: bool = False) -> None:
        self._request = request
        self._remake = remake

    @property
    def settings(self) -> Settings:
        return self._request.settings

    def run(self, *, show: Show, stopped: Stopped) -> Report:
        """Propagate, and return the last report.

        Args:
            show: told what changed, on the thread that runs; it must not block.
            stopped: the artist asked to stop.

        Raises:
            PluginError: Nuke could not render what was asked for.
            ClientError: the daemon is away, refused a request, or its job failed.
        """
        following = Following(self._goal(), show=show, stopped=stopped)
        following.say(f"connecting to {self.settings.endpoint}")
        folder = Path(tempfile.mkdtemp(prefix="rotomem-", dir=os.environ.get("NUKE_TEMP_DIR")))
        try:
            with connect(self.settings) as client:
                Shot(self._request, folder, say=following.say, stopped=stopped).send(client)
                return following.follow(client, self._start(client))
        except RenderCancelled:
            return following.stopped_report()
        finally:
            shutil.rmtree(str(folder), ignore_errors=True)

    def _start(self, client: Client) -> Job:
        request, settings = self._request, self.settings
        return client.propagate(
            settings.session_id,
            request.first,
            request.last,
            handles=settings.handles,
            engine=settings.engine,
            refine_edges=settings.refine_edges,
            focus=request.focus if request.first <= request.focus <= request.last else None,
            confidence=True,
            processing_size=processing_size(settings.process_at, request.plate.format),
            tune=settings.tune,
            weights=settings.weights,
            priority=settings.priority,
            remake=self._remake,
            motion=settings.second_opinion,
        )

    def _goal(self) -> Goal:
        request, handles = self._request, self.settings.handles
        return Goal(
            self.settings,
            first=max(request.plate.first, request.first - handles),
            last=min(request.plate.last, request.last + handles),
            shown_first=request.shown_first,
            shown_last=request.shown_last,
            annotated=len({annotation.frame for annotation in request.annotations}),
            objects=request.objects,
            fingerprint=fingerprint(request),
            remarks=request.remarks,
        )


class MotionMattes(Propagation):
    """Mattes of what moves against the camera; what is drawn counts on its own frames only."""

    def _start(self, client: Client) -> Job:
        settings, goal = self.settings, self._goal()
        return client.propose_motion(
            settings.session_id,
            goal.first,
            goal.last,
            flow=settings.motion,
            refine_edges=settings.refine_edges,
            priority=settings.priority,
        )


class Resumption:
    """A job that an earlier session of Nuke started, taken up where it is now."""

    def __init__(self, settings: Settings, manifest: Manifest) -> None:
        self._settings = settings
        self._manifest = manifest

    @property
    def settings(self) -> Settings:
        return self._settings

    def run(self, *, show: Show, stopped: Stopped) -> Report:
        """Fetch what the job has made meanwhile and what it still makes; as ``Propagation.run``."""
        following = Following(goal_of(self._settings, self._manifest), show=show, stopped=stopped)
        following.say(f"looking for the job of an earlier session at {self._settings.endpoint}")
        with connect(self._settings) as client:
            return following.follow(client, client.resume_job(self._manifest.job))


def explain(error: Exception) -> str:
    """Return the one sentence that the artist sees."""
    if is_expected(error):
        return str(error)
    if isinstance(error, ImportError):
        return f"Python lacks {error.name}; install the plugin's wheels, then restart Nuke"
    return f"{type(error).__name__}: {error} (the log has the details)"


def is_expected(error: Exception) -> bool:
    """Tell a sentence that was written for the artist from a fault in the plugin."""
    return isinstance(error, (PluginError, ClientError))


def is_absence(error: Exception) -> bool:
    """Tell a daemon that is away, which says nothing about the node, from work that failed."""
    return isinstance(error, DaemonUnreachableError)
