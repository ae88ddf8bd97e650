"""From how a job ended in the worker to the event that tells it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rotomem.daemon.worker import JobBroke, JobEnded, JobProposed, JobStopped, JobSuggested
from rotomem.errors import RotomemError
from rotomem.session.motion_task import ENGINE as MOTION
from rotomem_client.messages import (
    FramesSuggested,
    JobCancelled,
    JobFailed,
    JobFinished,
    SuggestedFrame,
    sentence,
)

log = logging.getLogger(__name__)

MAX_WARNINGS = 16

FinalEvent = JobFinished | FramesSuggested | JobFailed | JobCancelled


def final_event(
    job_id: str,
    event: JobEnded | JobSuggested | JobProposed | JobStopped | JobBroke,
    warnings: Sequence[str],
    spoiled: RotomemError | None,
) -> FinalEvent:
    """Return the one event that ends a job.

    Args:
        warnings: of the daemon, told ahead of the worker's own.
        spoiled: why the daemon could not keep what the worker made, if so.
    """
    if spoiled is not None:
        return JobFailed(job_id, spoiled.code, sentence(str(spoiled)))
    if isinstance(event, JobStopped):
        return JobCancelled(job_id, event.done)
    if isinstance(event, JobBroke):
        return JobFailed(job_id, event.code, sentence(event.message))
    if isinstance(event, JobSuggested):
        best = (SuggestedFrame(each.frame, each.score, sentence(each.reason)) for each in event.suggestions)
        return FramesSuggested(job_id, tuple(best))
    if isinstance(event, JobProposed):
        found = event.summary
        frames = tuple(frame for shot in found.shots for frame in range(shot.first, shot.last + 1))
        told = _told(job_id, [*found.sentences(), *warnings])
        return JobFinished(job_id, frames, MOTION, "", found.seconds, told)
    summary = event.summary
    return JobFinished(
        job_id=job_id,
        frames=tuple(summary.frames),
        engine=summary.engine,
        weights_sha256=summary.weights_sha256,
        seconds=summary.seconds,
        warnings=_told(job_id, [*warnings, *summary.warnings]),
    )


def _told(job_id: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return as many sentences as an event holds; the log has all."""
    told = [sentence(text) for text in texts]
    if len(told) > MAX_WARNINGS:
        left = len(told) - MAX_WARNINGS + 1
        told = [*told[: MAX_WARNINGS - 1], f"and {left} more warnings, which the daemon's log has"]
        log.warning("job %s: %s", job_id, " | ".join(texts))
    return tuple(told)
