"""Mattes back into a Roto: what the artist drew, propagated, baked and drawn again by Nuke's own rasteriser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_scene import add_layer, add_shape, channel_of, read_node, roto_node, rotomem_node, write_exr

import nuke
import rotomem_nuke.api as rm
from rotomem_nuke import actions
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.roto import roto_objects

pytestmark = pytest.mark.timeout(180)

RING = ((20.0, 12.0), (60.0, 12.0), (60.0, 52.0), (20.0, 52.0))


def overlap(one: Any, other: Any) -> float:
    """Return intersection over union of the pixels above one half."""
    a, b = one > 0.5, other > 0.5
    return float((a & b).sum() / (a | b).sum())


def of_object(roto: Any, name: str, frame: int) -> Any:
    """Return one layer's alpha, the others hidden."""
    for layer in roto["curves"].rootLayer:
        layer.setVisible(frame, layer.name == name)
    return channel_of(roto, frame)


def test_what_was_drawn_comes_back_as_keyed_beziers(connected: Any, plate_files: Callable[..., str]) -> None:
    drawn = roto_node()
    root = drawn["curves"].rootLayer
    arm = ((10.0, 10.0), (34.0, 10.0), (34.0, 34.0), (10.0, 34.0))
    leg = ((50.0, 30.0), (74.0, 30.0), (62.0, 54.0))
    add_shape(add_layer(root, "arm"), arm, keys=[1, 5], slide=2.0)
    add_shape(add_layer(root, "leg"), leg, keys=[1, 5], slide=2.0)
    node = rotomem_node(read_node(plate_files(1, 5), last=5), drawn)
    node["engine"].setValue("warp")
    node["propagate"].execute()
    connected.pump(lambda: not actions.is_running(node), timeout_s=120)
    before = [shape.serialise() for layer in root for shape in layer]
    node["to_roto"].execute()
    assert actions.is_running(node)
    connected.pump(lambda: not actions.is_running(node), timeout_s=120)
    made = nuke.toNode("Rotomem1_baked")
    assert node["status"].value() == "baked 2 shapes of 1-5 into Rotomem1_baked"
    assert made.Class() == "Roto"
    assert made.input(0).name() == "Read1"
    assert [found.name for found in roto_objects(made)] == ["arm", "leg"]
    assert [shape.serialise() for layer in root for shape in layer] == before
    for layer in made["curves"].rootLayer:
        for shape in layer:
            assert {tuple(point.center.getControlPointKeyTimes()) for point in shape} == {(1.0, 2.0, 3.0, 4.0, 5.0)}
    node["output"].setValue("layer per object")
    for name in ("arm", "leg"):
        for frame in (1, 3, 5):
            assert overlap(of_object(made, name, frame), channel_of(node, frame, f"{name}.alpha")) > 0.95
        assert overlap(of_object(made, name, 1), of_object(drawn, name, 1)) > 0.95


@pytest.fixture
def cached(connected: Any, plate_files: Callable[..., str]) -> Callable[..., Any]:
    """Make a node whose mattes are on disk, by frame."""

    def make(mattes: dict[int, Any]) -> Any:
        node = rotomem_node(read_node(plate_files(1, 3), last=3), roto_node())
        pattern = RotomemNode.of(node).mattes()
        Path(pattern).parent.mkdir(parents=True)
        for frame, alpha in mattes.items():
            write_exr(Path(pattern % frame), np.stack([alpha, alpha], axis=2), ("A", "arm.A"))
        RotomemNode.of(node).show_objects(["arm"])
        return node

    return make


def test_a_hole_is_cut_and_a_contour_lives_where_it_is(cached: Callable[..., Any]) -> None:
    ring = np.zeros((64, 96), np.float32)
    ring[12:52, 20:60] = 1.0
    ring[24:40, 32:48] = 0.0
    node = cached({1: ring, 2: np.roll(ring, 3, axis=1), 3: ring * 0})
    made = rm.bake_to_roto(node, tolerance=0.3)
    outer, hole = sorted((shape for shape in made["curves"].rootLayer[0]), key=lambda shape: shape.name)
    value = hole.getAttributes().getValue
    assert (value(1, "bm", "main"), value(1, "ltt", "main")) == (12.0, 4.0)
    assert (value(3, "ltn", "main"), value(3, "ltm", "main")) == (1.0, 2.0)
    assert outer.getAttributes().getValue(1, "bm", "main") == 0.0
    for frame, shift in ((1, 0), (2, 3)):
        assert overlap(channel_of(made, frame), np.roll(ring, shift, axis=1)) > 0.97
    assert channel_of(made, 3).max() == 0.0


def test_a_bake_of_nothing_or_to_no_tolerance_is_refused(cached: Callable[..., Any]) -> None:
    node = cached({})
    with pytest.raises(rm.GraphError, match="Rotomem1 v001 has no mattes yet; press Propagate first"):
        rm.bake_to_roto(node)
    with pytest.raises(rm.GraphError, match=r"'tolerance' is 0 px; set it between 0\.1 and 100"):
        rm.bake_to_roto(node, tolerance=0.0)
    node.setInput(0, None)
    with pytest.raises(rm.GraphError, match="the plate input is not connected"):
        rm.bake_to_roto(node)
    assert nuke.toNode("Rotomem1_baked") is None


def test_a_daemon_that_is_away_costs_the_bake_a_status_line(
    cached: Callable[..., Any], connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROTOMEM_ENDPOINT", "tcp://127.0.0.1:1")
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "1")
    node = cached({1: np.ones((64, 96), np.float32)})
    node["to_roto"].execute()
    connected.pump(lambda: not actions.is_running(node), timeout_s=60)
    assert "tcp://127.0.0.1:1" in node["status"].value()
    assert node["state"].value() == "idle"
    assert connected.messages == []
