"""Where another drawing would help most: the daemon is asked, the playhead moves, the artist draws."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from rotomem_nuke.collection import PropagationRequest
from rotomem_nuke.errors import RenderCancelled
from rotomem_nuke.following import EVENT_WAIT_S
from rotomem_nuke.settings import Settings
from rotomem_nuke.shot import Shot, connect

if TYPE_CHECKING:
    from rotomem_client.jobs import Job
    from rotomem_client.messages import SuggestedFrame

COUNT = 3
"""Frames asked for: the best one and what to look at next."""


def suggest(
    request: PropagationRequest, *, count: int = COUNT, say: Callable[[str], None], stopped: Callable[[], bool]
) -> tuple[SuggestedFrame, ...]:
    """Return the frames worth annotating next, the best first. It waits: worker threads.

    Raises:
        RenderCancelled: the artist asked to stop.
        PluginError: Nuke could not render what was asked for.
        ClientError: the daemon is away, refused, or found nothing to suggest.
    """
    settings: Settings = request.settings
    say(f"connecting to {settings.endpoint}")
    folder = Path(tempfile.mkdtemp(prefix="rotomem-", dir=os.environ.get("NUKE_TEMP_DIR")))
    try:
        with connect(settings) as client:
            Shot(request, folder, say=say, stopped=stopped).send(client)
            say("looking for a frame to draw on")
            job = client.suggest_frames(settings.session_id, count, weights=settings.weights)
            return _wait(job, stopped)
    finally:
        shutil.rmtree(str(folder), ignore_errors=True)


def _wait(job: Job, stopped: Callable[[], bool]) -> tuple[SuggestedFrame, ...]:
    cancelled = False
    while not job.done:
        if stopped() and not cancelled:
            cancelled = True
            job.cancel()
        for _ in job.events(timeout_s=EVENT_WAIT_S):
            if stopped():
                break
    if cancelled:
        raise RenderCancelled("stopped before a frame was found")
    return job.wait_for_suggestions()


def describe(suggestions: tuple[SuggestedFrame, ...]) -> str:
    """Return the status line: where to go, why, and where else."""
    if not suggestions:
        return "no frame to suggest: every frame is annotated"
    best, *others = suggestions
    sentence = f"draw on frame {best.frame}: {best.reason}"
    if others:
        sentence += "; then {}".format(", ".join(str(entry.frame) for entry in others))
    return sentence
