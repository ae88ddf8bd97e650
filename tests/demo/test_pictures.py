"""The README's pictures: the panel says what the gizmo holds, and the strips are drawn from the demo's own frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rotomem.demo.contact_sheet import ContactRow
from rotomem.demo.gizmo_panel import draw_panel, read_panel
from rotomem.demo.pictures import write_before_after, write_panel, write_workflow
from rotomem.errors import SettingError
from rotomem_client.shapes import ControlPoint, Shape

GIZMO = Path(__file__).resolve().parent.parent.parent / "gizmos" / "Rotomem.gizmo"


def test_every_visible_knob_of_the_gizmo_is_on_the_panel() -> None:
    lines = [line for line in GIZMO.read_text(encoding="utf-8").splitlines() if line.startswith(" addUserKnob {")]
    visible = [line.split()[1:3] for line in lines if "+INVISIBLE" not in line]
    wanted = [name for code, name in visible if code != "{20"]
    tabs = read_panel(GIZMO)
    assert [knob.name for tab in tabs for row in tab.rows for knob in row] == wanted
    assert [tab.label for tab in tabs] == ["Rotomem", "Clicks", "Backend"]


def test_knobs_have_their_labels_values_and_neighbours() -> None:
    rows = [row for tab in read_panel(GIZMO, {"status": "ready"}) for row in tab.rows]
    by_name = {knob.name: knob for row in rows for knob in row}
    assert (by_name["status"].label, by_name["status"].value) == ("status", "ready")
    assert (by_name["version"].value, by_name["live"].value, by_name["priority"].value) == ("1", "true", "normal")
    assert by_name["output"].choices == ("union alpha", "one object", "layer per object")
    assert (by_name["grow"].lowest, by_name["grow"].highest) == (-50, 50)
    assert ["propagate", "stop"] in [[knob.name for knob in row] for row in rows]
    assert not by_name["mattes"].enabled


def test_a_longer_status_is_cut_rather_than_drawn_over_the_edge() -> None:
    short = draw_panel(read_panel(GIZMO, {"status": "ready"}), node_name="Rotomem1")
    long = draw_panel(read_panel(GIZMO, {"status": "ready " * 60}), node_name="Rotomem1")
    assert short.shape == long.shape
    first_tab = slice(0, 550)
    assert not np.array_equal(short[:, first_tab], long[:, first_tab])
    assert np.array_equal(short[:, 550:], long[:, 550:])


@pytest.mark.parametrize("text", [None, "Group {\n name x\n}\n"])
def test_a_file_that_is_no_gizmo_gets_one_sentence(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "none.gizmo"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingError, match=r"the gizmo .*none\.gizmo (cannot be read|has no knobs)"):
        read_panel(path)


def test_pictures_are_written(tmp_path: Path) -> None:
    outline = Shape("box", tuple(ControlPoint(xy) for xy in ((20.0, 10.0), (60.0, 10.0), (60.0, 40.0))))
    plate = np.random.default_rng(1).random((54, 96, 3)).astype(np.float32)
    matte = np.zeros((54, 96), np.float32)
    matte[10:40, 20:60] = 1.0
    rows = {
        frame: ContactRow(frame, plate, {"hero": matte}, {}, shapes={"hero": (outline,)} if frame in (1, 3, 6) else {})
        for frame in range(1, 7)
    }
    write_panel(tmp_path / "panel.png", GIZMO, annotated=[1, 3, 6], first=1, last=6, engine="warp")
    write_before_after(tmp_path / "before_after.png", rows, [1, 3, 6], 4)
    write_workflow(tmp_path / "workflow.png", rows, [1, 3, 6], 5)
    for name in ("panel", "before_after", "workflow"):
        picture = cv2.imread(str(tmp_path / f"{name}.png"))
        assert picture is not None
        assert picture.std() > 5
    strip = cv2.imread(str(tmp_path / "before_after.png"))
    graded, kept = strip[10 + 282 + 190, 800 + 20], strip[10 + 282 + 80, 800 + 140]
    assert int(graded[0]) - int(graded[2]) > 5  # the ground is blue, the fish keeps its colours
    assert kept.shape == (3,)
