"""``rotomem_nuke.api`` in the fake Nuke against a real daemon, and the examples of its document, as written there."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_scene import PLUGIN, SQUARE, add_layer, add_shape, channel_of, read_node, roto_node, write_exr

import nuke
import rotomem_nuke.api as rm
from rotomem_client.errors import ClientError
from rotomem_client.shapes import ControlPoint, Shape
from rotomem_nuke.collection import read_graph
from rotomem_nuke.node import RotomemNode

pytestmark = pytest.mark.timeout(180)
DOCUMENT = PLUGIN.parent / "backend" / "docs" / "td-api.md"


def square(left: float, top: float, size: float = 20.0) -> Shape:
    corners = ((left, top), (left + size, top), (left + size, top + size), (left, top + size))
    return Shape("outline", tuple(ControlPoint(corner) for corner in corners))


@pytest.fixture
def batch(connected: Any) -> Any:
    """``nuke -t``: no window, no menu."""
    connected.reset(gui=False)
    connected.start(PLUGIN)
    return connected


@pytest.fixture
def hero(plate_files: Callable[..., str]) -> Callable[..., Any]:
    """Create the node of a plate and a Roto, both by name."""

    def make(**knobs: Any) -> Any:
        read_node(plate_files())
        roto = roto_node()
        add_shape(add_layer(roto["curves"].rootLayer, "arm"), keys=[1, 9], slide=2.0)
        return rm.create(plate="Read1", roto="Roto1", name="hero", engine="warp", **knobs)

    return make


@pytest.mark.parametrize("gui", [True, False])
def test_waiting_makes_the_mattes_and_shows_them(connected: Any, hero: Any, gui: bool) -> None:
    connected.reset(gui=gui)
    connected.start(PLUGIN)
    node = hero()
    assert node.fullName() == "hero"
    job = rm.propagate("hero")
    assert job.done
    assert job.complete
    assert job.frames == tuple(range(1, 10))
    assert job.sentence.startswith("ready: 2 annotated, 9/9 by warp")
    assert node["status"].value() == job.sentence
    assert channel_of(node, 5).max() == 1.0
    rm.assert_complete(node)


@pytest.mark.parametrize("gui", [True, False])
def test_events_tell_each_matte_once(connected: Any, hero: Any, gui: bool) -> None:
    connected.reset(gui=gui)
    connected.start(PLUGIN)
    node = hero()
    job = rm.propagate(node, 2, 6, wait=False)
    told = list(job.events())
    assert sorted(matte.frame for matte in told) == [2, 3, 4, 5, 6]
    assert [matte.done for matte in told] == [1, 2, 3, 4, 5]
    assert all(matte.total == 5 and 0.0 <= matte.confidence <= 1.0 for matte in told)
    assert (node["range"].value(), node["first"].value(), node["last"].value()) == ("custom", 2, 6)
    assert node["state"].value() == "complete"
    assert list(job.events()) == []


def test_with_a_window_another_thread_may_follow(connected: Any, hero: Any) -> None:
    job = rm.propagate(hero(), wait=False)
    told: list[int] = []
    follower = threading.Thread(target=lambda: told.extend(matte.frame for matte in job.events()))
    follower.start()
    connected.pump(lambda: not follower.is_alive(), timeout_s=60)
    assert sorted(told) == list(range(1, 10))


def test_stop_ends_a_job_and_keeps_its_mattes(batch: Any, plate_files: Any) -> None:
    read_node(plate_files(1, 150), last=150)
    add_shape(roto_node()["curves"].rootLayer, keys=[1], slide=2.0)
    node = rm.create("Read1", "Roto1", engine="warp")
    job = rm.propagate(node, wait=False)
    for _ in job.events():
        job.stop()
    assert job.done
    assert not job.complete
    assert 0 < len(job.frames) < 150
    with pytest.raises(rm.IncompleteError, match=r"Rotomem1 lacks \d+ mattes in .*: frames .*150; propagate in Nuke"):
        rm.assert_complete(node)


def test_a_daemon_that_is_away_is_an_exception(fake: Any, hero: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROTOMEM_ENDPOINT", "tcp://127.0.0.1:1")
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    fake.reset(gui=False)
    fake.start(PLUGIN)
    node = hero()
    with pytest.raises(ClientError, match=r"no daemon answers at tcp://127\.0\.0\.1:1"):
        rm.propagate(node)
    with pytest.raises(ClientError, match="no daemon answers"):
        rm.suggest(node)


def test_suggestions_come_with_reasons(batch: Any, hero: Any) -> None:
    node = hero()
    rm.propagate(node)
    found = rm.suggest(node, count=2)
    assert len(found) == 2
    assert all(1 < entry.frame < 9 and entry.reason for entry in found)
    assert found[0].score >= found[1].score


def test_what_is_annotated_can_be_propagated(batch: Any, plate_files: Any) -> None:
    read_node(plate_files())
    roto_node()
    node = rm.create("Read1", "Roto1", engine="warp")
    for frame in (1, 9):
        rm.annotate(node, frame, [square(20.0 + 2 * frame, 10.0)], object_name="arm")
    layer = nuke.toNode("Roto1")["curves"].rootLayer[0]
    assert (layer.name, len(layer)) == ("arm", 1)  # the second key went into the first frame's shape
    assert rm.propagate(node).sentence.startswith("ready: 2 annotated, 9/9")
    drawn = channel_of(node, 9)
    assert drawn[11:29, 39:57].min() == 1.0
    assert drawn.sum() == pytest.approx(400, abs=2)


def test_annotating_refuses_what_a_roto_would_not_show(batch: Any, plate_files: Any) -> None:
    read_node(plate_files())
    roto = roto_node()
    node = rm.create("Read1", "Roto1")
    moved = add_layer(roto["curves"].rootLayer, "moved")
    moved.getTransform().addTranslationKey(1, 5.0, 0.0, 1.0)
    with pytest.raises(rm.GraphError, match="shows shape 'outline' elsewhere on frame 3"):
        rm.annotate(node, 3, [square(10, 10)], object_name="moved")
    with pytest.raises(rm.GraphError, match="there is no shape to draw"):
        rm.annotate(node, 3)
    with pytest.raises(rm.GraphError, match="cannot be a layer"):
        rm.annotate(node, 3, [square(10, 10)], object_name="my arm")
    falling = Shape("falling", square(10, 10).points, feather_falloff=2.0)
    with pytest.raises(rm.GraphError, match="shape 'falling' has a feather falloff"):
        rm.annotate(node, 3, [falling])


def test_opacity_inversion_and_blend_modes_are_drawn_on_their_frame_alone(batch: Any, plate_files: Any) -> None:
    read_node(plate_files())
    roto = roto_node()
    node = rm.create("Read1", "Roto1", engine="warp")
    rm.annotate(node, 1, [square(20, 10)], object_name="arm")
    faint = Shape("outline", square(30, 10).points, opacity=0.5)
    rm.annotate(node, 5, [faint, Shape("cut", square(34, 14, 6.0).points, blend_mode="minus")], object_name="arm")
    rm.annotate(node, 9, [Shape("outline", square(40, 10).points, inverted=True)], object_name="arm")
    shape, cut = (next(s for s in roto["curves"].rootLayer[0] if s.name == name) for name in ("outline", "cut"))
    value = shape.getAttributes().getValue
    assert [value(frame, "opc", "main") for frame in (1, 5, 9)] == [1.0, 0.5, 1.0]
    assert [value(frame, "inv", "main") for frame in (1, 5, 9)] == [0.0, 0.0, 1.0]
    assert cut.getAttributes().getValue(5, "bm", "main") == 12.0
    (request,) = read_graph(RotomemNode.of(node))
    assert {entry.frame: entry.rendered_because for entry in request.annotations}[5] == "'cut' blends with 'minus'"
    drawn = channel_of(roto, 5)
    assert (drawn[20, 32], drawn[16, 36]) == (0.5, -0.5)  # the cut lies above: half of nothing less one


def test_frames_of_a_keyer_are_listed(batch: Any, plate_files: Any) -> None:
    plate = read_node(plate_files())
    node = rm.create(plate, nuke.nodes.Grade(inputs=[plate]))
    rm.annotate(node, 4)
    rm.annotate(node, 2)
    assert node["annotated"].value() == "4,2"
    with pytest.raises(rm.GraphError, match="has no Roto to draw in"):
        rm.annotate(node, 2, [square(1, 1)])


def test_wrong_names_are_said(batch: Any, plate_files: Any) -> None:
    read_node(plate_files())
    with pytest.raises(rm.GraphError, match="no node 'Read9'"):
        rm.create("Read9")
    with pytest.raises(rm.GraphError, match="no knob 'enginee'"):
        rm.create("Read1", enginee="warp")
    assert [child.class_name for child in batch.root.children] == ["Read"]
    with pytest.raises(rm.GraphError, match="Read1 is not a Rotomem node"):
        rm.propagate("Read1")
    with pytest.raises(rm.GraphError, match="give both first and last"):
        rm.propagate(rm.create("Read1"), 4)


def test_caches_are_listed_and_old_ones_cleaned(batch: Any, hero: Any, tmp_path: Path) -> None:
    node = hero(cache_dir=str(tmp_path / "cache"))
    folder = tmp_path / "cache" / node["node_uuid"].value()
    for version, frozen in ((1, True), (2, False), (3, False), (4, False)):
        for frame in (1, 2):
            (folder / f"v{version:03d}").mkdir(parents=True, exist_ok=True)
            write_exr(folder / f"v{version:03d}" / f"matte.{frame:04d}.exr", np.zeros((4, 4, 1), np.float32), "A")
        (folder / f"v{version:03d}" / "rotomem.json").write_text(json.dumps({"frozen": frozen, "complete": True}))
    other = tmp_path / "cache" / "other" / "v001"
    other.mkdir(parents=True)
    write_exr(other / "matte.0001.exr", np.zeros((4, 4, 1), np.float32), "A")
    (folder / "v003" / "notes.txt").write_text("mine")
    node["version"].setValue(2)

    listed = rm.list_caches(node)
    assert [(entry.node_uuid == "other", entry.version, entry.frames) for entry in listed].count((True, 1, (1,))) == 1
    assert sorted(entry.version for entry in listed if entry.node_uuid != "other") == [1, 2, 3, 4]
    assert all(entry.size > 0 for entry in listed)
    assert [entry.version for entry in rm.clean_caches(node, dry_run=True)] == [3]
    assert len(rm.list_caches(node)) == 5
    assert [entry.version for entry in rm.clean_caches(node)] == [3]
    assert sorted(entry.version for entry in rm.list_caches(node) if entry.node_uuid != "other") == [1, 2, 4]
    assert (folder / "v003" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("graded", [False, True])
def test_ten_handles_are_enough_for_a_whole_job(
    connected: Any, plate_files: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, graded: bool
) -> None:
    """Non-commercial: ten Python handles a session, cumulatively. Nothing is left over for being careless."""
    connected.reset(gui=False, nc=True)
    connected.start(PLUGIN)
    plate = read_node(plate_files())
    if graded:
        nuke.nodes.Grade(inputs=[plate], multiply=0.9)
    add_shape(roto_node()["curves"].rootLayer, keys=[1, 9], slide=2.0)
    connected.handles = 0  # the artist's own nodes were there before Python came
    node = rm.create("Grade1" if graded else "Read1", "Roto1", engine="warp")
    assert rm.propagate(node).complete
    rm.assert_complete(node)
    assert connected.handles <= 10


def _examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)


def test_the_documents_examples_run_as_they_are_written(
    batch: Any, plate_files: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    read_node(plate_files(1001, 1012), first=1001, last=1012)
    add_shape(add_layer(roto_node()["curves"].rootLayer, "arm"), SQUARE, keys=[1001, 1012])
    paths: dict[str, Any] = {}
    examples = _examples()
    assert len(examples) >= 8
    for example in examples:
        exec(compile(example, str(DOCUMENT), "exec"), paths)
    printed = capsys.readouterr().out
    assert "1012" in printed
    assert (tmp_path / "hero.rotomem.json").is_file()


def test_the_document_shows_every_function() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in rm.__all__:
        assert name in text, name
