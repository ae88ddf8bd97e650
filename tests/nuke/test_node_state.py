"""The node's identity, callbacks, knobs and refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nuke_scene import PLUGIN, add_layer, add_shape, read_node, roto_node, rotomem_node

import nuke
from nuke import _script
from rotomem_nuke import actions
from rotomem_nuke.annotation import parse_frames, read_drawing
from rotomem_nuke.cache import frames_on_disk
from rotomem_nuke.callbacks import autolabel
from rotomem_nuke.collection import read_graph
from rotomem_nuke.errors import GraphError, HandleLimitError
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.plate import find_plate
from rotomem_nuke.settings import mattes_pattern


def _identifier(node: Any) -> str:
    return str(node["node_uuid"].value())


def test_a_paste_gets_its_own_identifier_and_the_original_keeps_its(fake: Any) -> None:
    node = nuke.createNode("Rotomem")
    first = _identifier(node)
    twin = nuke.toNode(node._op.duplicate().full_name)
    assert twin.fullName() == "Rotomem2"
    assert _identifier(node) == first
    assert len(_identifier(twin)) == 32
    assert _identifier(twin) != first


def test_a_renamed_node_keeps_its_state_and_a_paste_of_it_is_told_apart(fake: Any) -> None:
    node = nuke.createNode("Rotomem")
    first = _identifier(node)
    node.setName("hero")
    assert RotomemNode.of(node).identifier == first
    twin = nuke.toNode(node._op.duplicate().full_name)
    assert _identifier(node) == first
    assert _identifier(twin) != first


def test_undoing_a_delete_brings_the_identifier_back(fake: Any) -> None:
    node = nuke.createNode("Rotomem")
    first = _identifier(node)
    op = node._op
    nuke.delete(node)
    op.attached = True
    fake.root.children.append(op)
    op.run("onCreate")
    assert _identifier(nuke.toNode("Rotomem1")) == first


def test_a_reopened_script_keeps_identifiers(fake: Any) -> None:
    from nuke_scene import PLUGIN

    from nuke import _script

    text = (PLUGIN.parent / "gizmos" / "Rotomem.gizmo").read_text(encoding="utf-8")
    (op,) = _script.load(text.replace(" version 1\n", " version 1\n node_uuid 0123abcd\n"), fake.root)
    op.run("onCreate")
    assert _identifier(nuke.toNode(op.full_name)) == "0123abcd"


@pytest.mark.parametrize(
    ("layout", "newer"),
    [
        (2, "second_opinion|motion|from_motion|to_roto|tolerance|clicks|click|avoid|click_box|draw_click"),
        (3, "second_opinion"),
    ],
)
def test_a_comp_with_an_older_layout_of_the_node_goes_on(
    layout: int, newer: str, fake: Any, plate_files: Callable[..., str]
) -> None:
    """Layout 2 had no motion, no clicks and no bake, layout 3 no second opinion."""
    gizmo = (PLUGIN.parent / "gizmos" / "Rotomem.gizmo").read_text(encoding="utf-8")
    older = re.sub(rf"^ (?:addUserKnob \{{\d+ )?(?:{newer}) .*\n", "", gizmo, flags=re.M).replace(
        "_version 4", f"_version {layout}"
    )
    (op,) = _script.load(older, nuke.root()._op)
    op.run("onCreate")
    node = nuke.toNode(op.full_name)
    assert not set(newer.split("|")) & set(node.knobs())
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1])
    node.setInput(0, read_node(plate_files()))
    node.setInput(1, roto)
    (request,) = read_graph(RotomemNode.of(node))
    assert (request.settings.motion, request.settings.second_opinion) == ("auto", "off")
    assert node["object"].values() == ["none"]


@pytest.mark.usefixtures("fake")
def test_the_range_knobs_open_for_a_custom_range_only() -> None:
    node = nuke.createNode("Rotomem")
    assert not node["first"].enabled()
    node["range"].setValue("custom")
    assert node["first"].enabled()
    assert node["last"].enabled()
    node["range"].setValue("input")
    assert not node["last"].enabled()


@pytest.mark.parametrize("wired_first", [True, False])
def test_a_custom_range_starts_as_the_plates(fake: Any, plate_files: Callable[..., str], wired_first: bool) -> None:
    node = nuke.createNode("Rotomem")
    plate = read_node(plate_files(), first=1001, last=1040)
    steps = [lambda: node.setInput(0, plate), lambda: node["range"].setValue("custom")]
    for step in steps if wired_first else reversed(steps):
        step()
    assert (node["first"].value(), node["last"].value()) == (1001, 1040)
    node["first"].setValue(1010)
    node.setInput(0, read_node(plate_files(), first=1, last=9))
    assert (node["first"].value(), node["last"].value()) == (1010, 1040)  # the artist's own now


def test_other_ranges_leave_the_custom_one_alone(fake: Any, plate_files: Callable[..., str]) -> None:
    node = nuke.createNode("Rotomem")
    node.setInput(0, read_node(plate_files()))
    assert (node["first"].value(), node["last"].value()) == (0, 0)


def test_the_wait_for_a_silent_daemon_comes_from_the_environment(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rotomem = RotomemNode.of(nuke.createNode("Rotomem"))
    monkeypatch.delenv("ROTOMEM_TIMEOUT_S", raising=False)
    assert rotomem.settings().timeout_s == 10.0
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "2.5")
    assert rotomem.settings().timeout_s == 2.5
    for wrong in ("0", "-1", "nan", "inf", "soon"):
        monkeypatch.setenv("ROTOMEM_TIMEOUT_S", wrong)
        with pytest.raises(GraphError, match=f"ROTOMEM_TIMEOUT_S is '{wrong}'; set it to seconds such as 10"):
            rotomem.settings()


def test_the_label_names_version_and_status_and_leaves_other_groups_alone(fake: Any) -> None:
    node = nuke.createNode("Rotomem")
    node["version"].setValue(3)
    fake.this.append((node._op, None))
    assert autolabel() == "Rotomem1\nv003"
    fake.this.append((nuke.nodes.Group()._op, None))
    assert autolabel() is None


def test_mattes_lie_beside_the_script_under_identifier_and_version(fake: Any, tmp_path: Path) -> None:
    assert mattes_pattern("", "ab12", 2) == f"{tmp_path}/rotomem/ab12/v002/matte.%04d.exr"  # NUKE_TEMP_DIR
    fake.root.knobs["name"]._value = "/shots/a/comp_v004.nk"
    assert mattes_pattern("", "ab12", 2) == "/shots/a/rotomem/ab12/v002/matte.%04d.exr"
    assert mattes_pattern("/cache", "ab12", 12) == "/cache/ab12/v012/matte.%04d.exr"


def test_frames_on_disk_counts_whole_mattes_only(tmp_path: Path) -> None:
    for name in ("matte.0007.exr", "matte.1001.exr", "matte.0008.exr.part", "other.0009.exr", "matte.12345.exr"):
        (tmp_path / name).touch()
    assert frames_on_disk(f"{tmp_path}/matte.%04d.exr") == [7, 1001, 12345]
    assert frames_on_disk(f"{tmp_path}/none/matte.%04d.exr") == []


def test_the_environment_wins_over_the_backend_address(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = nuke.createNode("Rotomem")
    rotomem = RotomemNode.of(node)
    assert rotomem.settings().endpoint == "tcp://127.0.0.1:7447"
    node["endpoint"].setValue("tcp://gpu01:7447")
    assert rotomem.settings().endpoint == "tcp://gpu01:7447"
    monkeypatch.setenv("ROTOMEM_ENDPOINT", "tcp://gpu02:7447")
    assert rotomem.settings().endpoint == "tcp://gpu02:7447"


def test_frame_lists_are_ranges_with_steps() -> None:
    assert parse_frames("1001, 1040-1050x5 7") == [7, 1001, 1040, 1045, 1050]
    for wrong in ("10-1", "1-5x0", "abc", "1..5"):
        with pytest.raises(GraphError, match=r"write frames and ranges such as 1001,1040-1050x5"):
            parse_frames(wrong)


def test_each_object_is_annotated_on_its_own_keys(fake: Any, plate_files: Callable[..., str]) -> None:
    plate = find_plate(read_node(plate_files()), "auto")
    roto = roto_node()
    root = roto["curves"].rootLayer
    add_shape(add_layer(root, "arm"), keys=[1, 9])
    add_shape(add_layer(root, "leg"), keys=[5, 40])
    ghost = add_layer(root, "ghost")
    add_shape(ghost, keys=[3])
    ghost.setVisible(3, False)
    drawing = read_drawing(roto, "", plate)
    assert drawing.objects == ("arm", "leg")
    assert [(a.frame, a.object_name) for a in drawing.annotations] == [(1, "arm"), (5, "leg"), (9, "arm")]
    assert drawing.remarks == ("keys of leg outside of the plate are left out: 40",)
    assert all(len(a.shapes) == 1 and not a.rendered_because for a in drawing.annotations)
    listed = read_drawing(roto, "2,3", plate)
    assert [(a.frame, a.object_name) for a in listed.annotations] == [(2, "arm"), (2, "leg"), (3, "arm"), (3, "leg")]


def test_a_node_with_the_name_of_a_layer_of_nukes_draws_an_object_of_another_name(
    fake: Any, plate_files: Callable[..., str]
) -> None:
    painting = read_node(plate_files())
    painting.setName("alpha")
    assert read_drawing(painting, "2", find_plate(painting, "auto")).objects == ("alpha_matte",)


def test_a_hidden_object_is_absent_where_it_is_keyed(fake: Any, plate_files: Callable[..., str]) -> None:
    plate = find_plate(read_node(plate_files()), "auto")
    roto = roto_node()
    attributes = add_shape(roto["curves"].rootLayer, keys=[1, 9]).getAttributes()
    for name, value in (("ltt", 4), ("ltn", 1), ("ltm", 5)):
        attributes.set(name, value)
    drawing = read_drawing(roto, "", plate)
    assert [(a.frame, a.absent, len(a.shapes)) for a in drawing.annotations] == [(1, False, 1), (9, True, 0)]


def _press(node: Any) -> None:
    node["propagate"].execute()


def test_a_button_that_cannot_start_says_why_in_a_message_and_on_the_node(
    fake: Any, plate_files: Callable[..., str]
) -> None:
    node = nuke.createNode("Rotomem")
    plate = read_node(plate_files())
    roto = roto_node()

    def refusal() -> str:
        _press(node)
        assert node["status"].value() == "failed: " + fake.messages[-1].replace("Rotomem: ", "", 1)
        return str(fake.messages.pop())

    assert refusal() == "Rotomem: the plate input is not connected; wire the plate into 'img'"
    node.setInput(0, plate)
    assert refusal() == "Rotomem: the roto input is not connected; wire a Roto into 'roto'"
    node.setInput(1, roto)
    assert "Roto1 has no visible shape with a key between frame 1 and 9" in refusal()
    add_shape(roto["curves"].rootLayer, keys=[2])
    node["annotated"].setValue("2,99")
    assert "annotated frame 99 is outside of the plate (1-9); correct 'annotated frames'" in refusal()
    node["annotated"].setValue("")
    node["range"].setValue("custom")
    node["first"].setValue(5)
    node["last"].setValue(20)
    assert "the frame range 5-20 reaches outside of the plate (1-9); correct 'frame range'" in refusal()
    node.setInput(1, plate)
    node["range"].setValue("input")
    assert "Read1 is no Roto, so its annotated frames are unknown" in refusal()
    roto["disable"].setValue(True)
    node.setInput(1, roto)
    assert "Roto1 is disabled" in refusal()
    assert fake.requests.empty()


def test_without_a_window_the_refusal_is_an_exception(fake: Any) -> None:
    fake.reset(gui=False)
    node = nuke.nodes.Group()
    with pytest.raises(GraphError, match="Group1 is not a Rotomem node"):
        actions.propagate(node)


def test_the_handle_limit_of_the_free_edition_is_a_sentence(fake: Any, plate_files: Callable[..., str]) -> None:
    from nuke_scene import PLUGIN

    fake.reset(gui=False, nc=True)
    fake.start(PLUGIN)
    node = nuke.createNode("Rotomem")
    while nuke.toNode("Rotomem1") is not None:
        pass
    with pytest.raises(HandleLimitError, match="ten nodes per session and the limit is reached at CacheRead"):
        RotomemNode.of(node).show_mattes("/a/m.%04d.exr", 1, 2, 2, on_error="error")


def test_one_press_on_the_direct_path_touches_few_nodes(fake: Any, plate_files: Callable[..., str]) -> None:
    """research/nuke.md §2 "NC/Indie": at most six handles."""
    node = rotomem_node(read_node(plate_files()), roto_node())
    add_shape(nuke.toNode("Roto1")["curves"].rootLayer, keys=[2])
    fake.nc = True
    fake.handles = 0
    actions.collect(RotomemNode.of(node))
    assert fake.handles <= 6
