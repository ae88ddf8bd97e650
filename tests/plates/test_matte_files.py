"""Matte files: their channels, windows and metadata, and that they appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem import __version__
from rotomem.errors import AnnotationError, DiskFullError, OutputUnwritableError, PlateUnreadableError
from rotomem.plates import (
    MatteMetadata,
    Window,
    check_object_name,
    read_alpha,
    read_confidence,
    read_matte_metadata,
    write_mattes,
)
from rotomem.plates.publishing import publish_file

METADATA = MatteMetadata(engine="xmem", frame=1042, annotated=True, revision=7, weights_sha256="ab" * 32)
WINDOW = Window(0, 0, 40, 24)


def noise(seed: int, window: Window = WINDOW) -> np.ndarray:
    """A matte that does not compress, of values that half floats hold exactly."""
    return (np.random.default_rng(seed).integers(0, 1025, (window.height, window.width)) / 1024).astype(np.float32)


def write(path: Path, mattes: dict[str, np.ndarray], window: Window = WINDOW, metadata: MatteMetadata = METADATA):
    return write_mattes(path, mattes, display_window=window, pixel_aspect=1.0, metadata=metadata)


def test_a_is_the_union_and_each_object_has_its_layer(tmp_path: Path) -> None:
    path = tmp_path / "m.1042.exr"
    half, quarter = np.full((24, 40), 0.5, np.float32), np.full((24, 40), 0.25, np.float32)
    write(path, {"hero": half, "car_2": quarter})
    assert (read_alpha(path, 1042) == 0.625).all()  # 1 - 0.5 x 0.75
    assert (read_alpha(path, 1042, object_name="hero") == 0.5).all()
    assert (read_alpha(path, 1042, object_name="car_2") == 0.25).all()


def test_a_single_object_is_its_own_union_bit_for_bit(tmp_path: Path) -> None:
    matte = noise(1)
    write(tmp_path / "m.exr", {"hero": matte})
    np.testing.assert_array_equal(read_alpha(tmp_path / "m.exr", 1), matte)
    np.testing.assert_array_equal(read_alpha(tmp_path / "m.exr", 1, object_name="hero"), matte)


def test_the_file_is_a_half_float_zip_exr_with_the_plates_window(tmp_path: Path) -> None:
    window = Window(-4, 10, 30, 20)
    write_mattes(
        tmp_path / "m.exr", {"hero": noise(1, window)}, display_window=window, pixel_aspect=2.0, metadata=METADATA
    )
    source = oiio.ImageInput.open(str(tmp_path / "m.exr"))
    spec = source.spec()
    assert source.format_name() == "openexr"
    assert set(spec.channelnames) == {"A", "hero.A"}
    assert str(spec.format) == "half"
    assert spec.getattribute("compression") == "zip"
    assert (spec.full_x, spec.full_y, spec.full_width, spec.full_height) == (-4, 10, 30, 20)
    assert (spec.x, spec.y, spec.width, spec.height) == (-4, 10, 30, 20)
    assert spec.getattribute("PixelAspectRatio") == 2.0
    source.close()


def test_metadata_is_read_back(tmp_path: Path) -> None:
    write(tmp_path / "m.exr", {"hero": noise(1)})
    assert read_matte_metadata(tmp_path / "m.exr") == METADATA
    source = oiio.ImageInput.open(str(tmp_path / "m.exr"))
    spec = source.spec()
    assert spec.getattribute("rotomem/engine") == "xmem"
    assert spec.getattribute("rotomem/weights_sha256") == "ab" * 32
    assert spec.getattribute("rotomem/revision") == 7
    assert spec.getattribute("rotomem/version") == __version__
    assert spec.getattribute("rotomem/frame") == 1042
    assert spec.getattribute("rotomem/annotated") == 1
    source.close()


def test_the_confidence_of_frame_and_pixels_is_read_back(tmp_path: Path) -> None:
    metadata = MatteMetadata(engine="warp", frame=5, confidence=0.75, disagreement=0.125)
    confidence = np.linspace(0, 1, 24 * 40, dtype=np.float32).reshape(24, 40)
    write_mattes(
        *(tmp_path / "m.exr", {"hero": noise(1)}),
        **{"display_window": WINDOW, "pixel_aspect": 1.0, "metadata": metadata, "confidence": confidence},
    )
    assert read_matte_metadata(tmp_path / "m.exr") == metadata
    np.testing.assert_array_equal(read_alpha(tmp_path / "m.exr", 5), noise(1))
    layer = read_confidence(tmp_path / "m.exr", 5)
    assert layer is not None
    np.testing.assert_allclose(layer, confidence, atol=0.5 / 255 + 2**-11)


def test_a_matte_without_the_layer_has_no_confidence_to_read(tmp_path: Path) -> None:
    write(tmp_path / "m.exr", {"hero": noise(1)})
    assert read_confidence(tmp_path / "m.exr", 1042) is None
    assert read_matte_metadata(tmp_path / "m.exr").confidence is None


def test_an_object_cannot_take_the_confidence_layers_name() -> None:
    with pytest.raises(AnnotationError, match="the layer that holds a matte's confidence"):
        check_object_name("Confidence")


def test_an_engine_without_weights_is_read_back_too(tmp_path: Path) -> None:
    metadata = MatteMetadata(engine="warp", frame=-3)
    write(tmp_path / "m.exr", {"hero": noise(1)}, metadata=metadata)
    assert read_matte_metadata(tmp_path / "m.exr") == metadata


def test_an_image_of_someone_else_has_no_matte_metadata(tmp_path: Path, write_image) -> None:
    path = write_image(tmp_path / "p.exr", np.ones((4, 4, 3), np.float32))
    with pytest.raises(PlateUnreadableError, match=r"p\.exr does not say how it was made .*no matte of Rotomem"):
        read_matte_metadata(path)


def test_the_hash_and_size_are_of_the_files_bytes(tmp_path: Path) -> None:
    written = write(tmp_path / "m.exr", {"hero": noise(1)})
    content = (tmp_path / "m.exr").read_bytes()
    assert written.path == tmp_path / "m.exr"
    assert written.size == len(content)
    assert written.sha256 == hashlib.sha256(content).hexdigest()


def test_folders_are_made_and_nothing_else_is_left_in_them(tmp_path: Path) -> None:
    write(tmp_path / "cache" / "v003" / "m.exr", {"hero": noise(1)})
    assert os.listdir(tmp_path / "cache" / "v003") == ["m.exr"]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    for seed in (1, 2):
        write(tmp_path / "m.exr", {"hero": noise(seed)})
    np.testing.assert_array_equal(read_alpha(tmp_path / "m.exr", 1), noise(2))
    assert os.listdir(tmp_path) == ["m.exr"]


@pytest.mark.parametrize("name", ["", "2nd", "my hero", "hero.A", "héros", "hero-1", "hero\n"])
def test_names_that_cannot_be_layers_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(AnnotationError, match="cannot be a layer in Nuke"):
        write(tmp_path / "m.exr", {name: noise(1)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["rgba", "alpha", "RGB"])
def test_nukes_own_layers_are_refused(name: str) -> None:
    with pytest.raises(AnnotationError, match="one of Nuke's own layers"):
        check_object_name(name)


@pytest.mark.parametrize("name", ["hero", "_", "A", "car_2", "x" * 60])
def test_other_names_are_layers(tmp_path: Path, name: str) -> None:
    write(tmp_path / "m.exr", {name: noise(1)})
    np.testing.assert_array_equal(read_alpha(tmp_path / "m.exr", 1, object_name=name), noise(1))


def test_mattes_that_are_none_are_refused(tmp_path: Path) -> None:
    for matte in (noise(1)[:-1], noise(1) * 2, noise(1) - 1, np.full((24, 40), np.nan, np.float32)):
        with pytest.raises(ValueError, match="matte 'hero'"):
            write(tmp_path / "m.exr", {"hero": matte})
    with pytest.raises(ValueError, match="no mattes"):
        write(tmp_path / "m.exr", {})
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_named_at_every_fill_and_leaves_only_whole_files(small_disk: Path) -> None:
    """Each fill level fails at another place: opening, pixels, the offset table, or, unseen, closing."""
    window = Window(0, 0, 160, 120)
    mattes = {"hero": noise(1, window)}
    needed = write(small_disk / "m.exr", mattes, window).size
    (small_disk / "m.exr").unlink()
    outcomes = set()
    for free in range(0, needed + 8192, 4096):
        filler = small_disk / "filler"
        filler.write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096 - free))
        try:
            write(small_disk / "m.exr", mattes, window)
            outcomes.add("written")
            np.testing.assert_array_equal(read_alpha(small_disk / "m.exr", 1), mattes["hero"])
            (small_disk / "m.exr").unlink()
        except DiskFullError as error:
            outcomes.add(
                "full" if free < needed and "m.exr cannot be written because the disk" in str(error) else "wrong"
            )
        assert os.listdir(small_disk) == ["filler"]
        filler.unlink()
    assert outcomes == {"written", "full"}


def test_a_full_disk_keeps_the_older_file(small_disk: Path) -> None:
    window = Window(0, 0, 160, 120)
    write(small_disk / "m.exr", {"hero": noise(1, window)}, window)
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096 - 4096))
    with pytest.raises(DiskFullError):
        write(small_disk / "m.exr", {"hero": noise(2, window)}, window)
    np.testing.assert_array_equal(read_alpha(small_disk / "m.exr", 1), noise(1, window))


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputUnwritableError, match=r"cache/m\.exr cannot be written: .*; choose another output"):
        write(tmp_path / "cache" / "m.exr", {"hero": noise(1)})


def test_a_folder_in_place_of_the_file_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "m.exr").mkdir()
    with pytest.raises(OutputUnwritableError, match=r"m\.exr cannot be written: Is a directory"):
        write(tmp_path / "m.exr", {"hero": noise(1)})
    assert os.listdir(tmp_path) == ["m.exr"]


def test_a_writer_that_fails_for_its_own_reasons_is_quoted_and_leaves_nothing(tmp_path: Path) -> None:
    def write_half(target: Path) -> str:
        target.write_bytes(b"half")
        return "the encoder gave up"

    with pytest.raises(OutputUnwritableError, match=r"m\.exr cannot be written: the encoder gave up; check the disk"):
        publish_file(tmp_path / "m.exr", write_half)
    assert not list(tmp_path.iterdir())


def test_nobody_sees_a_half_written_file(tmp_path: Path) -> None:
    seen = []

    def write_slowly(target: Path) -> str:
        target.write_bytes(b"first half")
        seen.append((tmp_path / "m.exr").exists())
        seen.append(target.suffix == ".part" and target.parent == tmp_path)
        return ""

    publish_file(tmp_path / "m.exr", write_slowly)
    assert seen == [False, True]
    assert (tmp_path / "m.exr").read_bytes() == b"first half"


def test_a_black_and_white_picture_saved_with_an_opaque_alpha_is_the_matte(tmp_path: Path, write_image) -> None:
    painted = np.zeros((4, 6, 4), np.float32)
    painted[1:3, 2:4, :3] = 1.0
    painted[..., 3] = 1.0
    path = write_image(tmp_path / "painted.png", painted, sample="uint8")
    np.testing.assert_array_equal(read_alpha(path, 1), painted[..., 0])


def test_an_opaque_alpha_over_a_coloured_picture_is_a_full_matte(tmp_path: Path, write_image) -> None:
    rendered = np.ones((4, 6, 4), np.float32)
    rendered[..., 0] = 0.25
    assert (read_alpha(write_image(tmp_path / "full.exr", rendered), 1) == 1.0).all()
