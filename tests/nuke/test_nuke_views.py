"""Stereo: each view has its own plate, its own session and its own mattes; one node shows them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from nuke_scene import add_layer, add_shape, read_node, roto_node, rotomem_node

import nuke
from rotomem.plates import read_alpha
from rotomem_nuke.collection import read_graph
from rotomem_nuke.errors import GraphError
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.plate import find_plate


@pytest.fixture
def stereo(fake: Any, plate_files: Callable[..., str]) -> Any:
    """A node over plate.left.%04d.exr and plate.right.%04d.exr."""
    fake.set_views("left", "right")
    for view in fake.views:
        pattern = plate_files(name=f"plate.{view}")
    roto = roto_node()
    add_shape(add_layer(roto["curves"].rootLayer, "arm"), keys=[1, 9])
    return rotomem_node(read_node(pattern.replace("right", "%V")), roto)


def test_every_view_is_a_request_with_files_session_and_folder_of_its_own(stereo: Any) -> None:
    left, right = read_graph(RotomemNode.of(stereo))
    assert left.plate.pattern.endswith("plate.left.%04d.exr")
    assert right.plate.pattern.endswith("plate.right.%04d.exr")
    assert (left.plate.view, left.plate.extracted_because) == ("left", "")
    assert left.settings.session_id.endswith("-left")
    assert left.settings.session_id != right.settings.session_id
    assert left.settings.mattes.endswith("/v001/left/matte.%04d.exr")
    assert left.settings.shown_mattes == right.settings.shown_mattes
    assert left.settings.shown_mattes.endswith("/v001/%V/matte.%04d.exr")


def test_the_artist_chooses_views(stereo: Any) -> None:
    stereo["views"].setValue("right")
    (only,) = read_graph(RotomemNode.of(stereo))
    assert only.plate.view == "right"
    stereo["views"].setValue("right, middle")
    with pytest.raises(GraphError, match="'views' names 'middle', but the script has left, right; correct it"):
        read_graph(RotomemNode.of(stereo))


def test_a_short_view_name_is_its_first_letter(fake: Any, plate_files: Callable[..., str]) -> None:
    fake.set_views("left", "right")
    read = read_node(plate_files(name="plate_l").replace("plate_l", "plate_%v"))
    assert find_plate(read, "auto", "left").pattern.endswith("plate_l.%04d.exr")


def test_a_read_that_may_differ_by_view_is_rendered_one_view_at_a_time(
    fake: Any, plate_files: Callable[..., str], tmp_path: Any
) -> None:
    fake.set_views("left", "right")
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1])
    node = rotomem_node(read_node(plate_files()), roto)
    for request in read_graph(RotomemNode.of(node)):
        assert request.plate.extracted_because == "Read1 may show another file in each view"
        request.extract(tmp_path, 1, 2)
    assert [render["views"] for render in fake.renders] == [["left"], ["right"]]
    assert nuke.toNode("Write1") is None


def test_a_shape_of_one_view_is_rendered_by_nuke_and_one_of_all_views_is_read(
    fake: Any, stereo: Any, tmp_path: Any
) -> None:
    """A shape's ``nv`` says in how many views it is drawn; which ones is left to Nuke."""
    (layer,) = stereo.input(1)["curves"].rootLayer
    (shape,) = layer
    attributes = shape.getAttributes()
    attributes.set("nv", 1.0)
    attributes.set("view1", 2.0)
    left, right = read_graph(RotomemNode.of(stereo))
    drawn = {}
    for request in (left, right):
        annotation = request.annotations[0]
        assert annotation.rendered_because == "'Bezier1' is drawn in some of the views only; 'views' chooses these"
        folder = tmp_path / request.plate.view
        folder.mkdir()
        drawn[request.plate.view] = read_alpha(request.render_alpha(folder, annotation), annotation.frame)
    assert drawn["left"].max() == 0.0
    assert drawn["right"].sum() == 900.0
    attributes.set("nv", 2.0)
    assert [request.annotations[0].rendered_because for request in read_graph(RotomemNode.of(stereo))] == ["", ""]


def test_points_split_by_view_are_read_with_their_own_keys(fake: Any, stereo: Any) -> None:
    (layer,) = stereo.input(1)["curves"].rootLayer
    (shape,) = layer
    shape.getAttributes().set("nv", 2.0)
    for point in shape:
        x, y, z = point.center.getPosition(1)
        point.center.addPositionKey(5, (x + 3.0, y, z), "right")
    left, right = read_graph(RotomemNode.of(stereo))
    assert [annotation.frame for annotation in left.annotations] == [1, 5, 9]
    five = [request.annotations[1].shapes[0].points[0].center[0] for request in (left, right)]
    assert five == [20.0, 23.0]


def test_a_script_with_one_view_keeps_plain_names(fake: Any, plate_files: Callable[..., str]) -> None:
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1])
    (request,) = read_graph(RotomemNode.of(rotomem_node(read_node(plate_files()), roto)))
    settings = request.settings
    assert settings.session_id == settings.node_uuid
    assert settings.mattes == settings.shown_mattes
    assert settings.mattes.endswith("/v001/matte.%04d.exr")
