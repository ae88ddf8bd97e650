"""What Nuke calls by itself. Fast, re-entrant, no file and no network; nothing here starts a propagation."""

from __future__ import annotations

from typing import Optional

from rotomem_nuke import host, runs, staleness
from rotomem_nuke.node import RotomemNode, is_rotomem

COMPARED = frozenset(
    {
        *("engine", "weights", "refine_edges", "second_opinion", "tune", "process_at", "input_colour", "colourspace"),
        *("annotated", "showPanel"),
    }
)
"""Knobs that the mattes depend on, and the moment at which an artist looks."""


def on_create() -> None:
    """A node was created, pasted, loaded or brought back by undo: it gets an identifier nobody else has.

    With a window, what the cache holds for it is looked up on a thread: mattes that came while the script was closed,
    and a job that still makes some.
    """
    node = host.this_node()
    if not is_rotomem(node):
        return
    identifier = str(node["node_uuid"].value())
    rotomem = RotomemNode.of(node)
    rotomem.enable_knobs()
    known = rotomem.identifier == identifier  # neither new nor a paste
    if known and host.gui() and runs.running(identifier) is None:
        staleness.pick_up(rotomem)


def on_destroy() -> None:
    """The identifier is free again, so that an undo of the delete finds its mattes under it."""
    node = host.this_node()
    if is_rotomem(node):
        RotomemNode.of(node).release_identifier()


def knob_changed() -> None:
    """React to the few knobs that others depend on.

    Nuke 17.1 also calls this for changes by scripts, ours included, so only named knobs are looked at.
    """
    knob = host.this_knob()
    if knob is None:
        return
    name = knob.name()
    if name in ("inputChange", "showPanel") and host.limits_handles():  # each look would cost one of ten handles
        return
    if name in ("range", "input_colour", "showPanel", "inputChange"):
        rotomem = RotomemNode.of(host.this_node())
        rotomem.enable_knobs()
        if name != "showPanel":
            rotomem.fill_range()
    if name in ("object", "output"):
        RotomemNode.of(host.this_node()).show_chosen_object()
    elif name in ("version", "cache_dir") and host.gui():
        staleness.show_version(RotomemNode.of(host.this_node()))
    elif name == "freeze" and host.gui():
        _freeze(RotomemNode.of(host.this_node()))
    if name in COMPARED and host.gui() and not host.limits_handles():
        staleness.check(RotomemNode.of(host.this_node()), now=True)


def _freeze(rotomem: RotomemNode) -> None:
    """Lock the version, also against work under way: what it has made is kept."""
    run = runs.running(rotomem.identifier)
    if run is not None and rotomem.settings().frozen:
        run.stop()
    staleness.write_freeze(rotomem)


def update_ui() -> None:
    """After any change to the script, in Nuke's idle time: do the mattes still belong to it?"""
    if host.limits_handles() or not host.gui():
        return
    node = host.this_node()
    if is_rotomem(node):
        staleness.check(RotomemNode.of(node))


def autolabel() -> Optional[str]:
    """Return a Rotomem node's label; None leaves any other Group to Nuke."""
    if host.limits_handles():  # drawn again and again, each time at the price of one of ten handles
        return None
    node = host.this_node()
    return RotomemNode.of(node).label() if is_rotomem(node) else None
