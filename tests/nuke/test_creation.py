"""The menu's node: wired, with a Roto to draw in, and the playhead where a drawing helps most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nuke_scene import add_shape, read_node, roto_node

import nuke


def press(fake: Any, *selected: Any) -> Any:
    """Choose the menu's entry with nodes selected; return the new node."""
    for node in selected:
        node["selected"].setValue(True)
    exec(fake.menu_commands["Nodes/Rotomem/Rotomem"], {"nuke": nuke})
    return nuke.toNode("Rotomem1")


def test_a_selected_plate_gets_a_node_and_a_roto_to_draw_in(fake: Any, plate_files: Callable[..., str]) -> None:
    node = press(fake, read_node(plate_files(1001, 1009), 1001, 1009))
    assert [node.input(index).fullName() for index in (0, 1)] == ["Read1", "Roto1"]
    assert node.input(1).input(0).fullName() == "Read1"
    assert nuke.frame() == 1005
    assert node["status"].value().startswith("draw on frame 1005, the middle of the plate")
    assert fake.panels == ["Roto1"]
    assert node["state"].value() == "idle"  # nothing runs by itself


def test_a_selected_roto_is_the_one_that_is_drawn_in(fake: Any, plate_files: Callable[..., str]) -> None:
    plate = read_node(plate_files())
    roto = roto_node()
    roto.setInput(0, plate)
    add_shape(roto["curves"].rootLayer, keys=[3])
    nuke.frame(7)
    node = press(fake, roto)
    assert [node.input(index).fullName() for index in (0, 1)] == ["Read1", "Roto1"]
    assert nuke.frame() == 7
    assert node["status"].value() == "press Propagate; its keys are the annotated frames"
    assert [found.name() for found in nuke.allNodes("Roto")] == ["Roto1"]


@pytest.mark.parametrize("plate_first", [True, False])
def test_plate_and_roto_may_both_be_selected(fake: Any, plate_files: Callable[..., str], plate_first: bool) -> None:
    chosen = [read_node(plate_files()), roto_node()]
    node = press(fake, *(chosen if plate_first else chosen[::-1]))
    assert [node.input(index).fullName() for index in (0, 1)] == ["Read1", "Roto1"]


def test_with_nothing_selected_the_status_says_what_to_wire(fake: Any) -> None:
    node = press(fake)
    assert node.input(0) is None
    assert node.input(1).Class() == "Roto"
    assert node["status"].value() == "wire the plate into 'img', draw in the Roto, then press Propagate"
