"""A node's knobs as plain values, and where its mattes lie."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rotomem_nuke import host
from rotomem_nuke.errors import GraphError
from rotomem_nuke.formats import Format

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7447"
DEFAULT_TIMEOUT_S = 10.0
PRIORITIES = ("low", "normal", "high")
"""In the order of the wire's numbers, from 0."""
SHOWS_ERRORS = "show errors"
"""What the knob calls the second opinion that the wire calls ``errors``."""


@dataclass(frozen=True)
class Settings:
    """Read on the main thread once per button.

    Args:
        node_uuid: the state's key.
        name: the node's full name at this moment, for messages.
        view: the one view that these mattes are of; empty in a script with a single view.
        views: the artist's list; empty takes all of the script.
        frame_range: ``input``, ``global`` or ``custom``.
        first: of the custom range.
        last: of the custom range, inclusive.
        annotated: explicit annotated frames; empty takes the Roto's keys.
        input_colour: ``auto``, ``raw`` or an OCIO name.
        motion: how mattes from motion see it: ``auto``, ``dis`` or ``raft``.
        second_opinion: of motion on the mattes: ``off``, ``errors``, ``correct``, ``exemplars`` or ``all``.
        process_at: ``auto``, ``full``, ``1080`` or ``720``.
        priority: 0 low to 2 high.
        live: show mattes while they arrive.
        frozen: nothing may change this version's mattes.
        timeout_s: how long a silent daemon is waited for.
        mattes: where each frame's matte goes, with ``%04d``.
        shown_mattes: what the internal Read is given: as above, with ``%V`` in a script of several views.
    """

    node_uuid: str
    name: str
    view: str
    views: str
    frame_range: str
    first: int
    last: int
    handles: int
    annotated: str
    engine: str
    weights: str
    refine_edges: bool
    tune: bool
    motion: str
    second_opinion: str
    process_at: str
    priority: int
    live: bool
    input_colour: str
    endpoint: str
    timeout_s: float
    version: int
    frozen: bool
    mattes: str
    shown_mattes: str

    @property
    def session_id(self) -> str:
        """The daemon's name for the node's work on one view: views share no annotation and no matte."""
        return f"{self.node_uuid}-{self.view}" if self.view else self.node_uuid


def processing_size(process_at: str, size: Format) -> int:
    """Return the shorter side in pixels at which the engine works; 0 leaves it to the engine."""
    if process_at == "full":
        return min(size.width, size.height)
    return int(process_at) if process_at.isdigit() else 0


def endpoint_of(knob_value: str) -> str:
    """Return the daemon's address: the environment, then the knob, then this machine."""
    return os.environ.get("ROTOMEM_ENDPOINT", "").strip() or knob_value.strip() or DEFAULT_ENDPOINT


def daemon_timeout_s() -> float:
    """Return how long a silent daemon is waited for: ``ROTOMEM_TIMEOUT_S``, or ten seconds.

    Raises:
        GraphError: the environment has no positive number there.
    """
    text = os.environ.get("ROTOMEM_TIMEOUT_S", "").strip()
    try:
        seconds = float(text) if text else DEFAULT_TIMEOUT_S
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise GraphError(f"ROTOMEM_TIMEOUT_S is {text!r}; set it to seconds such as 10, or unset it")
    return seconds


def mattes_pattern(cache_dir: str, identifier: str, version: int, view: str = "") -> str:
    """Return the matte files' pattern, forward slashes on every platform.

    An empty ``cache_dir`` is ``rotomem`` beside the script, or in Nuke's temporary folder for one never saved.

    Args:
        view: a view's name or ``%V``, a folder of its own; empty in a script with a single view.
    """
    folder = cache_dir.strip()
    if not folder:
        script = host.value("root.name")
        saved = os.path.dirname(script) if script and script != "Root" else ""
        folder = os.path.join(saved or os.environ.get("NUKE_TEMP_DIR", tempfile.gettempdir()), "rotomem")
    inner = f"{view}/" if view else ""
    return f"{Path(folder).as_posix()}/{identifier}/v{version:03d}/{inner}matte.%04d.exr"
