"""A new node from the menu: on the selected plate, with a Roto to draw in, the playhead where to begin. Main thread."""

from __future__ import annotations

from typing import Optional

from rotomem_nuke import host, roto
from rotomem_nuke.errors import PluginError
from rotomem_nuke.node import PLATE_INPUT, ROTO_INPUT, RotomemNode

BESIDE_PX = 110


def create_from_menu() -> host.Node:
    """Create a node as the menu and Tab do; return it.

    A selected Roto becomes the one that is drawn in; otherwise a new one is made, over the plate. The playhead goes to
    the middle of a plate on which nothing is drawn: from there mattes travel the shortest way. Nothing else runs.
    """
    selected = host.selected_nodes()
    drawn = next((node for node in selected if roto.is_roto(node)), None)
    plate = next((node for node in selected if node is not drawn), None)
    if plate is None and drawn is not None:
        plate = drawn.input(0)
    made = host.create_with_panel("Rotomem")
    made.setInput(PLATE_INPUT, plate)
    if drawn is None:
        with host.parent_of(made):
            drawn = host.create("Roto", inputs=[plate] if plate is not None else [])
        host.place_beside(drawn, made, BESIDE_PX, 0)
    made.setInput(ROTO_INPUT, drawn)
    rotomem = RotomemNode.of(made)
    with host.unrecorded():
        rotomem.show_status(_go_to_first_frame(plate, drawn))
    host.open_panel(drawn)  # last, so that its tools are the Viewer's
    return made


def _go_to_first_frame(plate: Optional[host.Node], drawn: host.Node) -> str:
    if plate is None:
        return "wire the plate into 'img', draw in the Roto, then press Propagate"
    if any(roto.key_frames(drawn, found) for found in roto.roto_objects(drawn)):
        return "press Propagate; its keys are the annotated frames"
    try:
        first, last = int(plate.firstFrame()), int(plate.lastFrame())
    except (RuntimeError, PluginError):  # an input that Nuke itself cannot read yet
        return "draw in the Roto, then press Propagate"
    middle = (first + last) // 2
    host.move_playhead(middle)
    return f"draw on frame {middle}, the middle of the plate, or where Suggest Frame leads; then press Propagate"
