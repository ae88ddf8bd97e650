"""What Nuke calls by itself. Fast, re-entrant, no file and no network; nothing here starts work."""

from __future__ import annotations

from typing import Optional

from rotomem_nuke import host
from rotomem_nuke.node import RotomemNode, is_rotomem


def on_create() -> None:
    """A node was created, pasted, loaded or brought back by undo: it gets an identifier nobody else has."""
    node = host.this_node()
    if is_rotomem(node):
        RotomemNode.of(node).enable_range()


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
    if name == "inputChange" and host.limits_handles():  # too frequent where each look costs one of ten handles
        return
    if name in ("range", "showPanel", "inputChange"):
        rotomem = RotomemNode.of(host.this_node())
        rotomem.enable_range()
        if name != "showPanel":
            rotomem.fill_range()


def autolabel() -> Optional[str]:
    """Return a Rotomem node's label; None leaves any other Group to Nuke."""
    if host.limits_handles():  # drawn again and again, each time at the price of one of ten handles
        return None
    node = host.this_node()
    return RotomemNode.of(node).label() if is_rotomem(node) else None
