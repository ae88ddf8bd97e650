"""One Rotomem node: its identity, what its panel shows, and the nodes inside of it that follow."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from rotomem_nuke import host
from rotomem_nuke.errors import GraphError
from rotomem_nuke.settings import PRIORITIES, SHOWS_ERRORS, Settings, daemon_timeout_s, endpoint_of, mattes_pattern

PLATE_INPUT = 0
ROTO_INPUT = 1
INTERNAL_READ = "CacheRead"
OBJECT_COPY = "ObjectAlpha"
NO_OBJECT = "none"
ONE_OBJECT = "one object"
TILE_COLOURS = {
    "idle": 0x7F7F7FFF,
    "running": 0x3F6FBFFF,
    "complete": 0x4F9F4FFF,
    "stale": 0xCF9F2FFF,
    "error": 0xBF3F3FFF,
}
"""By state; grey, blue, green, amber, red."""

_by_uuid: dict[str, RotomemNode] = {}


class RotomemNode:
    """A handle on one node in the graph. It survives renaming; every method needs the main thread."""

    def __init__(self, node: host.Node) -> None:
        self._node = node
        self._inner: dict[str, host.Node] = {}
        self._wired: dict[int, host.Node] = {}
        self._shown_keys: dict[int, int] = {}

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
                if taken:
                    self.show_nothing()
        _by_uuid[identifier] = self
        return identifier

    def release_identifier(self) -> None:
        for identifier, owner in list(_by_uuid.items()):
            if owner is self or owner.is_on(self._node):
                del _by_uuid[identifier]

    def mattes(self, view: str = "") -> str:
        """Return where the mattes of the knobs' version lie, as ``Settings.mattes``."""
        cache_dir = str(self._node["cache_dir"].evaluate() or "")
        return mattes_pattern(cache_dir, self.identifier, int(self._node["version"].value()), view)

    def settings(self, view: str = "") -> Settings:
        """Return the knobs as they are now.

        Args:
            view: of the mattes wanted; empty in a script with a single view.
        """
        node = self._node
        colour = str(node["input_colour"].value())
        return Settings(
            node_uuid=self.identifier,
            name=self.name,
            view=view,
            views=str(node["views"].value()).strip(),
            frame_range=str(node["range"].value()),
            first=int(node["first"].value()),
            last=int(node["last"].value()),
            handles=int(node["handles"].value()),
            annotated=str(node["annotated"].value()).strip(),
            engine=str(node["engine"].value()),
            weights=str(node["weights"].value()).strip(),
            refine_edges=bool(node["refine_edges"].value()),
            tune=bool(node["tune"].value()),
            # A comp carries its group: one saved with layout 2 has no such knob.
            motion=str(node["motion"].value()) if "motion" in node.knobs() else "auto",
            second_opinion=self._second_opinion(),
            process_at=str(node["process_at"].value()),
            priority=PRIORITIES.index(str(node["priority"].value())),
            live=bool(node["live"].value()),
            input_colour=str(node["colourspace"].value()).strip() if colour == "named" else colour,
            endpoint=endpoint_of(str(node["endpoint"].value())),
            timeout_s=daemon_timeout_s(),
            version=int(node["version"].value()),
            frozen=bool(node["freeze"].value()),
            mattes=self.mattes(view),
            shown_mattes=self.mattes("%V" if view else ""),
        )

    def _second_opinion(self) -> str:
        if "second_opinion" not in self._node.knobs():  # before layout 4
            return "off"
        chosen = str(self._node["second_opinion"].value())
        return "errors" if chosen == SHOWS_ERRORS else chosen

    def input(self, index: int) -> host.Node | None:
        """Return what is wired into an input."""
        if not host.limits_handles():
            return self._node.input(index)
        held = self._wired.get(index)
        if held is None or _name_of(held) != host.value(f"{self.name}.input{index}.name"):  # by name costs no handle
            held = self._node.input(index)
            if held is not None:
                self._wired[index] = held
        return held

    # --- what the panel shows ---

    def show_status(self, sentence: str) -> None:
        self._set("status", sentence)

    def show_daemon(self, sentence: str) -> None:
        self._set("backend_state", sentence)

    def show_engine(self, engine: str) -> None:
        self._set("engine_used", engine)

    def show_progress(self, text: str) -> None:
        """Show such as ``96/120``: mattes made of mattes wanted."""
        self._set("progress", text)

    def show_suggestions(self, frames: Sequence[int]) -> None:
        self._set("suggested", ", ".join(str(frame) for frame in frames))

    @property
    def state(self) -> str:
        return str(self._node["state"].value())

    @property
    def has_mattes(self) -> bool:
        return int(self._node["matte_count"].value()) > 0

    def show_state(self, state: str, failure: str = "") -> None:
        """Colour the tile, one of ``TILE_COLOURS``; ``failure`` is the node's error where it has no matte to show."""
        self._set("state", state)
        self._set("tile_color", TILE_COLOURS[state])
        self._set("failure", failure)
        self._set("failed", 1 if failure else 0)

    def objects(self) -> list[str]:
        """Return what the object knob offers."""
        return list(self._node["object"].values())

    def chosen_object(self) -> str:
        return str(self._node["object"].value())

    def clicks(self) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float, float, float]]:
        """Return the point on the object, the one beside it, and the box as x, y, right, top; origin bottom-left."""
        x, y = (float(number) for number in self._node["click"].value())
        u, v = (float(number) for number in self._node["avoid"].value())
        left, bottom, right, top = (float(number) for number in self._node["click_box"].value())
        return (x, y), (u, v), (left, bottom, right, top)

    @property
    def tolerance(self) -> float:
        """In pixels, of Bake to Roto."""
        return float(self._node["tolerance"].value())

    def show_objects(self, names: Sequence[str]) -> None:
        """Offer the objects for choice; the chosen one stays as long as it exists."""
        wanted = list(names) or [NO_OBJECT]
        knob = self._node["object"]
        if list(knob.values()) != wanted:
            knob.setValues(wanted)
        self.show_chosen_object()

    def show_chosen_object(self) -> None:
        """Let the alpha of the output 'one object' be the chosen object's.

        Saved with the comp inside of the group: a blade needs no plugin to show it.
        """
        if self._node["output"].value() != ONE_OBJECT:
            return
        chosen = str(self._node["object"].value())
        channel = "rgba.alpha"
        if chosen != NO_OBJECT:
            channel = f"{chosen}.alpha"
            host.add_layer(chosen, [channel])
        copy = self._inside(OBJECT_COPY)
        if copy["from0"].value() != channel:
            copy["from0"].setValue(channel)

    def show_keys(self, objects_by_frame: Mapping[int, int]) -> None:
        """Put a key on each annotated frame, with the number of objects drawn there, for the dope sheet."""
        knob = self._node["annotated_keys"]
        same_frames = {round(time) for time in knob.getKeyList()} == set(objects_by_frame)
        if same_frames and self._shown_keys in ({}, dict(objects_by_frame)):
            return
        self._shown_keys = dict(objects_by_frame)
        knob.clearAnimated()
        if objects_by_frame:
            knob.setAnimated()
        for frame, count in sorted(objects_by_frame.items()):
            knob.setValueAt(count, frame)

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
        self._set("mattes", pattern)
        read = self._inside(INTERNAL_READ)
        for knob, frame in (("first", first), ("last", last), ("origfirst", first), ("origlast", last)):
            read[knob].setValue(frame)
        read["on_error"].setValue(on_error)
        self._set("matte_count", count)
        read["reload"].execute()

    def show_nothing(self) -> None:
        """Let the plate pass: a paste, a cleared cache or a new version has no mattes yet."""
        self.show_status("not propagated yet")
        self.show_state("idle")
        for knob, value in (("matte_count", 0), ("progress", ""), ("mattes", ""), ("freeze", False)):
            self._set(knob, value)

    def show_version(self, version: int) -> None:
        self._set("version", version)

    def show_freeze(self, frozen: bool) -> None:
        self._set("freeze", frozen)

    # --- knobs that follow others ---

    def enable_knobs(self) -> None:
        custom = self._node["range"].value() == "custom"
        for knob in ("first", "last"):
            self._node[knob].setEnabled(custom)
        self._node["colourspace"].setEnabled(self._node["input_colour"].value() == "named")

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
        """Return the node graph's label, such as ``Rotomem1`` over ``v003 96/120``; no file is touched."""
        node = self._node
        lines = [node.name(), "v{:03d} {}".format(int(node["version"].value()), node["progress"].value()).rstrip()]
        if self.state in ("stale", "error"):
            lines.append(self.state)
        if node["freeze"].value():
            lines.append("frozen")
        if node["view"].value() != "result":
            lines.append("view: {}".format(node["view"].value()))
        own = str(node["label"].evaluate() or "").strip()
        return "\n".join([*lines, own] if own else lines)

    def _set(self, knob: str, value: object) -> None:
        """Set a knob only where that changes something: each change makes the script unsaved."""
        if self._node[knob].value() != value:
            self._node[knob].setValue(value)

    def _inside(self, name: str) -> host.Node:
        # Kept: each lookup costs a handle in the non-commercial edition, even of a node already held.
        if name not in self._inner:
            self._inner[name] = host.required(self._node.node(name), name)
        return self._inner[name]


def _name_of(node: host.Node) -> str:
    try:
        return node.name()
    except host.DETACHED:
        return ""


def is_rotomem(node: host.Node | None) -> bool:
    return node is not None and node.Class() in ("Group", "Rotomem") and "rotomem_version" in node.knobs()
