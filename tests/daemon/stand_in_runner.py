"""What the worker runs in these tests instead of the engines: small files, and accidents on demand.

The engine's name in the request chooses: ``copy`` writes each frame, ``slow`` pauses between frames, ``previewing``
exits after two previews, the others go wrong at the third frame.
"""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rotomem.errors import CancelledError, DiskFullError, WeightsMismatchError
from rotomem.session.shot import MatteWritten, Progress, PropagationSummary, PropagationTask
from rotomem.session.suggest import Suggestion, SuggestionTask

SLOW_S = 0.05


def content_of(frame: int, revision: int) -> bytes:
    """Return what the matte of a frame holds: 100 kB that differ by frame and revision."""
    return f"matte {frame} of revision {revision}\n".encode() * 4000


def run(
    task: PropagationTask,
    *,
    on_matte: Callable[[MatteWritten], None],
    on_progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> PropagationSummary:
    if task.engine == "mismatched":
        raise WeightsMismatchError("the weights warp.safetensors lack the tensor key_proj.weight; install others")
    frames = range(task.first, task.last + 1)
    if task.engine == "previewing":
        for frame in frames[:2]:
            on_matte(replace(_write(task, frame), preview=True))
        sys.exit(3)
    kept = [frame for frame in frames if frame in task.current and Path(task.output_pattern % frame).is_file()]
    for done, frame in enumerate(frame for frame in frames if frame not in kept):
        if cancelled() and task.engine != "deaf":
            raise CancelledError(f"cancelled after {done} frames")
        if done == 2:
            _have_accident(task.engine)
        on_progress(Progress(done, len(frames), "propagating", 10.0))
        on_matte(_write(task, frame))
        if task.engine in ("slow", "deaf"):
            time.sleep(SLOW_S)
    on_progress(Progress(len(frames), len(frames), "propagating", 10.0))
    return PropagationSummary(tuple(frames), "copy", "", 0.5, ("frame 3: 2 NaN pixels were replaced",))


def suggest(
    task: SuggestionTask, *, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
) -> tuple[Suggestion, ...]:
    """Suggest the last frames that are not drawn, the scoring ``slow`` after a pause per frame of the plate."""
    frames = [frame for frame in range(task.last, task.first - 1, -1) if frame not in task.annotated]
    for done, _ in enumerate(frames):
        if cancelled():
            raise CancelledError(f"cancelled after {done} frames")
        on_progress(Progress(done, len(frames), "reading", 10.0))
        if task.scoring == "slow":
            time.sleep(SLOW_S)
    seen = len([path for path in task.matte_files.values() if path.is_file()])
    return tuple(Suggestion(frame, frame / task.last, f"{seen} mattes seen") for frame in frames[: task.count])


def _write(task: PropagationTask, frame: int) -> MatteWritten:
    path = Path(task.output_pattern % frame)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content_of(frame, task.revision)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    annotated = frame in {annotation.frame for annotation in task.annotations}
    return MatteWritten(frame, path, hashlib.sha256(content).hexdigest(), len(content), annotated, "copy")


def _have_accident(engine: str) -> None:
    if engine == "aborting":
        os.abort()
    if engine == "exiting":
        sys.exit(3)
    if engine == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if engine == "full":
        raise DiskFullError("the disk of /cache is full at frame 3; free some space and propagate again")
    if engine == "unexplained":
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/m.3.exr")
    if engine == "faulty":
        raise ZeroDivisionError("division by zero")
    if engine == "deaf":
        time.sleep(60)
