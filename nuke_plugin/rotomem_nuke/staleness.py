"""Do the mattes still belong to what the graph holds? Told by a hash, off the main thread; nothing is ever deleted."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Optional

from rotomem_nuke import host, runs
from rotomem_nuke.background import work_then
from rotomem_nuke.cache import Manifest, frames_on_disk, read_manifest, write_manifest
from rotomem_nuke.collection import PropagationRequest, read_graph, show_drawing, views_of
from rotomem_nuke.errors import PluginError
from rotomem_nuke.fingerprint import fingerprint
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.propagation import Resumption
from rotomem_nuke.settings import Settings

log = logging.getLogger(__name__)

MIN_INTERVAL_S = 1.0
REST = 20.0
"""A check may take one twentieth of the time, so that a Roto with thousands of points does not slow Nuke down."""

COMPARABLE = ("idle", "complete", "stale")
"""States of a node whose mattes can be compared with the graph: it neither works nor failed."""

_next_check: dict[str, float] = {}


@dataclass(frozen=True)
class _Cached:
    """What the cache folder holds for one view."""

    settings: Settings
    manifest: Optional[Manifest]
    frames: tuple[int, ...]


def check(rotomem: RotomemNode, *, now: bool = False) -> None:
    """Show what is drawn, and colour the tile amber if the mattes shown were made from something else.

    Reads the graph here, hashes on a thread. Does nothing while the node works.

    Args:
        now: also if the last check was a moment ago.
    """
    identifier = rotomem.identifier
    started = time.monotonic()
    if host.limits_handles() or runs.running(identifier) is not None:
        return
    if not now and started < _next_check.get(identifier, 0.0):
        return
    try:
        requests = read_graph(rotomem)
    except (PluginError, RuntimeError) as error:  # half-wired, or an input that Nuke itself cannot read
        log.debug("%s: what it is made from cannot be read now: %s", identifier, error)
        _rest(identifier, started)
        return
    with host.unrecorded():
        show_drawing(rotomem, requests[0])
    _rest(identifier, started)
    if rotomem.state in COMPARABLE and rotomem.has_mattes:
        work_then(
            lambda: _compared(identifier, requests, started),
            lambda state: _show(rotomem, requests[0].settings, state),
            _log_failure,
        )


def _compared(identifier: str, requests: tuple[PropagationRequest, ...], started: float) -> str:
    try:
        return _state(requests)
    finally:
        _rest(identifier, started)


def _rest(identifier: str, started: float) -> None:
    now = time.monotonic()
    _next_check[identifier] = now + max(MIN_INTERVAL_S, REST * (now - started))


def pick_up(rotomem: RotomemNode) -> None:
    """After a script was opened: show what the cache holds by now, and follow a job that is still under way."""
    try:
        settings = [rotomem.settings(view) for view in views_of(rotomem.settings())]
    except PluginError as error:
        rotomem.show_status(f"failed: {error}")
        return
    work_then(
        lambda: [_look(entry) for entry in settings],
        lambda cached: _show_cached(rotomem, cached, resume=True),
        _log_failure,
    )


def show_version(rotomem: RotomemNode) -> None:
    """Show the mattes of the version that the knob names, or the plate where it has none."""
    settings = [rotomem.settings(view) for view in views_of(rotomem.settings())]
    work_then(
        lambda: [_look(entry) for entry in settings],
        lambda cached: _show_cached(rotomem, cached, resume=False),
        _log_failure,
    )


def write_freeze(rotomem: RotomemNode) -> None:
    """Keep the freeze with the version's mattes, so that coming back to the version finds it."""
    settings = [rotomem.settings(view) for view in views_of(rotomem.settings())]
    work_then(lambda: _freeze(settings), lambda _: None, _log_failure)


def _freeze(every_view: list[Settings]) -> None:
    for settings in every_view:
        manifest = read_manifest(settings.mattes)
        if manifest is not None and manifest.frozen != settings.frozen:
            write_manifest(settings.mattes, replace(manifest, frozen=settings.frozen))


def _state(requests: tuple[PropagationRequest, ...]) -> str:
    states = []
    for request in requests:
        manifest = read_manifest(request.settings.mattes)
        if manifest is None or manifest.older or manifest.fingerprint != fingerprint(request):
            return "stale"
        states.append("complete" if manifest.complete else "idle")
    return "idle" if "idle" in states else "complete"


def _look(settings: Settings) -> _Cached:
    return _Cached(settings, read_manifest(settings.mattes), tuple(frames_on_disk(settings.mattes)))


def _show(rotomem: RotomemNode, compared: Settings, state: str) -> None:
    if not rotomem.attached or runs.running(rotomem.identifier) is not None:
        return
    if rotomem.mattes(compared.view) != compared.mattes or not rotomem.has_mattes:
        return  # what was compared is not what is shown by now: another version, or a cleared cache
    if rotomem.state in COMPARABLE:
        with host.unrecorded():
            rotomem.show_state(state)


def _show_cached(rotomem: RotomemNode, cached: list[_Cached], *, resume: bool) -> None:
    if not rotomem.attached or runs.running(rotomem.identifier) is not None:
        return
    if rotomem.mattes(cached[0].settings.view) != cached[0].settings.mattes:
        return  # the artist went on to another version meanwhile
    under_way = [entry for entry in cached if entry.manifest is not None and entry.manifest.job]
    with host.unrecorded():
        _show_frames(rotomem, cached, new=not resume)
        if rotomem.state == "running":  # saved while it worked; whoever did is gone
            rotomem.show_state("idle")
            rotomem.show_status("interrupted; press Propagate to go on")
    if resume and under_way:
        tasks = [Resumption(entry.settings, entry.manifest) for entry in under_way if entry.manifest is not None]
        runs.start(rotomem, tasks)
    else:
        check(rotomem, now=True)


def _show_frames(rotomem: RotomemNode, cached: list[_Cached], *, new: bool) -> None:
    frames = sorted({frame for entry in cached for frame in entry.frames})
    manifests = [entry.manifest for entry in cached if entry.manifest is not None]
    if not frames:
        if new:
            rotomem.show_nothing()
        return
    first, last = frames[0], frames[-1]
    complete = len(manifests) == len(cached) and all(manifest.complete for manifest in manifests)
    if manifests:
        first = min([first, *(manifest.shown_first for manifest in manifests)])
        last = max([last, *(manifest.shown_last for manifest in manifests)])
        wanted = sum(manifest.last - manifest.first + 1 for manifest in manifests)
        made = sum(
            1
            for entry in cached
            for frame in entry.frames
            if entry.manifest is not None and entry.manifest.first <= frame <= entry.manifest.last
        )
        rotomem.show_progress(f"{made}/{wanted}")
        rotomem.show_engine(manifests[0].engine or "nothing yet")
        rotomem.show_freeze(any(manifest.frozen for manifest in manifests))
        if new:
            rotomem.show_status(f"version of {made} mattes by {manifests[0].engine}")
    pattern = cached[0].settings.shown_mattes
    rotomem.show_mattes(pattern, first, last, len(frames), on_error="error" if complete else "black")
    if rotomem.state != "running":
        rotomem.show_state("complete" if complete else "idle")


def _log_failure(error: Exception) -> None:
    log.warning("the cache could not be looked at: %s", error, exc_info=error)
