"""What is read from which kind of file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem.errors import PlateMissingError, PlateUnreadableError
from rotomem.plates import Window, read_alpha, read_plate_frame

WIDTH, HEIGHT = 40, 24


@pytest.fixture
def picture() -> np.ndarray:
    """(24, 40, 3) in [0.1, 0.9]: smooth, no two pixels alike, not symmetrical, R, G and B unlike."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    pixels = np.stack([x / WIDTH, y / HEIGHT, (x + 2 * y) / (WIDTH + 2 * HEIGHT)], axis=2)
    return np.asarray(0.1 + 0.8 * pixels, np.float32)


LOSSLESS = ("none", "rle", "zip", "zips", "piz")
LOSSY = {"pxr24": 1e-3, "b44": 0.02, "b44a": 0.02, "dwaa": 0.01, "dwab": 0.01}


@pytest.mark.parametrize("compression", [*LOSSLESS, *LOSSY])
def test_every_exr_compression_is_read(tmp_path: Path, write_image, picture, compression: str) -> None:
    path = write_image(tmp_path / "p.exr", picture, compression=compression)
    frame = read_plate_frame(path, 1)
    tolerance = LOSSY.get(compression, 2.0**-11)  # Half floats have 11 significant bits.
    np.testing.assert_allclose(frame.pixels, picture, atol=tolerance)
    assert frame.pixels.dtype == np.float32
    assert frame.metadata["compression"] == compression


def test_float_exr_is_exact(tmp_path: Path, write_image, picture) -> None:
    frame = read_plate_frame(write_image(tmp_path / "p.exr", picture, sample="float"), 1)
    np.testing.assert_array_equal(frame.pixels, picture)


def test_tiled_exr_is_read(tmp_path: Path, write_image, picture) -> None:
    path = write_image(tmp_path / "p.exr", picture, sample="float", tile_width=16, tile_height=16)
    np.testing.assert_array_equal(read_plate_frame(path, 1).pixels, picture)


@pytest.mark.parametrize(
    ("name", "sample", "attributes", "tolerance"),
    [
        ("p.dpx", "uint16", {"oiio__BitsPerSample": 10}, 1 / 1023),  # OpenImageIO writes the upper ten bits.
        ("p.dpx", "uint16", {}, 0.5 / 65535),
        ("p.tif", "uint8", {}, 0.5 / 255),
        ("p.tif", "uint16", {}, 0.5 / 65535),
        ("p.tif", "half", {}, 2.0**-11),
        ("p.tif", "float", {"compression": "none"}, 0.0),
        ("p.png", "uint8", {}, 0.5 / 255),
        ("p.png", "uint16", {}, 0.5 / 65535),
        ("p.jpg", "uint8", {"compression": "jpeg:100", "jpeg__subsampling": "4:4:4"}, 5 / 255),
        ("p.tga", "uint8", {}, 0.5 / 255),
        ("p.hdr", "float", {}, 0.01),
    ],
)
def test_other_formats_are_read_as_floats(
    tmp_path: Path, write_image, picture, name: str, sample: str, attributes: dict[str, object], tolerance: float
) -> None:
    frame = read_plate_frame(write_image(tmp_path / name, picture, sample=sample, **attributes), 1)
    np.testing.assert_allclose(frame.pixels, picture, atol=tolerance + 1e-6)
    assert frame.display_window == frame.data_window == Window(0, 0, WIDTH, HEIGHT)


def test_the_content_tells_the_format_not_the_name(tmp_path: Path, write_image, picture) -> None:
    path = write_image(tmp_path / "p.exr", picture, sample="float").rename(tmp_path / "3f786850e387550f")
    np.testing.assert_array_equal(read_plate_frame(path, 1).pixels, picture)


def test_a_small_data_window_is_padded_with_zeros(tmp_path: Path, write_image, picture) -> None:
    path = write_image(tmp_path / "p.exr", picture, sample="float", window=(0, 0, 100, 60), origin=(10, 20))
    frame = read_plate_frame(path, 1)
    expected = np.zeros((60, 100, 3), np.float32)
    expected[20:44, 10:50] = picture
    np.testing.assert_array_equal(frame.pixels, expected)
    assert frame.display_window == Window(0, 0, 100, 60)
    assert frame.data_window == Window(10, 20, WIDTH, HEIGHT)


def test_overscan_is_cut_off(tmp_path: Path, write_image, picture) -> None:
    path = write_image(tmp_path / "p.exr", picture, sample="float", window=(0, 0, 30, 20), origin=(-6, -3))
    frame = read_plate_frame(path, 1)
    np.testing.assert_array_equal(frame.pixels, picture[3:23, 6:36])
    assert frame.data_window == Window(-6, -3, WIDTH, HEIGHT)


def test_a_display_window_may_begin_anywhere(tmp_path: Path, write_image, picture) -> None:
    path = write_image(tmp_path / "p.exr", picture, sample="float", window=(-8, 4, 20, 10), origin=(-10, 0))
    np.testing.assert_array_equal(read_plate_frame(path, 1).pixels, picture[4:14, 2:22])


def test_a_data_window_beside_the_display_window_leaves_black(tmp_path: Path, write_image, picture) -> None:
    path = write_image(tmp_path / "p.exr", picture, window=(0, 0, 30, 20), origin=(200, 0))
    frame = read_plate_frame(path, 1)
    assert frame.pixels.shape == (20, 30, 3)
    assert not frame.pixels.any()


def test_pixel_aspect_is_kept(tmp_path: Path, write_image, picture) -> None:
    assert read_plate_frame(write_image(tmp_path / "a.exr", picture, PixelAspectRatio=2.0), 1).pixel_aspect == 2.0
    assert read_plate_frame(write_image(tmp_path / "b.png", picture, sample="uint8"), 1).pixel_aspect == 1.0


@pytest.mark.parametrize(
    "channels",
    [
        ("B", "A", "G", "R"),
        ("r", "g", "b", "a"),
        ("Z", "rgba.red", "rgba.green", "rgba.blue"),
        ("beauty.R", "beauty.G", "beauty.B", "diffuse.R"),
        ("ViewLayer.Combined.R", "ViewLayer.Combined.G", "ViewLayer.Combined.B", "ViewLayer.Depth.Z"),
        ("R", "G", "B", "spec.R"),
        ("plate.R", "plate.G", "plate.B", "plate.A"),
    ],
)
def test_the_picture_is_found_by_channel_names(tmp_path: Path, write_image, channels: tuple[str, ...]) -> None:
    levels = {"R": 0.25, "G": 0.5, "B": 0.75}
    names = {"red": "R", "green": "G", "blue": "B"}
    pixels = np.full((4, 4, len(channels)), 0.125, np.float32)
    for index, channel in enumerate(channels):
        suffix = channel.rpartition(".")[2]
        level = levels.get(names.get(suffix, suffix.upper()))
        if level is not None and not channel.startswith(("spec", "diffuse")):
            pixels[..., index] = level
    frame = read_plate_frame(write_image(tmp_path / "p.exr", pixels, channels=channels), 1)
    np.testing.assert_array_equal(frame.pixels[2, 2], [0.25, 0.5, 0.75])


def write_parts(path: Path, parts: list[tuple[str, tuple[str, ...], float]]) -> Path:
    """Write a multi-part EXR of constant parts: name, channels, value."""
    specs = []
    for name, channels, _ in parts:
        spec = oiio.ImageSpec(8, 6, len(channels), "half")
        spec.channelnames = channels
        spec.attribute("oiio:subimagename", name)
        specs.append(spec)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), specs)
    for index, (_, channels, value) in enumerate(parts):
        if index:
            assert output.open(str(path), specs[index], "AppendSubimage")
        assert output.write_image(np.full((6, 8, len(channels)), value, np.float32))
    assert output.close()
    return path


@pytest.mark.parametrize(
    ("parts", "value"),
    [
        ([("rgba", ("R", "G", "B", "A"), 0.5), ("depth", ("Z",), 9.0)], 0.5),
        ([("depth", ("Z",), 9.0), ("diffuse", ("R", "G", "B"), 0.25), ("rgba", ("R", "G", "B"), 0.5)], 0.5),
        ([("left", ("R", "G", "B"), 0.5), ("right", ("R", "G", "B"), 0.25)], 0.5),
        ([("rgba.left", ("R", "G", "B"), 0.5), ("rgba.right", ("R", "G", "B"), 0.25)], 0.5),
    ],
)
def test_the_main_part_of_a_multi_part_file_is_the_picture(tmp_path: Path, parts, value: float) -> None:
    path = write_parts(tmp_path / "p.exr", parts)
    assert (read_plate_frame(path, 1).pixels == value).all()


def test_luminance_is_used_for_all_three(tmp_path: Path, write_image) -> None:
    path = write_image(tmp_path / "p.exr", np.full((4, 4, 1), 0.5, np.float32), channels=("Y",))
    assert read_plate_frame(path, 1).pixels.shape == (4, 4, 3)
    assert (read_plate_frame(path, 1).pixels == 0.5).all()


@pytest.mark.parametrize("channels", [("A",), ("Z", "A"), ("diffuse.R", "diffuse.G", "diffuse.B", "s.R", "s.G", "s.B")])
def test_a_file_without_a_picture_is_refused_naming_its_channels(tmp_path: Path, write_image, channels) -> None:
    path = write_image(tmp_path / "p.exr", np.ones((4, 4, len(channels)), np.float32), channels=channels)
    with pytest.raises(PlateUnreadableError, match=rf"frame 1001: .*p\.exr has no picture .*{channels[0]}"):
        read_plate_frame(path, 1001)


def test_colour_is_not_multiplied_by_alpha(tmp_path: Path, write_image) -> None:
    pixels = np.full((4, 4, 4), 0.8, np.float32)
    pixels[..., 3] = 0.25
    for name, sample in (("p.png", "uint16"), ("p.exr", "half")):
        path = write_image(tmp_path / name, pixels, sample=sample, oiio__UnassociatedAlpha=1)
        np.testing.assert_allclose(read_plate_frame(path, 1).pixels, 0.8, atol=3e-4)


def test_orientation_metadata_does_not_rotate(tmp_path: Path, write_image, picture) -> None:
    path = write_image(tmp_path / "p.tif", picture, sample="float", Orientation=6)
    np.testing.assert_array_equal(read_plate_frame(path, 1).pixels, picture)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (("A",), 0.25),
        (("R", "G", "B", "A"), 1.0),
        (("Y",), 0.25),
        (("matte",), 0.25),
        (("rgba.alpha", "hero.A"), 0.25),
    ],
)
def test_alpha_is_chosen_by_name(tmp_path: Path, write_image, channels: tuple[str, ...], expected: float) -> None:
    pixels = np.zeros((4, 4, len(channels)), np.float32) + 0.25 * (1 + np.arange(len(channels)))
    path = write_image(tmp_path / "m.exr", pixels, channels=channels)
    np.testing.assert_array_equal(read_alpha(path, 1), np.full((4, 4), expected, np.float32))


def test_an_objects_layer_is_read_by_name_and_never_another_one(tmp_path: Path, write_image) -> None:
    pixels = np.full((4, 4, 3), [0.75, 0.25, 0.5], np.float32)
    path = write_image(tmp_path / "m.exr", pixels, channels=("A", "hero.A", "car.alpha"))
    assert (read_alpha(path, 1, object_name="hero") == 0.25).all()
    assert (read_alpha(path, 1, object_name="car") == 0.5).all()
    with pytest.raises(PlateUnreadableError, match=r"frame 7: .*no matte of 'dog' \(channel dog\.A\)"):
        read_alpha(path, 7, object_name="dog")


def test_a_grey_png_is_a_matte_and_a_coloured_one_is_not(tmp_path: Path, write_image) -> None:
    grey = np.full((4, 4, 3), 128 / 255, np.float32)
    np.testing.assert_allclose(
        read_alpha(write_image(tmp_path / "grey.png", grey, sample="uint8"), 1), 128 / 255, atol=1e-6
    )
    one = np.full((4, 4, 1), 64 / 255, np.float32)
    np.testing.assert_allclose(
        read_alpha(write_image(tmp_path / "one.png", one, sample="uint8"), 1), 64 / 255, atol=1e-6
    )
    colour = np.full((4, 4, 3), [1.0, 0.0, 0.0], np.float32)
    with pytest.raises(PlateUnreadableError, match=r"frame 1: .*has no alpha and is not grey"):
        read_alpha(write_image(tmp_path / "colour.png", colour, sample="uint8"), 1)


def test_alpha_is_finite_and_within_0_and_1(tmp_path: Path, write_image) -> None:
    pixels = np.full((3, 3, 1), 0.5, np.float32)
    pixels[0, 0], pixels[0, 2], pixels[2, 2] = -0.5, 1.5, np.nan
    matte = read_alpha(write_image(tmp_path / "m.exr", pixels, channels=("A",)), 1)
    np.testing.assert_array_equal(matte, [[0, 0.5, 1], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])


def test_alpha_covers_the_display_window(tmp_path: Path, write_image) -> None:
    path = write_image(
        tmp_path / "m.exr", np.ones((4, 5, 1), np.float32), channels=("A",), window=(0, 0, 10, 8), origin=(2, 3)
    )
    matte = read_alpha(path, 1)
    assert matte.shape == (8, 10)
    assert matte.sum() == 20
    assert matte[3:7, 2:7].all()


def test_a_missing_file_is_named_with_its_frame(tmp_path: Path) -> None:
    with pytest.raises(PlateMissingError, match=r"frame 1007 is not on disk: there is no .*p\.1007\.exr; render it"):
        read_plate_frame(tmp_path / "p.1007.exr", 1007)
