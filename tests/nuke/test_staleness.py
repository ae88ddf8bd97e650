"""Versions, freeze, stale mattes, and a node that finds its mattes again. No daemon is needed for any of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuke_scene import PLUGIN, add_layer, add_shape, channel_of, inside, read_node, roto_node, rotomem_node, write_exr

import nuke
from nuke import _script
from rotomem_nuke import staleness
from rotomem_nuke.cache import Manifest, frames_on_disk, matte_file, next_version, read_manifest, write_manifest
from rotomem_nuke.collection import read_graph
from rotomem_nuke.errors import CacheError
from rotomem_nuke.fingerprint import fingerprint
from rotomem_nuke.node import RotomemNode


@pytest.fixture
def unhurried(fake: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Checks need no rest between them."""
    monkeypatch.setattr(staleness, "_next_check", {})
    monkeypatch.setattr(staleness, "MIN_INTERVAL_S", 0.0)
    monkeypatch.setattr(staleness, "REST", 0.0)
    return fake


@pytest.fixture
def made(unhurried: Any, plate_files: Callable[..., str]) -> Any:
    """A node whose nine mattes were made from what its graph holds."""
    roto = roto_node()
    add_shape(add_layer(roto["curves"].rootLayer, "arm"), keys=[1, 9])
    node = rotomem_node(read_node(plate_files()), roto)
    _fill_cache(node, range(1, 10))
    rotomem = RotomemNode.of(node)
    rotomem.show_mattes(rotomem.settings().mattes, 1, 9, 9, on_error="error")
    rotomem.show_state("complete")
    return node


def _fill_cache(node: Any, frames: range, **noted: Any) -> str:
    (request,) = read_graph(RotomemNode.of(node))
    pattern = request.settings.mattes
    manifest = Manifest(fingerprint(request), 1, 9, 1, 9, annotated=2, complete=len(frames) == 9, engine="warp")
    write_manifest(pattern, replace(manifest, **noted))
    for frame in frames:
        write_exr(matte_file(pattern, frame), np.full((64, 96, 1), frame / 16, np.float32), "A")
    return pattern


def _settle(fake: Any) -> None:
    """Let Nuke idle once, and its threads answer."""
    fake.update_ui()
    fake.settle("rotomem-work")


def _state(fake: Any, node: Any) -> str:
    _settle(fake)
    return str(node["state"].value())


def test_what_was_not_touched_is_not_stale(made: Any, fake: Any) -> None:
    assert _state(fake, made) == "complete"
    for knob, value in (("softness", 3.0), ("view", "overlay"), ("output", "one object"), ("range", "global")):
        made[knob].setValue(value)  # nothing that the mattes are made from
    nuke.toNode("Roto1")["label"].setValue("a note")
    made.setName("hero")
    assert _state(fake, made) == "complete"


def test_a_moved_shape_is_stale_and_the_old_matte_keeps_showing(made: Any, fake: Any) -> None:
    point = nuke.toNode("Roto1")["curves"].rootLayer[0][0][0]
    point.center.addPositionKey(9, (25.0, 10.0, 1.0))
    assert _state(fake, made) == "stale"
    assert channel_of(made, 4)[0, 0] == 4 / 16
    assert inside(made, "CacheRead").knobs["on_error"].value() == "error"
    point.center.addPositionKey(9, (20.0, 10.0, 1.0))
    assert _state(fake, made) == "complete"  # moved back: they fit again


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("engine", "warp"),
        ("weights", "studio_2026"),
        ("refine_edges", False),
        ("tune", False),
        ("second_opinion", "correct"),
        ("process_at", "1080"),
        ("input_colour", "raw"),
        ("annotated", "1,5,9"),
    ],
)
def test_settings_weights_and_frames_make_stale(made: Any, fake: Any, knob: str, value: Any) -> None:
    made[knob].setValue(value)
    assert _state(fake, made) == "stale"
    assert made["tile_color"].value() == 0xCF9F2FFF


def test_another_plate_and_the_same_one_rendered_again_make_stale(
    made: Any, fake: Any, plate_files: Callable[..., str], tmp_path: Path
) -> None:
    os.utime(tmp_path / "plate.0004.exr", (1, 1))
    assert _state(fake, made) == "stale"
    write_manifest(
        RotomemNode.of(made).settings().mattes,
        Manifest(fingerprint(read_graph(RotomemNode.of(made))[0]), complete=True),
    )
    assert _state(fake, made) == "complete"
    made.setInput(0, read_node(plate_files(name="other")))
    assert _state(fake, made) == "stale"


def test_a_change_upstream_of_a_rendered_plate_makes_stale_and_a_moved_node_does_not(made: Any, fake: Any) -> None:
    grade = nuke.nodes.Grade(inputs=[nuke.toNode("Read1")], multiply=0.9)
    made.setInput(0, nuke.nodes.Dot(inputs=[grade]))
    _fill_cache(made, range(1, 10))
    assert _state(fake, made) == "complete"
    grade["xpos"].setValue("400")
    assert _state(fake, made) == "complete"
    grade["multiply"].setValue(0.8)
    assert _state(fake, made) == "stale"


def test_idling_never_waits_for_disk_on_the_main_thread(made: Any, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def spied(pattern: str) -> Manifest | None:
        threads.append(threading.current_thread().name)
        return read_manifest(pattern)

    monkeypatch.setattr(staleness, "read_manifest", spied)
    _settle(fake)
    made["version"].setValue(2)
    _settle(fake)
    assert set(threads) == {"rotomem-work"}


def test_a_graph_that_cannot_be_read_changes_no_state(made: Any, fake: Any) -> None:
    made.setInput(1, None)
    assert _state(fake, made) == "complete"
    assert fake.messages == []


def test_keys_follow_the_drawing_before_anything_is_propagated(unhurried: Any, plate_files: Callable[..., str]) -> None:
    fake = unhurried
    roto = roto_node()
    node = rotomem_node(read_node(plate_files()), roto)
    add_shape(add_layer(roto["curves"].rootLayer, "arm"), keys=[2])
    _settle(fake)
    assert node["annotated_keys"].getKeyList() == [2.0]
    add_shape(add_layer(roto["curves"].rootLayer, "leg"), keys=[2])
    _settle(fake)
    fake.frame = 2
    assert node["annotated_keys"].value() == 2
    assert node["object"].values() == ["arm", "leg"]
    assert node["state"].value() == "idle"


def test_a_check_rests_so_that_idling_stays_cheap(made: Any, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    monkeypatch.setattr(staleness, "MIN_INTERVAL_S", 1000.0)
    monkeypatch.setattr(staleness, "read_graph", lambda rotomem: read.append(rotomem.name) or read_graph(rotomem))
    for _ in range(5):
        _settle(fake)
    assert read == ["Rotomem1"]
    made["engine"].setValue("warp")
    _settle(fake)
    assert read == ["Rotomem1", "Rotomem1"]  # a setting of its own is looked at in any case


def test_an_input_that_nuke_cannot_read_is_no_error_of_ours(made: Any, fake: Any) -> None:
    made.setInput(0, read_node("/nowhere/plate.%04d.exr"))
    assert _state(fake, made) == "complete"
    assert fake.served_errors == []


def test_version_up_starts_empty_and_going_back_shows_the_mattes_again(made: Any, fake: Any) -> None:
    first = made["mattes"].value()
    made["version_up"].execute()
    _settle(fake)
    assert made["version"].value() == 2
    assert (made["matte_count"].value(), made["state"].value()) == (0, "idle")
    with pytest.raises(KeyError):
        channel_of(made, 4)  # the plate alone
    made["version"].setValue(1)
    _settle(fake)
    assert (made["mattes"].value(), made["matte_count"].value()) == (first, 9)
    assert (made["progress"].value(), made["state"].value()) == ("9/9", "complete")
    assert channel_of(made, 4)[0, 0] == 4 / 16


def test_a_check_that_ends_late_says_nothing_of_another_version(
    made: Any, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, compared = threading.Event(), staleness._compared

    def slow_disk(*given: Any) -> str:
        assert let_go.wait(20)
        return compared(*given)

    monkeypatch.setattr(staleness, "_compared", slow_disk)
    fake.update_ui()
    made["version_up"].execute()
    fake.pump(lambda: made["matte_count"].value() == 0)
    let_go.set()
    fake.settle("rotomem-work")
    assert (made["version"].value(), made["state"].value()) == (2, "idle")


def test_version_up_skips_versions_that_have_a_folder(tmp_path: Path) -> None:
    for name in ("v001", "v007", "v009x", "other"):
        (tmp_path / name / "left").mkdir(parents=True)
    assert next_version(f"{tmp_path}/v001/matte.%04d.exr", 1) == 8
    assert next_version(f"{tmp_path}/v001/left/matte.%04d.exr", 1) == 8
    assert next_version(f"{tmp_path}/none/v012/matte.%04d.exr", 12) == 13


def test_a_frozen_version_refuses_to_change_and_stays_frozen_when_one_comes_back(made: Any, fake: Any) -> None:
    made["freeze"].setValue(True)
    _settle(fake)
    sentence = "Rotomem1 v001 is frozen; press 'version up', or switch 'freeze' off first"
    for button in ("propagate", "clear_cache"):
        made[button].execute()
        assert fake.messages.pop() == f"Rotomem: {sentence}"
    assert fake.questions == []
    made["version_up"].execute()
    _settle(fake)
    assert made["freeze"].value() is False
    made["version"].setValue(1)
    _settle(fake)
    assert made["freeze"].value() is True
    assert len(frames_on_disk(RotomemNode.of(made).settings().mattes)) == 9


def test_clear_asks_and_deletes_this_versions_mattes_alone(made: Any, fake: Any) -> None:
    pattern = RotomemNode.of(made).settings().mattes
    note = Path(pattern).with_name("notes.txt")
    note.write_text("the artist's own", encoding="utf-8")
    fake.answer = False
    made["clear_cache"].execute()
    _settle(fake)
    assert len(frames_on_disk(pattern)) == 9
    fake.answer = True
    made["clear_cache"].execute()
    _settle(fake)
    assert "Delete the mattes of Rotomem1 v001 in " in fake.questions[0]
    assert frames_on_disk(pattern) == []
    assert note.is_file()
    assert made["status"].value() == "9 mattes deleted; Propagate brings them back"
    assert made["matte_count"].value() == 0


def test_a_paste_starts_with_no_matte_of_its_own(made: Any, fake: Any) -> None:
    twin = nuke.toNode(made._op.duplicate().full_name)
    _settle(fake)
    assert (twin["matte_count"].value(), twin["state"].value()) == (0, "idle")
    assert (made["matte_count"].value(), made["state"].value()) == (9, "complete")


def test_a_reopened_script_finds_mattes_that_came_since_it_was_saved(made: Any, fake: Any) -> None:
    """Nuke closed mid-job; the mattes of frames 1-5 had arrived, the script was saved before the first."""
    identifier = made["node_uuid"].value()
    pattern = _fill_cache(made, range(1, 10))
    for frame in range(6, 10):
        matte_file(pattern, frame).unlink()
    nuke.delete(made)
    text = (PLUGIN.parent / "gizmos" / "Rotomem.gizmo").read_text(encoding="utf-8")
    saved = text.replace(" state idle\n", f" state running\n node_uuid {identifier}\n")
    (op,) = _script.load(saved, fake.root)
    op.run("onCreate")
    _settle(fake)
    node = nuke.toNode(op.full_name)
    assert node["matte_count"].value() == 5
    assert node["status"].value() == "interrupted; press Propagate to go on"
    assert node["state"].value() == "idle"
    assert node["mattes"].value() == pattern


def test_nothing_is_looked_up_for_a_new_node_and_nothing_in_batch(fake: Any) -> None:
    nuke.createNode("Rotomem")
    assert not any(thread.name == "rotomem-work" for thread in threading.enumerate())
    assert fake.requests.empty()


def test_a_cache_that_cannot_be_written_says_which_knob_to_change(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(CacheError, match="choose another in 'cache folder'"):
        write_manifest(f"{tmp_path}/file/v001/matte.%04d.exr", Manifest())


def test_a_damaged_note_beside_the_mattes_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "rotomem.json").write_text("{", encoding="utf-8")
    assert read_manifest(f"{tmp_path}/matte.%04d.exr") is None
    (tmp_path / "rotomem.json").write_text('{"fingerprint": "ab", "of a later version": 1}', encoding="utf-8")
    assert read_manifest(f"{tmp_path}/matte.%04d.exr") == Manifest(fingerprint="ab")
