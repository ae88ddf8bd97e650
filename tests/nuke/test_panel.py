"""The panel: what it holds, and what its knobs do to the picture without the plugin's code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_scene import PLUGIN, add_layer, add_shape, channel_of, read_node, roto_node, rotomem_node, write_exr

import nuke
from nuke import _script
from rotomem_nuke import actions
from rotomem_nuke.callbacks import autolabel
from rotomem_nuke.node import TILE_COLOURS, RotomemNode

GIZMO = (PLUGIN.parent / "gizmos" / "Rotomem.gizmo").read_text(encoding="utf-8")

pytestmark = pytest.mark.usefixtures("fake")


@pytest.fixture
def shown(plate_files: Callable[..., str], tmp_path: Path) -> Any:
    """A node that shows mattes of two objects: arm, 8 x 8 with a one-pixel hole, and leg, to its right."""
    arm, leg = np.zeros((64, 96), np.float32), np.zeros((64, 96), np.float32)
    arm[20:28, 30:38] = 1.0
    arm[24, 34] = 0.0
    leg[20:28, 60:68] = 0.5
    confidence = np.full((64, 96), 0.75, np.float32)
    error = np.zeros((64, 96), np.float32)
    error[40, 40] = error[22, 32] = 1.0
    folder = tmp_path / "m"
    folder.mkdir()
    for frame in range(1, 4):
        pixels = np.stack([np.maximum(arm, leg), arm, leg, confidence, error], axis=2)
        names = ("A", "arm.A", "leg.A", "confidence.A", "motion_error.A")
        write_exr(folder / f"matte.{frame:04d}.exr", pixels, names)
    node = rotomem_node(read_node(plate_files(1, 3), last=3), roto_node())
    rotomem = RotomemNode.of(node)
    rotomem.show_objects(["arm", "leg"])
    rotomem.show_mattes(f"{folder.as_posix()}/matte.%04d.exr", 1, 3, 3, on_error="error")
    return node


def test_the_knobs_stand_in_the_order_of_the_plan() -> None:
    """research/nuke.md §6."""
    order = [words[1] for command, *words in _script.tcl_commands(GIZMO) if command == "user"]
    planned = (
        "status suggest previous_annotated next_annotated suggested annotated_keys annotated propagate stop range "
        "first last object rescan view output live refine_edges motion second_opinion softness grow holes to_roto "
        "tolerance version version_up freeze cache_dir open_cache clear_cache endpoint test_backend priority "
        "input_colour process_at tune engine weights"
    ).split()
    assert [name for name in order if name in planned] == planned


def test_the_output_is_the_union_one_object_or_a_layer_each(shown: Any) -> None:
    union = channel_of(shown, 2)
    assert (union[20, 30], union[20, 60]) == (1.0, 0.5)
    shown["output"].setValue("one object")
    assert channel_of(shown, 2)[20, 60] == 0.0  # arm, the first
    shown["object"].setValue("leg")
    assert (channel_of(shown, 2)[20, 30], channel_of(shown, 2)[20, 60]) == (0.0, 0.5)
    shown["output"].setValue("layer per object")
    assert np.array_equal(channel_of(shown, 2), union)
    assert channel_of(shown, 2, "leg.alpha")[20, 60] == 0.5
    assert channel_of(shown, 2, "arm.alpha")[20, 60] == 0.0
    assert np.array_equal(channel_of(shown, 2, "rgba.red"), channel_of(nuke.toNode("Read1"), 2, "rgba.red"))


def test_the_chosen_object_is_kept_while_it_exists(shown: Any) -> None:
    rotomem = RotomemNode.of(shown)
    shown["object"].setValue("leg")
    rotomem.show_objects(["hand", "leg"])
    assert shown["object"].value() == "leg"
    rotomem.show_objects(["hand"])
    assert shown["object"].value() == "hand"


def test_the_errors_view_lays_them_in_yellow_over_the_overlay(shown: Any) -> None:
    shown["view"].setValue("overlay")
    overlay = {colour: channel_of(shown, 2, f"rgba.{colour}") for colour in ("red", "green", "blue")}
    shown["view"].setValue("errors")
    for colour, whole in (("red", 1.0), ("green", 1.0), ("blue", 0.0)):
        pixels = channel_of(shown, 2, f"rgba.{colour}")
        for spot in ((40, 40), (22, 32)):  # beside the matte, and in it
            assert pixels[spot] == pytest.approx(overlay[colour][spot] * 0.25 + whole * 0.75)
        assert (pixels[24, 60], pixels[0, 0]) == (overlay[colour][24, 60], overlay[colour][0, 0])


def test_without_a_second_opinion_the_errors_view_is_the_overlay(
    plate_files: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    write_exr(tmp_path / "m" / "matte.0001.exr", np.ones((64, 96, 2), np.float32), ("A", "confidence.A"))
    node = rotomem_node(read_node(plate_files(1, 1), last=1), roto_node())
    RotomemNode.of(node).show_mattes(f"{(tmp_path / 'm').as_posix()}/matte.%04d.exr", 1, 1, 1, on_error="error")
    node["view"].setValue("overlay")
    overlay = channel_of(node, 1, "rgba.green")
    node["view"].setValue("errors")
    assert np.array_equal(channel_of(node, 1, "rgba.green"), overlay)


def test_the_views_are_result_overlay_confidence_and_source(shown: Any) -> None:
    plate = channel_of(nuke.toNode("Read1"), 2, "rgba.red")
    assert np.array_equal(channel_of(shown, 2, "rgba.red"), plate)
    shown["view"].setValue("overlay")
    red = channel_of(shown, 2, "rgba.red")
    assert red[20, 30] == pytest.approx(plate[20, 30] * 0.5 + 0.5)
    assert red[0, 0] == plate[0, 0]
    shown["view"].setValue("confidence")
    for colour in ("red", "green", "blue"):
        assert channel_of(shown, 2, f"rgba.{colour}")[5, 5] == 0.75
    shown["view"].setValue("source")
    with pytest.raises(KeyError):
        channel_of(shown, 2)


def test_edges_change_at_once_and_nothing_is_propagated(shown: Any, fake: Any) -> None:
    def pixels() -> np.ndarray:
        return np.asarray(channel_of(shown, 2))

    sharp = pixels()
    shown["holes"].setValue(1)
    filled = pixels()
    assert (sharp[24, 34], filled[24, 34]) == (0.0, 1.0)
    assert np.array_equal(np.delete(filled.ravel(), 24 * 96 + 34), np.delete(sharp.ravel(), 24 * 96 + 34))
    shown["holes"].setValue(0)
    shown["grow"].setValue(2)
    assert pixels()[18, 28] == 1.0
    shown["grow"].setValue(-1)
    assert pixels()[20, 30] == 0.0
    shown["grow"].setValue(0)
    shown["softness"].setValue(4)
    assert 0.0 < pixels()[19, 33] < 1.0
    shown["output"].setValue("layer per object")
    assert 0.0 < channel_of(shown, 2, "arm.alpha")[19, 33] < 1.0
    assert fake.renders == []


def test_the_edge_is_the_comps_own_a_blade_needs_no_plugin(shown: Any, fake: Any) -> None:
    shown["grow"].setValue(2)
    shown["onCreate"].setValue("")
    fake.gui = False
    assert channel_of(shown, 2)[18, 28] == 1.0
    assert {child.class_name for child in shown._op.children} == {
        *("Input", "Output", "Read", "Dot", "Copy", "Switch", "FilterErode", "Blur", "Expression", "Assert")
    }


def test_a_failure_is_the_nodes_error_only_where_there_is_no_matte_to_show(shown: Any) -> None:
    rotomem = RotomemNode.of(shown)
    rotomem.show_state("error", "failed: the daemon ran out of memory on frame 7")
    assert channel_of(shown, 2).max() == 1.0  # the old mattes keep showing
    rotomem.show_nothing()
    rotomem.show_state("error", "failed: the daemon ran out of memory on frame 7")
    with pytest.raises(RuntimeError, match="out of memory on frame 7"):
        channel_of(shown, 2, "rgba.red")
    rotomem.show_state("running")
    assert channel_of(shown, 2, "rgba.red").shape == (64, 96)


def test_tile_and_label_tell_the_state(shown: Any, fake: Any) -> None:
    rotomem = RotomemNode.of(shown)
    fake.this.append((shown._op, None))
    shown["version"].setValue(3)
    rotomem.show_progress("96/120")
    colours = []
    for state in ("idle", "running", "complete", "stale", "error"):
        rotomem.show_state(state)
        colours.append(shown["tile_color"].value())
        expected = "Rotomem1\nv003 96/120" + (f"\n{state}" if state in ("stale", "error") else "")
        assert autolabel() == expected
    assert colours == list(TILE_COLOURS.values())
    assert len(set(colours)) == 5
    shown["view"].setValue("overlay")
    shown["label"].setValue("left sleeve")
    rotomem.show_state("complete")
    assert autolabel() == "Rotomem1\nv003 96/120\nview: overlay\nleft sleeve"


def test_annotated_frames_are_keys_and_the_buttons_step_through_them(
    plate_files: Callable[..., str], fake: Any
) -> None:
    roto = roto_node()
    add_shape(add_layer(roto["curves"].rootLayer, "arm"), keys=[2, 8])
    add_shape(add_layer(roto["curves"].rootLayer, "leg"), keys=[5, 8])
    node = rotomem_node(read_node(plate_files()), roto)
    node["rescan"].execute()
    knob = node["annotated_keys"]
    assert knob.getKeyList() == [2.0, 5.0, 8.0]
    fake.frame = 8
    assert knob.value() == 2  # two objects are drawn here
    node["previous_annotated"].execute()
    assert nuke.frame() == 5
    node["next_annotated"].execute()
    assert nuke.frame() == 8
    node["next_annotated"].execute()
    assert fake.messages.pop() == "Rotomem: no frame after 8 is annotated"
    assert nuke.frame() == 8
    assert node["object"].values() == ["arm", "leg"]


def test_no_button_opens_a_window_in_batch(plate_files: Callable[..., str], fake: Any) -> None:
    """The fake raises on a message or a question without a GUI."""
    fake.reset(gui=False)
    fake.start(PLUGIN)
    node = nuke.createNode("Rotomem")
    for name in ("stop", "rescan", "version_up", "clear_cache"):
        node[name].execute()
    assert node["version"].value() == 2
    for name in ("propagate", "suggest", "previous_annotated", "next_annotated", "open_cache"):
        with pytest.raises(actions.PluginError):
            node[name].execute()


def test_settings_say_what_the_panel_shows(fake: Any) -> None:
    node = nuke.createNode("Rotomem")
    settings = RotomemNode.of(node).settings()
    assert (settings.engine, settings.weights, settings.process_at, settings.priority) == ("auto", "", "auto", 1)
    assert settings.tune
    assert settings.refine_edges
    assert settings.live
    for knob, value in (("priority", "high"), ("input_colour", "named"), ("colourspace", " ACEScg "), ("tune", False)):
        node[knob].setValue(value)
    settings = RotomemNode.of(node).settings()
    assert (settings.priority, settings.input_colour, settings.tune) == (2, "ACEScg", False)
