"""The gizmo as a script: what a comp carries, with the plugin and without."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_scene import PLUGIN, add_shape, channel_of, inside, read_node, roto_node, rotomem_node

import nuke
from nuke import _knobs, _script
from rotomem_nuke import actions, callbacks
from rotomem_nuke.node import RotomemNode

GIZMO = (PLUGIN.parent / "gizmos" / "Rotomem.gizmo").read_text(encoding="utf-8")


def _user_knobs() -> list[list[str]]:
    return [words for command, *words in _script.tcl_commands(GIZMO) if command == "user"]


@pytest.mark.usefixtures("fake")
def test_the_gizmo_is_one_group_that_tcl_reads() -> None:
    commands = _script.tcl_commands(GIZMO)
    assert commands[0] == ["node", "Group"]
    assert commands[-1] == ["end_group"]


@pytest.mark.usefixtures("fake")
def test_both_tcl_interpreters_read_the_same_commands() -> None:
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh is not installed")
    assert _script._with_tclsh(GIZMO) == _script.tcl_text(GIZMO)


@pytest.mark.usefixtures("fake")
def test_a_misspelt_knob_in_a_gizmo_is_noticed() -> None:
    with pytest.raises(NameError, match="on_eror"):
        _script.load(GIZMO.replace("on_error", "on_eror"), nuke.root()._op)


@pytest.mark.usefixtures("fake")
def test_every_knob_that_the_code_names_is_in_the_gizmo_and_the_reverse() -> None:
    node = nuke.createNode("Rotomem")
    named: set[str] = set()
    texts: set[str] = set()
    for path in (PLUGIN / "rotomem_nuke").glob("*.py"):
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                texts.add(item.value)
            if isinstance(item, ast.FunctionDef) and path.name == "actions.py":
                texts.add(item.name)
            if isinstance(item, ast.Subscript) and isinstance(item.slice, ast.Constant):
                owner = item.value
                owner_name = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
                if owner_name in ("node", "_node") and isinstance(item.slice.value, str):
                    named.add(item.slice.value)
    assert named - {"curves"} <= set(node.knobs())
    assert len(named) > 10
    in_gizmo = {words[1] for words in _user_knobs() if words[0] != "20" and not words[1].startswith("divider")}
    read_by_graph = set(re.findall(r"parent\.(\w+)", GIZMO))
    assert read_by_graph <= in_gizmo
    assert in_gizmo - read_by_graph <= texts


@pytest.mark.usefixtures("fake")
def test_every_button_runs_an_action_that_exists() -> None:
    called = {
        name
        for words in _user_knobs()
        if words[0] == "22"
        for name in re.findall(r"rotomem_nuke\.actions\.(\w+)\(nuke\.thisNode", words[words.index("T") + 1])
    }
    assert len(called) == sum(words[0] == "22" for words in _user_knobs())
    assert all(callable(getattr(actions, name)) for name in called)
    called_back = set(re.findall(r"rotomem_nuke\.callbacks\.(\w+)\(\)", GIZMO))
    assert called_back == {"on_create", "on_destroy", "knob_changed", "update_ui"}
    assert all(callable(getattr(callbacks, name)) for name in called_back)


@pytest.mark.usefixtures("fake")
def test_visible_knobs_have_lower_case_labels_and_tooltips() -> None:
    for words in _user_knobs():
        knob = _knobs.user_knob(words)
        if words[0] == "20" or words[1].startswith("divider") or not knob.visible():
            continue
        if not isinstance(knob, nuke.PyScript_Knob):  # buttons are named as in the manual: Propagate, Stop, key
            assert knob.label() == knob.label().lower(), words[1]
        assert knob.label(), words[1]
        assert knob.tooltip().endswith("."), words[1]


@pytest.mark.usefixtures("fake")
def test_before_the_first_propagation_the_plate_passes_untouched(plate_files: Callable[..., str]) -> None:
    plate = read_node(plate_files())
    node = rotomem_node(plate, roto_node())
    assert np.array_equal(channel_of(node, 4, "rgba.red"), channel_of(plate, 4, "rgba.red"))
    with pytest.raises(KeyError):
        channel_of(node, 4)


def _make_mattes(folder: Path, frames: range) -> str:
    import OpenImageIO as oiio

    folder.mkdir()
    for frame in frames:
        spec = oiio.ImageSpec(96, 64, 1, "half")
        spec.channelnames = ("A",)
        output = oiio.ImageOutput.create(str(folder / f"matte.{frame:04d}.exr"))
        output.open(str(folder / f"matte.{frame:04d}.exr"), spec)
        output.write_image(np.full((64, 96, 1), frame / 16, np.float32))
        output.close()
    return f"{folder.as_posix()}/matte.%04d.exr"


@pytest.mark.usefixtures("fake")
def test_the_alpha_of_the_cached_matte_replaces_the_streams(plate_files: Callable[..., str], tmp_path: Path) -> None:
    plate = read_node(plate_files())
    node = rotomem_node(plate, roto_node())
    pattern = _make_mattes(tmp_path / "m", range(2, 5))
    RotomemNode.of(node).show_mattes(pattern, 2, 4, 3, on_error="error")
    assert channel_of(node, 3)[0, 0] == 3 / 16
    assert channel_of(node, 9).max() == 0.0  # black after the last matte, never held
    assert np.array_equal(channel_of(node, 3, "rgba.red"), channel_of(plate, 3, "rgba.red"))
    assert inside(node, "CacheRead").pressed == ["reload"]


@pytest.mark.usefixtures("fake")
def test_a_missing_matte_is_black_while_they_arrive_and_an_error_in_the_end(
    plate_files: Callable[..., str], tmp_path: Path
) -> None:
    node = rotomem_node(read_node(plate_files()), roto_node())
    pattern = _make_mattes(tmp_path / "m", range(2, 4))
    RotomemNode.of(node).show_mattes(pattern, 2, 6, 2, on_error="black")
    assert channel_of(node, 6).max() == 0.0
    RotomemNode.of(node).show_mattes(pattern, 2, 6, 2, on_error="error")
    with pytest.raises(RuntimeError, match=r"matte\.0006\.exr"):
        channel_of(node, 6)


def test_a_blade_without_the_plugin_renders_cached_mattes(
    fake: Any, plate_files: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """research/nuke.md §5: a Group in the comp, callbacks guarded by ImportError."""
    pattern = _make_mattes(tmp_path / "m", range(1, 10))
    fake.reset(gui=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "rotomem_nuke"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rotomem_nuke", None)
    saved = GIZMO.replace(" refine_edges true\n", f" mattes {pattern}\n matte_count 9\n")
    saved = saved.replace(" on_error black\n", " on_error error\n first 1\n last 9\n")
    (op,) = _script.load(saved, nuke.root()._op)
    op.run("onCreate")
    node = nuke.toNode(op.full_name)
    node.setInput(0, read_node(plate_files()))
    node["range"].setValue("custom")
    assert channel_of(node, 7)[0, 0] == 7 / 16
    node["stop"].execute()


@pytest.mark.usefixtures("fake")
def test_the_menu_makes_the_node(fake: Any) -> None:
    exec(fake.menu_commands["Nodes/Rotomem/Rotomem"], {"nuke": nuke})
    assert nuke.toNode("Rotomem1").Class() == "Group"


def test_there_is_no_menu_without_a_window(fake: Any) -> None:
    fake.reset(gui=False)
    fake.start(PLUGIN)
    assert fake.menu_commands == {}
    assert nuke.nodes.Rotomem().fullName() == "Rotomem1"


def test_a_plugin_without_its_gizmo_says_where_it_belongs_and_adds_no_menu(
    fake: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    from rotomem_nuke import startup

    alone = tmp_path / "nuke_plugin"
    shutil.copytree(PLUGIN, alone, ignore=shutil.ignore_patterns("__pycache__", "gizmos"))
    monkeypatch.setattr(startup, "PLUGIN_FOLDER", alone)  # where the module would lie
    fake.reset()
    fake.start(alone)
    assert fake.menu_commands == {}
    (line,) = [record.getMessage() for record in caplog.records if "gizmo" in record.getMessage()]
    assert f"neither in {tmp_path.as_posix()}/gizmos nor in {alone.as_posix()}/gizmos; copy the folder" in line
    caplog.clear()
    for folder in (tmp_path / "gizmos", alone / "gizmos"):
        shutil.copytree(PLUGIN.parent / "gizmos", folder)
        fake.reset()
        fake.start(alone)
        assert fake.plugin_path[0] == folder.as_posix()
        assert list(fake.menu_commands) == ["Nodes/Rotomem/Rotomem"]
        assert nuke.createNode("Rotomem").fullName() == "Rotomem1"
    assert not any("gizmo" in record.getMessage() for record in caplog.records)


def test_a_broken_plugin_costs_one_line_and_not_the_start(
    fake: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.reset()
    monkeypatch.setitem(sys.modules, "rotomem_nuke", None)
    fake.start(PLUGIN)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "Rotomem is not available in this session",
        "Rotomem has no menu in this session",
    ]


@pytest.mark.usefixtures("fake")
def test_rescan_lists_the_objects_of_the_roto(plate_files: Callable[..., str]) -> None:
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[3])
    node = rotomem_node(read_node(plate_files()), roto)
    node["rescan"].execute()
    assert node["object"].values() == ["Roto1"]
