"""A click in the Viewer to shapes in the Roto, through the real daemon and a small, random segment-anything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from nuke_scene import PLUGIN, add_layer, add_shape, channel_of, read_node, roto_node, rotomem_node

import nuke
from rotomem.plates import read_alpha
from rotomem_client.client import Client
from rotomem_client.messages import Plate, PromptPoint
from rotomem_nuke import actions
from rotomem_nuke.roto import key_frames, roto_objects

sys.path.insert(0, str(PLUGIN.parent / "tests" / "networks"))
from small_sam import small_sam

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def prompting(tmp_path_factory: pytest.TempPathFactory, serve: Any) -> Iterator[tuple[str, Path]]:
    """The address of a daemon, and its weights' file."""
    folder = tmp_path_factory.mktemp("prompting")
    (folder / "weights").mkdir()
    weights = folder / "weights" / "sam_small.pth"
    state = small_sam(seed=7).state_dict()
    for name, values in state.items():
        if "output_hypernetworks_mlps" in name and ".layers.2." in name:
            values *= 100.0  # decided mattes, where random weights hover at one half
    torch.save(state, weights)
    process, address = serve(folder, "tcp://127.0.0.1:*")
    try:
        yield address, weights
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def clicked(fake: Any, prompting: Any, plate_files: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A node over a Roto whose layer 'arm' is drawn on frame 1, the playhead on frame 4."""
    monkeypatch.setenv("ROTOMEM_ENDPOINT", prompting[0])
    monkeypatch.setenv("ROTOMEM_TIMEOUT_S", "60")  # a machine that runs other tests too starts the network slowly
    roto = roto_node()
    add_shape(add_layer(roto["curves"].rootLayer, "arm"), keys=[1])
    node = rotomem_node(read_node(plate_files()), roto)
    nuke.frame(4)
    return node


def press(fake: Any, node: Any) -> str:
    node["draw_click"].execute()
    fake.pump(lambda: not actions.is_running(node), timeout_s=240)
    return str(node["status"].value())


def test_what_is_clicked_on_becomes_shapes_of_that_frame(
    fake: Any, clicked: Any, prompting: Any, plate_files: Any, tmp_path: Path
) -> None:
    clicked["click"].setValue((48.0, 40.0))
    clicked["avoid"].setValue((8.0, 8.0))
    status = press(fake, clicked)
    assert status.startswith("drew "), status
    assert " of clicked on frame 4, score " in status
    roto = clicked.input(1)
    arm, made = roto_objects(roto)
    assert (arm.name, key_frames(roto, arm)) == ("arm", [1])
    assert (made.name, key_frames(roto, made)) == ("clicked", [4])
    points = [PromptPoint(48.0, 24.0), PromptPoint(8.0, 56.0, inside=False)]  # origin top-left
    with Client(prompting[0], timeout_s=60.0) as client:
        client.open_session("same", Plate(4, 4, plate_files()), ["clicked"])
        client.prompt("same", 4, "clicked", tmp_path / "matte.exr", points=points)
    wanted = read_alpha(tmp_path / "matte.exr", 4, object_name="clicked") > 0.5
    roto["curves"].rootLayer[0].setVisible(4, False)
    drawn = channel_of(roto, 4) > 0.5
    assert (drawn & wanted).sum() > 0.9 * drawn.sum()
    assert (drawn & wanted).sum() > 0.7 * wanted.sum()  # random weights give specks, which are left out
    assert channel_of(roto, 5).max() == 0.0
    count = len(roto["curves"].rootLayer[1])
    press(fake, clicked)
    assert len(roto["curves"].rootLayer[1]) == count  # in place of the first


def test_a_box_draws_into_the_chosen_layer(fake: Any, clicked: Any) -> None:
    clicked["rescan"].execute()
    assert clicked["object"].value() == "arm"
    clicked["click_box"].setValue((10.0, 10.0, 80.0, 50.0))
    assert " of arm on frame 4" in press(fake, clicked)
    (arm,) = roto_objects(clicked.input(1))
    assert key_frames(clicked.input(1), arm) == [1, 4]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda node: None, "nothing is clicked on: put 'on it' on the object in the Viewer, or 'box' around it"),
        (lambda node: nuke.frame(77), "frame 77 is outside of the plate (1-9); move the playhead"),
        (lambda node: node.setInput(1, None), "Rotomem1 has no Roto to draw in; wire one into 'roto'"),
        (lambda node: node.setInput(0, None), "the plate input is not connected; wire the plate into 'img'"),
    ],
)
def test_what_is_wrong_is_said_at_once(fake: Any, clicked: Any, change: Callable[[Any], object], sentence: str) -> None:
    change(clicked)
    clicked["draw_click"].execute()
    assert fake.messages == [f"Rotomem: {sentence}"]


def test_a_daemon_without_weights_says_so_in_the_status(fake: Any, clicked: Any, prompting: Any) -> None:
    aside = prompting[1].with_suffix(".aside")
    prompting[1].rename(aside)
    try:
        clicked["click"].setValue((48.0, 40.0))
        status = press(fake, clicked)
    finally:
        aside.rename(prompting[1])
    assert status.startswith("failed: ")
    assert "sam_vit_b_01ec64.pth" in status
    assert len(clicked.input(1)["curves"].rootLayer) == 1
