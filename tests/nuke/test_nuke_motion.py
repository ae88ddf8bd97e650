"""Mattes of what moves, from the node's button and from a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_scene import PLUGIN, add_layer, add_shape, channel_of, read_node, roto_node, rotomem_node, write_exr

import rotomem_nuke.api as rm
from moving_scene import MovingScene, Square
from rotomem_nuke import actions

pytestmark = pytest.mark.timeout(180)
SCENE = MovingScene([Square((40, 50), (4, 1), side=48)], pan=(2, 0))
LAST = 6


def render(folder: Path, scene: MovingScene) -> str:
    for frame in range(1, LAST + 1):
        write_exr(folder / f"moving.{frame:04d}.exr", scene.image(frame), "RGB")
    return str(folder / "moving.%04d.exr")


@pytest.fixture
def moving(tmp_path: Path) -> Callable[..., Any]:
    """Make a node on a plate in which one square moves."""

    def make(roto: Any = None, scene: MovingScene = SCENE) -> Any:
        node = rotomem_node(read_node(render(tmp_path, scene), last=LAST), roto)
        node["motion"].setValue("dis")
        return node

    return make


def wait(connected: Any, node: Any) -> None:
    connected.pump(lambda: not actions.is_running(node), timeout_s=120)
    connected.drain()


def test_without_any_drawing_what_moves_gets_a_matte(connected: Any, moving: Callable[..., Any]) -> None:
    node = moving()
    node["from_motion"].execute()
    assert node["state"].value() == "running"
    wait(connected, node)
    assert node["status"].value() == (
        "ready: 0 annotated, 6/6 by motion; frames 1-6: the camera pans 2.0 px a frame; 1 object moves against it"
    )
    assert (node["state"].value(), node["progress"].value(), node["engine_used"].value()) == (
        "complete",
        "6/6",
        "motion",
    )
    assert node["object"].values() == ["object1", "object2", "object3"]
    matte, truth = channel_of(node, 4) > 0.5, SCENE.truth(4, 0)
    assert (matte & truth).sum() > 0.8 * (matte | truth).sum()


def test_what_is_drawn_is_kept_and_propagated_afterwards(connected: Any, moving: Callable[..., Any]) -> None:
    roto = roto_node(width=240, height=160)
    corners = ((10.0, 10.0), (30.0, 10.0), (30.0, 30.0), (10.0, 30.0))
    add_shape(add_layer(roto["curves"].rootLayer, "box"), corners, keys=[3])
    node = moving(roto)
    node["engine"].setValue("warp")
    node["from_motion"].execute()
    wait(connected, node)
    assert channel_of(node, 3).sum() == pytest.approx(400, abs=1)
    assert channel_of(node, 4)[SCENE.truth(4, 0)].mean() > 0.8
    node["propagate"].execute()
    wait(connected, node)
    assert node["engine_used"].value() == "warp"
    assert node["state"].value() == "complete", node["status"].value()
    assert channel_of(node, 4)[SCENE.truth(4, 0)].mean() < 0.2  # the box's matte, not what moves


def test_where_nothing_moves_the_status_says_so(connected: Any, moving: Callable[..., Any]) -> None:
    node = moving(None, MovingScene())
    node["from_motion"].execute()
    wait(connected, node)
    assert "there is no motion to speak of" in node["status"].value()
    assert channel_of(node, 4).max() == 0.0


def test_a_script_asks_for_a_range_and_follows(connected: Any, moving: Callable[..., Any]) -> None:
    connected.reset(gui=False)
    connected.start(PLUGIN)
    node = moving()
    job = rm.propose_motion(node, 2, 5, wait=False)
    assert sorted(matte.frame for matte in job.events()) == [2, 3, 4, 5]
    assert job.complete
    rm.assert_complete(node)


def test_a_second_opinion_shows_where_motion_takes_the_matte_for_wrong(
    connected: Any, moving: Callable[..., Any]
) -> None:
    rows, columns = np.nonzero(SCENE.truth(3, 0))
    top, bottom, left, right = 160 - rows.max() - 1.0, 160.0 - rows.min(), columns.min(), columns.min() + 32.0
    roto = roto_node(width=240, height=160)
    part = ((left, bottom), (right, bottom), (right, top), (left, top))  # two thirds of what moves
    add_shape(add_layer(roto["curves"].rootLayer, "part"), part, keys=[3])
    node = moving(roto)
    node["engine"].setValue("warp")
    node["refine_edges"].setValue(False)
    node["propagate"].execute()
    wait(connected, node)
    node["view"].setValue("errors")
    plain = channel_of(node, 5, "rgba.green")
    node["second_opinion"].setValue("show errors")
    connected.update_ui()
    connected.settle("rotomem-work")
    assert node["state"].value() == "stale"
    assert np.array_equal(channel_of(node, 5, "rgba.green"), plain), "nothing runs by itself"
    node["propagate"].execute()
    wait(connected, node)
    assert node["state"].value() == "complete", node["status"].value()
    yellow = channel_of(node, 5, "rgba.green") - plain > 0.1
    truth = SCENE.truth(5, 0)
    assert yellow[truth].mean() > 0.15
    assert yellow[~truth].mean() < 0.02


def test_a_frozen_version_refuses(connected: Any, moving: Callable[..., Any]) -> None:
    node = moving()
    node["freeze"].setValue(True)
    node["from_motion"].execute()
    assert connected.messages[-1].startswith("Rotomem: Rotomem1 v001 is frozen")
    node["freeze"].setValue(False)
    node.setInput(0, None)
    node["from_motion"].execute()
    assert connected.messages[-1] == "Rotomem: the plate input is not connected; wire the plate into 'img'"
