"""The real plugin in the fake Nuke against the real daemon: from a pressed button to alpha in the graph."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
from nuke_scene import PLUGIN, SQUARE, add_layer, add_shape, channel_of, inside, read_node, roto_node, rotomem_node

import nuke
from rotomem.vos import save_weights
from rotomem_nuke import actions, following, runs
from rotomem_nuke.cache import read_manifest, write_manifest
from rotomem_nuke.collection import collect
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.propagation import Propagation
from rotomem_nuke.shot import Shot, connect
from tiny_networks import TINY, random_network

pytestmark = pytest.mark.timeout(180)


def _press_and_wait(fake: Any, node: Any, *, until: Callable[[], bool] = lambda: False) -> str:
    """Press the button, serve the main thread as Nuke's event loop does, and return the status line."""
    node["propagate"].execute()
    assert fake.messages == []
    fake.pump(lambda: until() or not actions.is_running(node), timeout_s=120)
    fake.drain()
    return str(node["status"].value())


def _matte(pattern: str, frame: int) -> dict[str, np.ndarray]:
    source = oiio.ImageInput.open(pattern % frame)
    assert source is not None, oiio.geterror()
    spec = source.spec()
    pixels = np.asarray(source.read_image(oiio.FLOAT)).reshape(spec.height, spec.width, -1)
    source.close()
    return {name: pixels[..., index] for index, name in enumerate(spec.channelnames)}


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one > 0.5, other > 0.5
    return float((a & b).sum() / max(1, (a | b).sum()))


def test_without_tuning_auto_is_warp_and_the_node_says_so(connected: Any, plate_files: Callable[..., str]) -> None:
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1, 9], slide=2.0)
    node = rotomem_node(read_node(plate_files()), roto)
    node["tune"].setValue(False)
    assert node["engine"].value() == "auto"
    assert _press_and_wait(connected, node).startswith("ready: 2 annotated, 9/9 by warp")
    assert node["engine_used"].value() == "warp"


def test_a_read_and_a_roto_become_alpha_in_the_graph(connected: Any, plate_files: Callable[..., str]) -> None:
    plate = read_node(plate_files())
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1, 9], slide=2.0)
    node = rotomem_node(plate, roto)
    node["engine"].setValue("warp")

    status = _press_and_wait(connected, node)

    assert status.startswith("ready: 2 annotated, 9/9 by warp"), status
    assert node["engine_used"].value() == "warp"
    pattern = RotomemNode.of(node).settings().mattes
    assert node["mattes"].value() == pattern
    read = inside(node, "CacheRead")
    assert (read.knobs["first"].value(), read.knobs["last"].value()) == (1, 9)
    assert read.knobs["file"].getEvaluatedValue() == pattern
    assert read.knobs["on_error"].value() == "error"
    assert "reload" in read.pressed
    for frame in range(1, 10):
        shown = channel_of(node, frame)
        drawn = channel_of(roto, frame)
        assert np.array_equal(shown, _matte(pattern, frame)["A"]), frame
        assert np.array_equal(channel_of(node, frame, "rgba.red"), channel_of(plate, frame, "rgba.red"))
        if frame in (1, 9):
            assert np.abs(shown - drawn).max() < 1e-3, frame  # the artist's own matte, untouched and the right way up
        else:
            assert _overlap(shown, drawn) > 0.9, frame
    assert connected.renders == []  # the daemon read the plate's files itself
    assert connected.progress_tasks[0].title == "Rotomem: Rotomem1"
    assert connected.progress_tasks[0].progress == 100


def test_a_graded_plate_and_a_cut_out_shape_are_rendered_and_streamed(
    connected: Any, plate_files: Callable[..., str], tmp_path: Path
) -> None:
    graded = nuke.nodes.Grade(inputs=[read_node(plate_files(1, 20), last=20)], multiply=0.9)
    roto = roto_node()
    root = roto["curves"].rootLayer
    arm = add_layer(root, "arm")
    hole = ((30.0, 20.0), (40.0, 20.0), (40.0, 30.0), (30.0, 30.0))
    add_shape(arm, hole, name="hole", keys=[5, 12], slide=2.0).getAttributes().set("bm", 12.0)
    add_shape(arm, SQUARE, name="outline", keys=[5, 12], slide=2.0)
    add_shape(add_layer(root, "leg"), ((60.0, 50.0), (70.0, 50.0), (70.0, 60.0)), keys=[7])
    node = rotomem_node(graded, roto)
    node["engine"].setValue("warp")
    node["range"].setValue("custom")
    node["first"].setValue(4)
    node["last"].setValue(10)

    status = _press_and_wait(connected, node)

    assert status.startswith("ready: 3 annotated, 7/7 by warp"), status
    assert "frame 5 of arm is rendered: 'hole' blends with 'minus'" in status
    assert node["object"].values() == ["arm", "leg"]
    rendered = [(render["first"], render["last"]) for render in connected.renders]
    assert rendered == [(4, 11), (12, 12), (5, 5), (12, 12)]  # the plate by eights as far as needed, then two alphas
    pattern = str(node["mattes"].value())
    mattes = _matte(pattern, 5)
    assert {"A", "arm.A", "leg.A"} <= set(mattes)
    from nuke import rotopaint

    del root._elements[1]
    alone = rotopaint.render(roto["curves"], 5, np.zeros((64, 96), np.float32))
    assert alone[64 - 25, 45] == 0.0  # the hole is one
    assert np.abs(mattes["arm.A"] - alone).max() < 1e-3
    assert [path.name for path in tmp_path.glob("rotomem-*")] == []  # rendered frames are gone
    assert [child.class_name for child in connected.root.children] == ["Read", "Grade", "Roto", "Group"]


@pytest.mark.parametrize(("width", "height"), [(128, 128), (72, 48)])
def test_an_alpha_of_another_format_lies_where_nuke_would_copy_it(
    connected: Any, plate_files: Callable[..., str], width: int, height: int
) -> None:
    """A Roto with no input takes the script's format, not the plate's."""
    roto = roto_node(width=width, height=height)
    for keys in ([1, 9], [1]):
        shape = add_shape(roto["curves"].rootLayer, ((40.0, 5.0), (60.0, 5.0), (60.0, 30.0), (40.0, 30.0)), keys=keys)
        shape.getAttributes().set("bm", 1.0)  # not "over": its alpha is rendered
    node = rotomem_node(read_node(plate_files()), roto)
    node["engine"].setValue("warp")
    status = _press_and_wait(connected, node)
    assert status.startswith("ready: 2 annotated, 9/9"), status
    shown = channel_of(node, 9)
    assert shown.shape == (64, 96)
    assert shown[64 - 29 : 64 - 6, 41:59].min() == 1.0  # rows from the bottom, as Nuke counts them
    assert shown.sum() == pytest.approx(20 * 25, abs=1.0)


def test_any_node_with_an_alpha_annotates_with_a_list_of_frames(
    connected: Any, plate_files: Callable[..., str], tmp_path: Path
) -> None:
    spec = oiio.ImageSpec(96, 64, 1, "half")
    spec.channelnames = ("A",)
    for frame in range(1, 10):
        painted = np.zeros((64, 96, 1), np.float32)
        painted[20:50, 10 + 2 * frame : 40 + 2 * frame] = 0.75
        output = oiio.ImageOutput.create(str(tmp_path / f"paint.{frame:04d}.exr"))
        output.open(str(tmp_path / f"paint.{frame:04d}.exr"), spec)
        output.write_image(painted)
        output.close()
    painting = read_node(str(tmp_path / "paint.%04d.exr"))
    node = rotomem_node(read_node(plate_files()), painting)
    node["engine"].setValue("warp")
    node["annotated"].setValue("2,8")
    status = _press_and_wait(connected, node)
    assert status.startswith("ready: 2 annotated, 9/9"), status
    assert np.array_equal(channel_of(node, 8), channel_of(painting, 8))


def test_stop_keeps_finished_frames_and_says_how_many(connected: Any, plate_files: Callable[..., str]) -> None:
    node = _long_job(connected, plate_files, frames=150)
    assert inside(node, "CacheRead").knobs["on_error"].value() == "black"
    node["propagate"].execute()
    assert connected.messages.pop() == "Rotomem: Rotomem1 is propagating already; press stop first"
    node["stop"].execute()
    connected.pump(lambda: not actions.is_running(node), timeout_s=60)
    connected.drain()
    made = int(node["matte_count"].value())
    assert 0 < made < 150
    assert node["status"].value() == f"stopped: {made}/150 made"
    assert inside(node, "CacheRead").knobs["on_error"].value() == "black"
    assert channel_of(node, 150).max() == 0.0  # what was not made is black, no Read error in the Viewer
    pattern = str(node["mattes"].value())
    assert len(list(Path(pattern).parent.glob("matte.*.exr"))) == made


def test_renaming_and_deleting_the_node_while_it_runs_harms_nothing(
    connected: Any, plate_files: Callable[..., str]
) -> None:
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1], slide=2.0)
    node = rotomem_node(read_node(plate_files()), roto)
    node["engine"].setValue("warp")
    settings = RotomemNode.of(node).settings()
    node["propagate"].execute()
    run = runs.running(settings.node_uuid)
    node.setName("hero")
    nuke.delete(node)
    connected.pump(run.finished.is_set, timeout_s=60)
    assert len(list(Path(settings.mattes).parent.glob("matte.*.exr"))) == 9  # an undo of the delete finds them


def test_without_a_window_it_runs_to_the_end_and_logs_progress(
    connected: Any, plate_files: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    connected.reset(gui=False)
    connected.start(PLUGIN)
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1, 9], slide=2.0)
    node = rotomem_node(read_node(plate_files()), roto)
    node["engine"].setValue("warp")
    with caplog.at_level(logging.INFO, logger="rotomem_nuke"):
        actions.propagate(node)
    assert "Progress: 100%" in caplog.messages
    assert node["status"].value().startswith("ready: 2 annotated, 9/9 by warp")
    assert channel_of(node, 5).max() == 1.0
    assert connected.progress_tasks == []


def test_a_daemon_that_is_not_there_costs_a_status_line(
    fake: Any, plate_files: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROTOMEM_ENDPOINT", "tcp://127.0.0.1:1")
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1])
    node = rotomem_node(read_node(plate_files()), roto)
    status = _press_and_wait(fake, node)
    assert status.startswith("failed: "), status
    assert "no daemon answers at tcp://127.0.0.1:1 (waited 1 s)" in status
    assert np.array_equal(channel_of(node, 4, "rgba.red"), channel_of(nuke.toNode("Read1"), 4, "rgba.red"))


def _sliding_roto(*layers: str) -> Any:
    roto = roto_node()
    for name in layers:
        add_shape(add_layer(roto["curves"].rootLayer, name), keys=[3, 5], slide=2.0)
    return roto


def _propagate_range(fake: Any, node: Any, first: int, last: int) -> str:
    node["range"].setValue("custom")
    node["first"].setValue(first)
    node["last"].setValue(last)
    return _press_and_wait(fake, node)


def test_mattes_of_an_earlier_drawing_are_counted_when_it_is_ready(
    connected: Any, plate_files: Callable[..., str]
) -> None:
    roto = _sliding_roto("arm")
    node = rotomem_node(read_node(plate_files()), roto)
    node["engine"].setValue("warp")
    assert _press_and_wait(connected, node) == "ready: 2 annotated, 9/9 by warp"
    add_shape(add_layer(roto["curves"].rootLayer, "leg"), keys=[4])
    assert _propagate_range(connected, node, 3, 5) == "ready: 3 annotated, 3/3 by warp, 6 older mattes still shown"
    pattern = str(node["mattes"].value())
    assert ["leg.A" in _matte(pattern, frame) for frame in (2, 3, 5, 6)] == [False, True, True, False]
    assert _propagate_range(connected, node, 1, 8).endswith("8/8 by warp, 1 older matte still shown")
    assert _propagate_range(connected, node, 9, 9).endswith("1/1 by warp")


def test_mattes_of_the_same_drawing_made_piece_by_piece_are_not_older(
    connected: Any, plate_files: Callable[..., str]
) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    for first, last in ((3, 5), (1, 2), (6, 9)):
        assert _propagate_range(connected, node, first, last).endswith(f"{last - first + 1}/{last - first + 1} by warp")
    foreign = Path(str(node["mattes"].value()) % 9)
    foreign.write_bytes(foreign.with_name("matte.0001.exr").read_bytes())
    assert _propagate_range(connected, node, 1, 2).endswith("2/2 by warp, 1 older matte still shown")


def test_mattes_of_other_weights_are_older_ones(
    fake: Any,
    plate_files: Callable[..., str],
    serve: Callable[[Path, str], tuple[Any, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "weights").mkdir()
    save_weights(random_network().state_dict(), tmp_path / "weights" / "m.safetensors", TINY)
    process, address = serve(tmp_path, "tcp://127.0.0.1:*")
    monkeypatch.setenv("ROTOMEM_ENDPOINT", address)
    try:
        node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
        node["engine"].setValue("xmem")
        assert _press_and_wait(fake, node) == "ready: 2 annotated, 9/9 by xmem"
        changed = {name: tensor * 1.01 for name, tensor in random_network().state_dict().items()}
        used = save_weights(changed, tmp_path / "weights" / "m.safetensors", TINY)
        status = _propagate_range(fake, node, 3, 5)
        assert status == "ready: 2 annotated, 3/3 by xmem, 6 older mattes still shown"
        manifest = read_manifest(str(node["mattes"].value()))
        assert manifest is not None
        assert (manifest.weights_sha256, manifest.older) == (used, 6)
        assert _propagate_range(fake, node, 1, 9) == "ready: 2 annotated, 9/9 by xmem"
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_a_frame_of_the_plate_without_a_matte_is_an_error_once_it_is_ready(
    connected: Any, plate_files: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    assert _propagate_range(connected, node, 3, 5).startswith("ready: ")
    assert channel_of(node, 4).max() == 1.0
    for frame in (1, 9):
        with pytest.raises(RuntimeError, match=rf"matte\.000{frame}\.exr"):
            channel_of(node, frame)
    monkeypatch.setenv("ROTOMEM_ENDPOINT", "tcp://127.0.0.1:1")
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    assert _press_and_wait(connected, node).startswith("failed: ")
    with pytest.raises(RuntimeError, match=r"matte\.0009\.exr"):  # a failed attempt does not turn holes black again
        channel_of(node, 9)


def test_a_plate_with_frames_missing_is_refused_by_name(connected: Any, plate_files: Callable[..., str]) -> None:
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1], slide=2.0)
    node = rotomem_node(read_node(plate_files(1, 5), last=9), roto)
    node["engine"].setValue("warp")
    status = _press_and_wait(connected, node)
    assert status.startswith("failed: frame 6 of the plate is not on disk"), status
    node["range"].setValue("custom")
    node["first"].setValue(1)
    node["last"].setValue(5)
    assert _press_and_wait(connected, node).startswith("ready: 1 annotated, 5/5 by warp")


def test_the_daemons_sentence_reaches_the_node(connected: Any, plate_files: Callable[..., str]) -> None:
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1], slide=2.0)
    node = rotomem_node(read_node(plate_files()), roto)
    node["engine"].setValue("warp")
    node["input_colour"].setValue("named")
    node["colourspace"].setValue("no such space")
    status = _press_and_wait(connected, node)
    assert status.startswith("failed: "), status
    assert "'no such space'" in status


def test_pressing_again_takes_up_what_was_redrawn(connected: Any, plate_files: Callable[..., str]) -> None:
    roto = roto_node()
    root = roto["curves"].rootLayer
    layer = add_layer(root, "arm")
    shape = add_shape(layer, keys=[1, 5], slide=2.0)
    node = rotomem_node(read_node(plate_files()), roto)
    node["engine"].setValue("warp")
    assert _press_and_wait(connected, node).startswith("ready: 2 annotated, 9/9")
    layer.name = "hand"
    for point in shape:
        point.center.addPositionKey(9, (80.0, 5.0, 1.0))  # no area left on frame 9
    layer.setVisible(1, True)
    attributes = shape.getAttributes()
    for name, value in (("ltt", 4), ("ltn", 1), ("ltm", 5)):
        attributes.set(name, value)
    assert _press_and_wait(connected, node).startswith("ready: 3 annotated, 9/9")
    layers = {name for name in _matte(str(node["mattes"].value()), 1) if name.endswith(".A")}
    assert layers == {"hand.A", "confidence.A"}
    assert channel_of(node, 9).max() == 0.0  # hidden on its key: not there


def test_a_suggestion_moves_the_playhead_and_says_why(connected: Any, plate_files: Callable[..., str]) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["suggest"].execute()
    assert actions.is_running(node)  # asked in the background
    connected.pump(lambda: not actions.is_running(node), timeout_s=120)
    frame = nuke.frame()
    assert frame not in (3, 5)
    assert 1 <= frame <= 9
    assert node["status"].value().startswith(f"draw on frame {frame}: ")
    assert node["suggested"].value().split(", ")[0] == str(frame)
    assert node["state"].value() == "idle"
    assert connected.messages == []


def test_the_daemon_tells_who_it_is_in_a_line(connected: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    node = nuke.createNode("Rotomem")
    node["test_backend"].execute()
    assert node["backend_state"].value() == f"asking {endpoint}"
    connected.pump(lambda: not node["backend_state"].value().startswith("asking"), timeout_s=60)
    assert node["backend_state"].value().startswith(f"{endpoint}: Rotomem ")
    assert "warp" in node["backend_state"].value()
    monkeypatch.setenv("ROTOMEM_ENDPOINT", "tcp://127.0.0.1:1")
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    node["test_backend"].execute()
    connected.pump(lambda: "no daemon answers" in node["backend_state"].value(), timeout_s=60)
    assert node["state"].value() == "idle"
    assert connected.messages == []


def test_tile_and_label_follow_a_propagation(connected: Any, plate_files: Callable[..., str]) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    node["propagate"].execute()
    assert node["state"].value() == "running"
    connected.pump(lambda: not actions.is_running(node), timeout_s=120)
    connected.drain()
    assert (node["state"].value(), node["progress"].value()) == ("complete", "9/9")
    assert node["annotated_keys"].getKeyList() == [3.0, 5.0]
    connected.update_ui()
    connected.settle("rotomem-work")
    assert node["state"].value() == "complete"


def test_a_dead_daemon_leaves_mattes_and_state_as_they_were(
    connected: Any, plate_files: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    assert _press_and_wait(connected, node).startswith("ready")
    monkeypatch.setenv("ROTOMEM_ENDPOINT", "tcp://127.0.0.1:1")
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    assert "no daemon answers" in _press_and_wait(connected, node)
    assert (node["state"].value(), node["failed"].value()) == ("complete", 0)
    assert channel_of(node, 4).max() == 1.0


def test_work_that_fails_is_red_and_the_nodes_error_while_it_has_no_matte(
    connected: Any, plate_files: Callable[..., str]
) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    node["input_colour"].setValue("named")
    node["colourspace"].setValue("no such space")
    status = _press_and_wait(connected, node)
    assert node["state"].value() == "error"
    with pytest.raises(RuntimeError, match="no such space"):
        channel_of(node, 4, "rgba.red")
    assert "no such space" in status
    node["input_colour"].setValue("auto")
    assert _press_and_wait(connected, node).startswith("ready")
    assert channel_of(node, 4).max() == 1.0


def test_without_live_results_mattes_show_when_all_are_made(
    connected: Any, plate_files: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "RELOAD_INTERVAL_S", 0.0)
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    node["live"].setValue(False)
    assert _press_and_wait(connected, node).startswith("ready")
    assert inside(node, "CacheRead").pressed == ["reload"]


def test_two_views_are_propagated_one_after_the_other(connected: Any, plate_files: Callable[..., str]) -> None:
    connected.set_views("left", "right")
    for view in connected.views:
        pattern = plate_files(name=f"plate.{view}")
    node = rotomem_node(read_node(pattern.replace("right", "%V")), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    status = _press_and_wait(connected, node)
    assert status.startswith("right: ready: 2 annotated, 9/9 by warp"), status
    assert node["progress"].value() == "18/18"
    assert node["state"].value() == "complete"
    for view in connected.views:
        connected.view = view
        assert channel_of(node, 4).max() == 1.0
        assert np.array_equal(channel_of(node, 4), _matte(str(node["mattes"].value()).replace("%V", view), 4)["A"])
    assert connected.renders == []


def test_a_reopened_script_picks_up_the_job_that_nuke_left(connected: Any, plate_files: Callable[..., str]) -> None:
    """Nuke was closed mid-job: its threads are gone, the daemon's job is not."""
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1], slide=2.0)
    node = rotomem_node(read_node(plate_files(1, 60), last=60), roto)
    node["engine"].setValue("warp")
    (request,) = collect(RotomemNode.of(node))
    settings = request.settings
    task = Propagation(request)
    with connect(settings) as client:
        Shot(request, Path(settings.mattes).parent, say=lambda _: None, stopped=lambda: False).send(client)
        job = task._start(client)
        write_manifest(settings.mattes, replace(task._goal().manifest(), job=job.id))
    node["state"].setValue("running")  # as it was saved
    RotomemNode.of(node).release_identifier()
    node._op.run("onCreate")
    connected.pump(lambda: actions.is_running(node), timeout_s=60)
    connected.pump(lambda: not actions.is_running(node), timeout_s=120)
    connected.drain()
    assert node["status"].value().startswith("ready: 1 annotated, 60/60 by warp")
    assert (node["state"].value(), node["progress"].value()) == ("complete", "60/60")
    assert read_manifest(settings.mattes).job == ""
    assert channel_of(node, 2).max() == 1.0


def test_frames_that_are_right_are_not_fetched_again(
    connected: Any, plate_files: Callable[..., str], tmp_path: Path
) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    assert _press_and_wait(connected, node).startswith("ready")
    files = sorted(Path(str(node["mattes"].value())).parent.glob("matte.*.exr"))
    times = [path.stat().st_mtime_ns for path in files]
    assert _press_and_wait(connected, node).startswith("ready: 2 annotated, 9/9")
    assert [path.stat().st_mtime_ns for path in files] == times


def test_a_node_without_a_drawing_may_ask_where_to_begin(connected: Any, plate_files: Callable[..., str]) -> None:
    node = rotomem_node(read_node(plate_files()), roto_node())
    node["suggest"].execute()
    connected.pump(lambda: not actions.is_running(node), timeout_s=120)
    assert node["status"].value().startswith(f"draw on frame {nuke.frame()}: "), node["status"].value()


def test_stop_ends_the_wait_for_a_suggestion(connected: Any, plate_files: Callable[..., str]) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["suggest"].execute()
    node["propagate"].execute()
    assert connected.messages.pop() == "Rotomem: Rotomem1 waits for the daemon; press stop first"
    node["stop"].execute()
    connected.pump(lambda: not actions.is_running(node), timeout_s=60)
    assert node["status"].value().startswith("stopped ")
    assert nuke.frame() == 1


def test_the_free_editions_ten_handles_are_enough_for_three_propagations_from_the_menu(
    connected: Any, plate_files: Callable[..., str]
) -> None:
    """Non-commercial, with a window: created from the menu, and a second and a third press after a redraw."""
    connected.reset(gui=True, nc=True)
    connected.start(PLUGIN)
    read_node(plate_files())["selected"].setValue(True)
    connected.handles = 0  # the artist's own nodes were there before Python came
    exec(connected.menu_commands["Nodes/Rotomem/Rotomem"], {"nuke": nuke})
    node, roto = (nuke._graph.Node(connected.root.find(name)) for name in ("Rotomem1", "Roto1"))
    add_shape(roto["curves"].rootLayer, keys=[1, 9], slide=2.0)
    node["engine"].setValue("warp")
    for _ in range(3):
        node["propagate"].execute()
        connected.pump(lambda: node["state"].value() != "running", timeout_s=120)
        assert node["status"].value().startswith("ready: 2 annotated, 9/9 by warp")
    assert connected.handles <= 10
    connected.handles = 0
    node.setInput(0, read_node(plate_files(name="other")))  # what is held of an input counts while it is wired there
    assert RotomemNode.of(node).input(0).name() == "Read2"


def test_a_whole_propagation_touches_at_most_six_nodes(connected: Any, plate_files: Callable[..., str]) -> None:
    """research/nuke.md §2 "NC/Indie": ten handles a session, so a second press must still have some."""
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    node["engine"].setValue("warp")
    connected.nc = True
    connected.handles = 0
    assert _press_and_wait(connected, node).startswith("ready: 2 annotated, 9/9")
    connected.update_ui()
    connected.drain()
    assert connected.handles <= 6
    assert channel_of(node, 4).max() == 1.0


def _long_job(session: Any, plate_files: Callable[..., str], frames: int = 300) -> Any:
    """Return a node whose job has its first mattes, and is long enough not to be over by then."""
    roto = roto_node()
    add_shape(roto["curves"].rootLayer, keys=[1], slide=2.0)
    node = rotomem_node(read_node(plate_files(1, frames), last=frames), roto)
    node["engine"].setValue("warp")
    node["propagate"].execute()
    session.pump(lambda: node["matte_count"].value() > 0 or not actions.is_running(node), timeout_s=60)
    assert actions.is_running(node), node["status"].value()
    return node


def test_a_daemon_killed_and_started_again_mid_job_costs_a_status_line(
    fake: Any, serve: Any, plate_files: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    process, endpoint = serve(tmp_path, "tcp://127.0.0.1:*")
    try:
        monkeypatch.setenv("ROTOMEM_ENDPOINT", endpoint)
        node = _long_job(fake, plate_files)
        process.kill()
        process.wait(timeout=20)
        fake.pump(lambda: "waiting for the daemon" in node["status"].value(), timeout_s=60)
        assert node["state"].value() == "running"
        assert channel_of(node, 1).max() == 1.0  # what had arrived keeps showing
        process, _ = serve(tmp_path, endpoint)
        fake.pump(lambda: not actions.is_running(node), timeout_s=240)
        fake.drain()
        assert node["status"].value().startswith("ready: 1 annotated, 300/300 by warp"), node["status"].value()
        assert fake.messages == []
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal there freezes a process")
def test_a_daemon_that_hangs_mid_job_costs_a_status_line_and_stop_ends_the_wait(
    fake: Any, serve: Any, plate_files: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    process, endpoint = serve(tmp_path, "tcp://127.0.0.1:*")
    try:
        monkeypatch.setenv("ROTOMEM_ENDPOINT", endpoint)
        node = _long_job(fake, plate_files)
        process.send_signal(signal.SIGSTOP)
        fake.pump(lambda: "waiting for the daemon" in node["status"].value(), timeout_s=60)
        assert node["state"].value() == "running"
        node["stop"].execute()
        fake.pump(lambda: not actions.is_running(node), timeout_s=60)
        fake.drain()
        assert node["state"].value() == "idle"
        assert endpoint in node["status"].value()
        assert channel_of(node, 1).max() == 1.0  # what had arrived keeps showing
        assert fake.messages == []
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=20)


def test_a_cancelled_plate_render_ends_the_run_and_leaves_no_trace(
    connected: Any, plate_files: Callable[..., str], tmp_path: Path
) -> None:
    graded = nuke.nodes.Grade(inputs=[read_node(plate_files(1, 20), last=20)], multiply=0.9)
    roto = _sliding_roto("arm")
    node = rotomem_node(graded, roto)
    connected.cancel_render_at = 12  # in the second chunk of eight
    assert _press_and_wait(connected, node) == "stopped: 0/20 made"
    assert [(render["first"], render["last"]) for render in connected.renders] == [(1, 8), (9, 16)]
    assert (node["state"].value(), node["failed"].value()) == ("idle", 0)
    assert list(tmp_path.glob("rotomem-*")) == []
    assert [child.class_name for child in connected.root.children] == ["Read", "Grade", "Roto", "Group"]


class _Recorder:
    """The network's end of a client: keeps what it is asked for."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def propagate(self, session_id: str, first: int, last: int, **settings: Any) -> None:
        self.asked = {"session_id": session_id, "first": first, "last": last, **settings}


@pytest.mark.usefixtures("fake")
def test_every_setting_of_the_panel_reaches_the_daemon(plate_files: Callable[..., str]) -> None:
    node = rotomem_node(read_node(plate_files()), _sliding_roto("arm"))
    nuke.frame(4)
    changed = {
        "engine": "xmem",
        "weights": "studio_2026",
        "refine_edges": False,
        "tune": False,
        "priority": "high",
        "handles": 2,
    }
    for knob, value in changed.items():
        node[knob].setValue(value)
    sizes = {}
    recorder = _Recorder()
    for process_at in ("auto", "1080", "720", "full"):
        node["process_at"].setValue(process_at)
        (request,) = collect(RotomemNode.of(node))
        Propagation(request)._start(recorder)
        sizes[process_at] = recorder.asked.pop("processing_size")
    assert sizes == {"auto": 0, "1080": 1080, "720": 720, "full": 64}
    assert recorder.asked == {
        **{"session_id": node["node_uuid"].value(), "first": 1, "last": 9, "handles": 2, "engine": "xmem"},
        **{"weights": "studio_2026", "refine_edges": False, "tune": False, "priority": 2, "focus": 4},
        **{"confidence": True, "remake": False, "motion": "off"},
    }
