"""How the plate travels: its own files where they are what the artist sees, else frames rendered to EXR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest
from nuke_scene import read_node

import nuke
from rotomem_nuke.errors import GraphError, RenderCancelled
from rotomem_nuke.formats import Format
from rotomem_nuke.plate import extractor, find_plate, frame_chunks, why_not_direct
from rotomem_nuke.temporary import render_node


def test_a_read_through_dots_and_noops_is_sent_as_files(fake: Any, plate_files: Callable[..., str]) -> None:
    pattern = plate_files()
    read = read_node(pattern.replace("%04d", "####"), colorspace="default (sRGB)")
    noop = nuke.nodes.NoOp(inputs=[nuke.nodes.Dot(inputs=[read])])
    plate = find_plate(noop, "auto")
    assert (plate.pattern, plate.first, plate.last) == (pattern, 1, 9)
    assert plate.colourspace == "default (sRGB)"  # the daemon reads what the knob shows
    assert plate.format == Format(96, 64, 1.0)
    assert plate.extracted_because == ""
    assert fake.renders == []


def test_the_input_colour_knob_wins(fake: Any, plate_files: Callable[..., str]) -> None:
    read = read_node(plate_files(), colorspace="sRGB")
    assert find_plate(read, "ACEScg").colourspace == "ACEScg"
    read["raw"].setValue(True)
    fake.root.knobs["workingSpaceLUT"]._value = "scene_linear"
    assert find_plate(read, "auto").colourspace == "scene_linear"


@pytest.mark.parametrize(
    ("knobs", "why"),
    [
        ({"disable": True}, "Read1 is disabled"),
        ({"file": "/a/take.mov"}, "reads a movie"),
        ({"file": "/a/p_%V.%04d.exr"}, "one file per view"),
        ({"frame": "frame*2"}, "shifts or retimes"),
    ],
)
@pytest.mark.usefixtures("fake")
def test_a_read_whose_files_are_not_its_pixels_is_rendered(knobs: dict[str, Any], why: str) -> None:
    read = read_node("/a/p.%04d.exr")
    for name, value in knobs.items():
        read[name].setValue(value)
    assert why in why_not_direct(read)


def test_any_other_node_is_rendered_and_leaves_no_trace(
    fake: Any, plate_files: Callable[..., str], tmp_path: Path
) -> None:
    read = read_node(plate_files())
    grade = nuke.nodes.Grade(inputs=[read], multiply=0.5)
    fake.root.knobs["proxy"]._value = True
    before, undoable = [child.name for child in fake.root.children], len(fake.undoable)
    plate = find_plate(grade, "auto")
    assert plate.extracted_because == "Grade1 is a Grade, not a Read"
    assert (plate.first, plate.last, plate.colourspace) == (1, 9, "linear")
    folder = tmp_path / "frames"
    folder.mkdir()
    files = extractor(grade)(folder, 3, 5)
    assert sorted(files) == [3, 4, 5]
    source = oiio.ImageInput.open(str(files[4]))
    spec = source.spec()
    pixels = source.read_image(oiio.FLOAT)
    source.close()
    assert spec.channelnames == ("R", "G", "B") or list(spec.channelnames) == ["R", "G", "B"]
    assert (spec.full_width, spec.full_height, str(spec.format)) == (96, 64, "half")
    assert spec.getattribute("compression") == "zips"
    from nuke_scene import channel_of

    expected = channel_of(read, 4, "rgba.red").astype(np.float32) * 0.5
    assert np.abs(pixels[..., 0] - expected).max() <= 2**-11
    assert [child.name for child in fake.root.children] == before
    assert len(fake.undoable) == undoable
    assert fake.root.knobs["proxy"]._value is True
    assert fake.renders == [{"first": 3, "last": 5, "views": ["main"], "node": "Write1"}]


def test_a_cancelled_render_leaves_no_trace_either(fake: Any, plate_files: Callable[..., str], tmp_path: Path) -> None:
    read = read_node(plate_files())
    before = [child.name for child in fake.root.children]
    fake.cancel_render_at = 2
    with pytest.raises(RenderCancelled, match="cancelled while rendering frame 1 to 3"):
        render_node(read, tmp_path / "x.%04d.exr", 1, 3, channels="rgb", size=Format(96, 64, 1.0))
    assert [child.name for child in fake.root.children] == before
    assert fake.undo_depth == 0


@pytest.mark.usefixtures("fake")
def test_a_dot_that_leads_nowhere_says_so() -> None:
    with pytest.raises(GraphError, match="Dot1 leads to no image"):
        find_plate(nuke.nodes.Dot(), "auto")


def test_frames_are_rendered_in_chunks_of_eight(fake: Any) -> None:
    assert list(frame_chunks(1001, 1020)) == [(1001, 1008), (1009, 1016), (1017, 1020)]
    fake.nc = True  # every temporary node costs a handle for good
    assert list(frame_chunks(1001, 1020)) == [(1001, 1020)]


@pytest.mark.usefixtures("fake")
def test_tcl_in_file_names_is_evaluated_and_the_frame_number_stays_a_pattern(plate_files: Callable[..., str]) -> None:
    pattern = plate_files()
    folder = nuke.nodes.NoOp(label=str(Path(pattern).parent))
    folder.setName("shot")
    read = read_node("[value shot.label]/plate.####.exr")
    plate = find_plate(read, "auto")
    assert (plate.pattern, plate.extracted_because) == (pattern, "")


@pytest.mark.usefixtures("fake")
def test_tcl_that_names_each_frame_is_rendered() -> None:
    folder = nuke.nodes.NoOp(label="plate.0001")
    folder.setName("shot")
    read = read_node("/a/[value shot.label].exr")
    assert why_not_direct(read) == "Read1 computes its file names frame by frame"
    read["last"].setValue(1)
    assert why_not_direct(read) == ""  # a still


@pytest.mark.parametrize("direct", [True, False])
def test_overscan_is_cropped_to_the_format_and_the_pixel_aspect_travels(
    fake: Any, tmp_path: Path, direct: bool
) -> None:
    """An anamorphic plate of 48 x 32 that is rendered four pixels wider and higher than its format on every side."""
    pixels = np.full((40, 56, 3), 0.5, np.float32)
    pixels[:4] = 9.0  # overscan only
    spec = oiio.ImageSpec(56, 40, 3, "half")
    spec.x, spec.y, spec.full_width, spec.full_height = -4, -4, 48, 32
    spec.attribute("PixelAspectRatio", 2.0)
    output = oiio.ImageOutput.create(str(tmp_path / "plate.0001.exr"))
    assert output.open(str(tmp_path / "plate.0001.exr"), spec)
    output.write_image(pixels)
    output.close()
    read = read_node(str(tmp_path / "plate.%04d.exr"), last=1)
    node = read if direct else nuke.nodes.Grade(inputs=[read])
    assert find_plate(node, "auto").format == Format(48, 32, 2.0)
    if direct:
        return
    (tmp_path / "out").mkdir()
    path = extractor(node)(tmp_path / "out", 1, 1)[1]
    source = oiio.ImageInput.open(str(path))
    made = source.spec()
    values = np.asarray(source.read_image(oiio.FLOAT))
    source.close()
    assert (made.x, made.y, made.width, made.height, made.full_width, made.full_height) == (0, 0, 48, 32, 48, 32)
    assert made.getattribute("PixelAspectRatio") == 2.0
    assert values.max() == 0.5
