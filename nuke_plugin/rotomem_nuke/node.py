"""One Rotomem node: its knobs as plain settings, its state under a hidden identifier, its internal Read."""

from __future__ import annotations

import math
import os
import re
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from rotomem_nuke import host
from rotomem_nuke.errors import GraphError

DEFAULT_ENDPOINT = "tcp://127.0.0.1:7447"
DEFAULT_TIMEOUT_S = 10.0
PLATE_INPUT = 0
ROTO_INPUT = 1
INTERNAL_READ = "CacheRead"

_by_uuid: dict[str, RotomemNode] = {}


@dataclass(frozen=True)
class Settings:
    """A node's knobs as plain values, read on the main thread once per button.

    Args:
        node_uuid: the state's key; also the daemon's session.
        name: the node's full name at this moment, for messages.
        frame_range: ``input``, ``global`` or ``custom``.
        first: of the custom range.
        last: of the custom range, inclusive.
        annotated: explicit annotated frames; empty takes the Roto's keys.
        timeout_s: how long a silent daemon is waited for.
        mattes: where each frame's matte goes, with ``%04d``.
    """

    node_uuid: str
    name: str
    frame_range: str
    first: int
    last: int
    annotated: str
    engine: str
    refine_edges: bool
    handles: int
    input_colour: str
    endpoint: str
    timeout_s: float
    mattes: str


class RotomemNode:
    """A handle on one node in the graph. It survives renaming; every method needs the main thread."""

    def __init__(self, node: host.Node) -> None:
        self._node = node
        self._read_handle: list[host.Node] = []

    @classmethod
    def of(cls, node: host.Node) -> RotomemNode:
        """Return the one object for ``node``; a node without an identifier gets one.

        Raises:
            GraphError: not a Rotomem node.
        """
        if not is_rotomem(node):
            raise GraphError(f"{node.fullName()} is not a Rotomem node")
        identifier = str(node["node_uuid"].value())
        known = _by_uuid.get(identifier)
        if known is not None and known.is_on(node):
            return known
        found = cls(node)
        found.claim_identifier()
        return found

    def is_on(self, node: host.Node) -> bool:
        try:
            return self._node.fullName() == node.fullName()
        except host.DETACHED:
            return False

    @property
    def attached(self) -> bool:
        """False once the artist deleted the node."""
        try:
            return bool(self._node.fullName())
        except host.DETACHED:
            return False

    @property
    def identifier(self) -> str:
        return str(self._node["node_uuid"].value())

    @property
    def name(self) -> str:
        return self._node.fullName()

    @property
    def graph_node(self) -> host.Node:
        return self._node

    def claim_identifier(self) -> str:
        """Keep the node's identifier if nobody else in the script has it; otherwise (paste) take a new one."""
        identifier = self.identifier
        owner = _by_uuid.get(identifier)
        taken = owner is not None and owner is not self and owner.attached and not owner.is_on(self._node)
        if not identifier or taken:
            identifier = uuid.uuid4().hex
            with host.unrecorded():
                self._node["node_uuid"].setValue(identifier)
        _by_uuid[identifier] = self
        return identifier

    def release_identifier(self) -> None:
        for identifier, owner in list(_by_uuid.items()):
            if owner is self or owner.is_on(self._node):
                del _by_uuid[identifier]

    def settings(self) -> Settings:
        node = self._node
        version = int(node["version"].value())
        return Settings(
            node_uuid=self.identifier,
            name=self.name,
            frame_range=str(node["range"].value()),
            first=int(node["first"].value()),
            last=int(node["last"].value()),
            annotated=str(node["annotated"].value()).strip(),
            engine=str(node["engine"].value()),
            refine_edges=bool(node["refine_edges"].value()),
            handles=int(node["handles"].value()),
            input_colour=str(node["input_colour"].value()),
            endpoint=endpoint_of(str(node["endpoint"].value())),
            timeout_s=daemon_timeout_s(),
            mattes=mattes_pattern(str(node["cache_dir"].evaluate() or ""), self.identifier, version),
        )

    def input(self, index: int) -> host.Node | None:
        return self._node.input(index)

    def show_status(self, sentence: str) -> None:
        self._node["status"].setValue(sentence)

    def show_objects(self, names: tuple[str, ...] | list[str]) -> None:
        self._node["objects"].setValue(", ".join(names) if names else "none")

    def show_engine(self, engine: str) -> None:
        self._node["engine_used"].setValue(engine)

    def show_mattes(self, pattern: str, first: int, last: int, count: int, *, on_error: str) -> None:
        """Point the internal Read at ``pattern`` and reload it.

        Args:
            first: first frame that should have a matte, inclusive.
            last: last frame, inclusive. The Read's own range holds no better answer than black for frames outside
                of it, so it covers the whole plate, where ``on_error`` decides.
            count: how many are on disk; the plate passes through untouched at 0.
            on_error: ``black`` while mattes still arrive or were stopped, ``error`` once all are there that were
                asked for, so that a farm never renders a hole in silence.
        """
        self._node["mattes"].setValue(pattern)
        read = self._internal_read()
        for knob, frame in (("first", first), ("last", last), ("origfirst", first), ("origlast", last)):
            read[knob].setValue(frame)
        read["on_error"].setValue(on_error)
        self._node["matte_count"].setValue(count)
        read["reload"].execute()

    def enable_range(self) -> None:
        custom = self._node["range"].value() == "custom"
        for knob in ("first", "last"):
            self._node[knob].setEnabled(custom)

    def fill_range(self) -> None:
        """Start an untouched custom range at the plate's, which is nearer to any wish than 0-0."""
        node = self._node
        if node["range"].value() != "custom" or node["first"].value() or node["last"].value():
            return
        plate = node.input(PLATE_INPUT)
        if plate is not None:
            node["first"].setValue(int(plate.firstFrame()))
            node["last"].setValue(int(plate.lastFrame()))

    def label(self) -> str:
        """Return the node graph's label, such as ``Rotomem1`` over ``v003``; no file is touched."""
        node = self._node
        lines = [node.name(), "v{:03d} {}".format(int(node["version"].value()), node["status"].value())]
        return "\n".join(lines)

    def _internal_read(self) -> host.Node:
        # Kept: each lookup costs a handle in the non-commercial edition, even of a node already held.
        if not self._read_handle:
            self._read_handle.append(host.required(self._node.node(INTERNAL_READ), INTERNAL_READ))
        return self._read_handle[0]


def is_rotomem(node: host.Node | None) -> bool:
    return node is not None and node.Class() in ("Group", "Rotomem") and "rotomem_version" in node.knobs()


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


def mattes_pattern(cache_dir: str, identifier: str, version: int) -> str:
    """Return the matte files' pattern, forward slashes on every platform.

    An empty ``cache_dir`` is ``rotomem`` beside the script, or in Nuke's temporary folder for one never saved.
    """
    folder = cache_dir.strip()
    if not folder:
        script = host.value("root.name")
        saved = os.path.dirname(script) if script and script != "Root" else ""
        folder = os.path.join(saved or os.environ.get("NUKE_TEMP_DIR", tempfile.gettempdir()), "rotomem")
    return f"{Path(folder).as_posix()}/{identifier}/v{version:03d}/matte.%04d.exr"


def frames_on_disk(pattern: str) -> list[int]:
    """Return the frames of a ``name.%04d.exr`` pattern that are files, ascending; lists a folder: worker threads."""
    folder, name = os.path.split(pattern)
    if not os.path.isdir(folder):
        return []
    head, _, tail = name.partition("%04d")
    numbered = re.compile(re.escape(head) + r"(-?\d{4,})" + re.escape(tail) + "$")
    matches = (numbered.match(entry) for entry in os.listdir(folder))
    return sorted(int(match.group(1)) for match in matches if match)
