"""Farms: a blade without the plugin, the render guard, and a job exported here and run without Nuke."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_scene import PLUGIN, add_layer, add_shape, channel_of, inside, read_node, roto_node

import nuke
import rotomem_nuke.api as rm
from rotomem.cli import main as rotomem
from rotomem_nuke import farm
from rotomem_nuke.cache import read_manifest

pytestmark = pytest.mark.timeout(180)
ROOT = PLUGIN.parent
NOBODY = "tcp://127.0.0.1:1"


@pytest.fixture
def blade(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``nuke -t`` on a farm: no window, and no daemon that could answer."""
    monkeypatch.setenv("ROTOMEM_ENDPOINT", NOBODY)
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    fake.reset(gui=False)
    fake.start(PLUGIN)
    return fake


@pytest.fixture
def comp(plate_files: Callable[..., str], tmp_path: Path) -> Callable[..., Any]:
    """A comp: plate, Roto, node and Write; returns node and Write."""

    def make(*, graded: bool = False, cut: bool = False) -> tuple[Any, Any]:
        plate = read_node(plate_files())
        if graded:
            plate = nuke.nodes.Grade(inputs=[plate], multiply=0.9)
        arm = add_layer(roto_node()["curves"].rootLayer, "arm")
        shape = add_shape(arm, keys=[1, 9], slide=2.0)
        if cut:
            shape.getAttributes().set("bm", 1.0)
        cache = str(tmp_path / "cache")
        node = rm.create(plate, "Roto1", name="hero", engine="warp", cache_dir=cache, tune=False)
        write = nuke.nodes.Write(inputs=[node], file=str(tmp_path / "out.%04d.exr"), file_type="exr", channels="rgba")
        write["datatype"].setValue("16 bit half")
        return node, write

    return make


def run_job(path: Path) -> None:
    assert rotomem(["job", "run", str(path)]) == 0


def test_a_job_goes_out_of_nuke_through_the_command_line_and_back_into_the_node(
    blade: Any, comp: Any, tmp_path: Path
) -> None:
    node, _ = comp()
    path = rm.export_job(node, tmp_path / "jobs" / "hero.rotomem.json")
    job = json.loads(path.read_text())
    assert (job["node"], job["shots"][0]["objects"]) == ("hero", ["arm"])
    assert [entry["frame"] for entry in job["shots"][0]["annotations"]] == [1, 9]
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["hero.rotomem.json"]  # nothing had to be rendered
    assert blade.renders == []
    run_job(path)
    rm.assert_complete(node)
    rm.refresh(node)
    assert node["state"].value() == "complete"  # made from what the graph holds: not stale
    assert node["matte_count"].value() == 9
    assert inside(node, "CacheRead").knobs["on_error"].value() == "error"
    assert np.abs(channel_of(node, 9) - channel_of(nuke.toNode("Roto1"), 9)).max() < 1e-3
    manifest = read_manifest(node["mattes"].value())
    assert manifest is not None
    assert (manifest.complete, manifest.engine, manifest.objects) == (True, "warp", ("arm",))


@pytest.mark.parametrize(("chosen", "told"), [("off", "off"), ("show errors", "errors"), ("all", "all")])
def test_a_job_carries_the_second_opinion(blade: Any, comp: Any, tmp_path: Path, chosen: str, told: str) -> None:
    node, _ = comp()
    node["second_opinion"].setValue(chosen)
    path = rm.export_job(node, tmp_path / "hero.rotomem.json")
    assert json.loads(path.read_text())["shots"][0]["motion"] == told
    assert rotomem(["job", "check", str(path)]) == 0


def test_what_only_nuke_can_make_is_rendered_beside_the_job(blade: Any, comp: Any, tmp_path: Path) -> None:
    node, _ = comp(graded=True, cut=True)
    said: list[str] = []
    path = rm.export_job(node, tmp_path / "a" / "hero.rotomem.json", say=said.append)
    assert "rendering the plate, frame 1 of 1-9: Grade1 is a Grade, not a Read" in said
    moved = tmp_path / "b"
    path.parent.rename(moved)  # the job and its files travel together
    assert blade.renders
    files = next(moved.glob("hero.rotomem.files-*"))
    assert len(list(files.glob("plate.*.exr"))) == 9
    assert len(list(files.glob("arm.*.exr"))) == 2
    run_job(moved / path.name)
    rm.refresh(node)
    assert np.abs(channel_of(node, 1) - channel_of(nuke.toNode("Roto1"), 1)).max() < 1e-3
    exported_again = rm.export_job(node, moved / path.name)
    assert len(list(moved.iterdir())) == 2
    assert rotomem(["job", "check", str(exported_again)]) == 0


def test_paths_are_written_as_the_farm_sees_them(blade: Any, comp: Any, tmp_path: Path) -> None:
    node, _ = comp()
    path = rm.export_job(node, tmp_path / "hero.rotomem.json", path_map=[f"{tmp_path}=/mnt/show"])
    shot = json.loads(path.read_text())["shots"][0]
    assert shot["plate"]["pattern"] == "/mnt/show/plate.%04d.exr"
    assert shot["mattes"].startswith("/mnt/show/cache/")


def test_a_frozen_version_and_an_unwritable_folder_are_refused(blade: Any, comp: Any, tmp_path: Path) -> None:
    node, _ = comp()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(rm.CacheError, match="cannot write the job"):
        rm.export_job(node, tmp_path / "file" / "hero.json")
    node["freeze"].setValue(True)
    with pytest.raises(rm.GraphError, match="hero v001 is frozen; press 'version up' before you export"):
        rm.export_job(node, tmp_path / "hero.json")


def test_every_view_is_a_shot_of_its_own(blade: Any, comp: Any, tmp_path: Path) -> None:
    blade.views = ["left", "right"]
    node, _ = comp()
    path = rm.export_job(node, tmp_path / "hero.rotomem.json")
    assert [shot["view"] for shot in json.loads(path.read_text())["shots"]] == ["left", "right"]
    run_job(path)
    rm.assert_complete(node)
    for view in ("left", "right"):
        assert len(list((tmp_path / "cache").glob(f"*/v001/{view}/matte.*.exr"))) == 9


def test_the_export_command_opens_the_comp_writes_jobs_and_saves_it_pointed_at_them(
    blade: Any, comp: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    monkeypatch.syspath_prepend(str(PLUGIN))
    command = importlib.import_module("rotomem_export")
    script = tmp_path / "comp.nk"
    script.write_text("")
    blade.scripts[str(script)] = comp
    saved = tmp_path / "comp_farm.nk"
    assert command.main(["--script", str(script), "--node", "hero", "--save", str(saved)]) == 0
    assert f"wrote {tmp_path / 'hero.rotomem.json'}" in capsys.readouterr().out
    assert blade.saved_scripts == [str(saved)]
    node = nuke.toNode("hero")
    assert inside(node, "CacheRead").knobs["on_error"].value() == "error"
    with pytest.raises(RuntimeError, match=r"matte\.0005\.exr"):
        channel_of(node, 5)  # a hole is never rendered in silence, with or without the plugin
    run_job(tmp_path / "hero.rotomem.json")
    assert channel_of(node, 5).max() == 1.0
    assert command.main(["--script", str(script)]) == 0  # without a name: all of them
    assert command.main(["--script", str(script), "--node", "villain"]) == 1
    assert "the script has no node 'villain'" in capsys.readouterr().err
    assert command.main(["--script", str(tmp_path / "none.nk")]) == 1


WITHOUT_THE_PLUGIN = """
import sys
sys.modules["rotomem_nuke"] = None  # this Python may have it installed
sys.path.insert(0, {fakes!r})
import numpy as np
import nuke
from nuke import _images, _script
from nuke._session import session
session.reset(gui=False)
plate = nuke.nodes.Read(file={plate!r}, first=1, last=9)
(op,) = _script.load(open({gizmo!r}, encoding="utf-8").read(), session.root)
op.run("onCreate")
op.inputs[0] = plate._op
for name, value in {knobs!r}.items():
    op.knob(name).setValue(value)
for name, value in {read!r}.items():
    op.find("CacheRead").knob(name).setValue(value)
write = nuke.nodes.Write(file={out!r}, file_type="exr", channels="rgba")
write["datatype"].setValue("16 bit half")
write["compression"].setValue("none")
write._op.inputs[0] = op
nuke.execute("Write1", 1, 9)
"""


def test_a_blade_without_the_plugin_renders_the_cached_mattes(
    blade: Any, comp: Any, plate_files: Callable[..., str], tmp_path: Path
) -> None:
    node, _ = comp()
    run_job(rm.export_job(node, tmp_path / "hero.rotomem.json", expect=True))
    read = inside(node, "CacheRead")
    saved = {name: node[name].value() for name in ("mattes", "matte_count", "cache_dir")}
    code = WITHOUT_THE_PLUGIN.format(
        fakes=str(ROOT / "tests" / "fakes"),
        plate=plate_files(),
        gizmo=str(ROOT / "gizmos" / "Rotomem.gizmo"),
        knobs=saved,
        read={name: read.knobs[name].value() for name in ("first", "last", "origfirst", "origlast", "on_error")},
        out=str(tmp_path / "rendered.%04d.exr"),
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rendered = read_node(str(tmp_path / "rendered.%04d.exr"))
    for frame in (1, 5, 9):
        assert np.array_equal(channel_of(rendered, frame), channel_of(node, frame))
    assert channel_of(rendered, 5).max() == 1.0


def test_the_guard_names_node_frames_and_folder_and_asks_no_daemon(
    blade: Any, comp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a render started a process"))
    node, write = comp()
    blade.command_line = ["Nuke17.1", "-F", "1-9", "-x", "comp.nk"]
    with pytest.raises(RuntimeError, match=r"hero lacks 9 mattes in .*/v001: frames 1-9; propagate in Nuke, or run"):
        nuke.execute(write, 1, 9)
    assert not list(tmp_path.glob("out.*"))
    path = rm.export_job(node, tmp_path / "hero.rotomem.json")
    assert rotomem(["job", "run", str(path), "--frames", "1-5"]) == 0
    with pytest.raises(RuntimeError, match=r"hero lacks 4 mattes in .*/v001: frames 6-9"):
        nuke.execute(write, 1, 9)
    blade.command_line = ["Nuke17.1", "-F", "2-5", "-x", "comp.nk"]
    nuke.execute(write, 2, 5)  # what is there is enough
    run_job(path)
    blade.command_line = ["Nuke17.1", "-x", "comp.nk"]
    nuke.execute(write, 1, 9)
    assert len(list(tmp_path.glob("out.*.exr"))) == 9


def test_a_comp_saved_before_its_job_ran_renders_its_mattes(blade: Any, comp: Any, tmp_path: Path) -> None:
    node, write = comp()
    run_job(rm.export_job(node, tmp_path / "hero.rotomem.json"))
    assert node["matte_count"].value() == 0
    nuke.execute(write, 1, 9)
    assert channel_of(read_node(str(tmp_path / "out.%04d.exr")), 5).max() == 1.0


def test_a_script_that_renders_in_pieces_fails_at_the_first_frame_without_a_matte(
    blade: Any, comp: Any, tmp_path: Path
) -> None:
    """``nuke.execute`` in ``nuke -t`` tells no range: each frame is looked at."""
    node, write = comp()
    path = rm.export_job(node, tmp_path / "hero.rotomem.json")
    assert rotomem(["job", "run", str(path), "--frames", "1-4"]) == 0
    nuke.execute(write, 1, 4)
    with pytest.raises(RuntimeError, match="hero lacks 5 mattes"):
        nuke.execute(write, 4, 9)
    assert sorted(file.name for file in tmp_path.glob("out.*")) == [f"out.{frame:04d}.exr" for frame in range(1, 5)]


def test_the_guard_looks_at_what_the_write_needs_and_no_further(blade: Any, comp: Any, tmp_path: Path) -> None:
    blade.command_line = ["Nuke17.1", "-F", "1-9", "-x", "comp.nk"]
    node, write = comp()
    other = nuke.nodes.Write(inputs=[nuke.toNode("Read1")], file=str(tmp_path / "plate_out.%04d.exr"), file_type="exr")
    nuke.execute(other, 1, 9)  # the plate alone
    node["disable"].setValue(True)
    nuke.execute(write, 1, 9)
    node["disable"].setValue(False)
    node["view"].setValue("source")
    nuke.execute(write, 1, 9)
    node["view"].setValue("overlay")
    with pytest.raises(RuntimeError, match="hero lacks 9 mattes"):
        nuke.execute(write, 1, 9)


def test_a_plate_rendered_through_another_node_is_no_farm_render(connected: Any, comp: Any) -> None:
    connected.reset(gui=False)
    connected.start(PLUGIN)
    node, _ = comp()
    second = rm.create(node, "Roto1", name="second", engine="warp", tune=False)
    assert rm.propagate(second).complete  # its plate comes through a node that has no mattes yet


@pytest.mark.parametrize(
    ("words", "frames"),
    [
        ("Nuke -F 1-10x2 -x a.nk", (1, 10)),
        ("Nuke -F 5 -x a.nk", (5, 5)),
        ("Nuke -F 1-3 -F 8 -x a.nk", (1, 8)),
        ("Nuke -F -5--1 -x a.nk", (-5, -1)),
        ("Nuke -x a.nk", None),
        ("Nuke -F wild -x a.nk", None),
    ],
)
def test_frames_of_a_command_line(words: str, frames: tuple[int, int] | None) -> None:
    assert farm.frames_of_command_line(words.split()) == frames


IN_PYTHON_39 = """
import sys
sys.path[:0] = [{plugin!r}, {fakes!r}]
assert sys.version_info[:2] == (3, 9)
import nuke
from nuke_scene import roto_node, start
start(gui=False)
import rotomem_export
import rotomem_nuke.api as rm
from rotomem_client.path_map import map_path, parse_path_map
from rotomem_client.shapes import ControlPoint, Shape
from rotomem_nuke import drawing, export, farm, jobfile, roto, vendor
box = Shape("box", tuple(ControlPoint(xy) for xy in ((1.0, 2.0), (9.0, 2.0), (9.0, 8.0))))
node = roto_node()
drawing.draw_shapes(node, "arm", 5, [box], height=64)
(found,) = roto.roto_objects(node)
print(found.name, roto.key_frames(node, found))
print(map_path("Z:\\\\shows\\\\a.exr", parse_path_map(["z:/shows=/mnt"])), farm.frames_of_command_line(["-F", "1-9"]))
print(rotomem_export.main(["--script", "/none.nk"]), vendor.vendor_folder().name)
for name in rm.__all__:
    getattr(rm, name)
"""


def test_the_farms_half_runs_in_python_39(python39: str) -> None:
    code = IN_PYTHON_39.format(plugin=str(PLUGIN), fakes=str(ROOT / "tests" / "fakes"))
    done = subprocess.run([python39, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[-3:]  # before them, that this Python lacks the wheels, where it does
    assert lines[:2] == ["arm [5]", "/mnt/a.exr (1, 9)"]
    assert lines[2].startswith("1 ")
    assert lines[2].endswith("-cp39")
    assert "rotomem export: there is no script /none.nk; give its path with --script" in done.stderr
