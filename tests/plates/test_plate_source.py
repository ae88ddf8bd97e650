"""A plate as engines see it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rotomem.errors import ColourspaceError, PlateMissingError, PlateSizeError, PlateUnreadableError, SettingError
from rotomem.plates import PlateSource, encode_srgb

LEVELS = {frame: (frame - 1000) / 20 for frame in range(1001, 1013)}


@pytest.fixture
def plate(tmp_path: Path, write_image) -> Path:
    """Frames 1001-1012, 16x12, linear; frame 1000 + n is n / 20 all over."""
    for frame, level in LEVELS.items():
        write_image(tmp_path / f"p.{frame}.exr", np.full((12, 16, 3), level, np.float32))
    return tmp_path


def open_plate(folder: Path, **options: object) -> PlateSource:
    return PlateSource(**{"pattern": str(folder / "p.%04d.exr"), "first": 1001, "last": 1012, **options})


@pytest.mark.parametrize("prefetch", [0, 1, 3])
@pytest.mark.parametrize("step", [1, -1, 5])
def test_frames_come_in_any_order_with_and_without_reading_ahead(plate: Path, prefetch: int, step: int) -> None:
    source = open_plate(plate, prefetch=prefetch)
    for frame in sorted(LEVELS, reverse=step < 0)[:: abs(step)]:
        image = source.image(frame)
        assert image.shape == (12, 16, 3)
        np.testing.assert_allclose(image, encode_srgb(LEVELS[frame]), atol=3e-4)
    source.close()
    np.testing.assert_allclose(source.image(1003), encode_srgb(0.15), atol=3e-4)


def test_the_size_is_of_the_first_frame_on_disk(plate: Path) -> None:
    (plate / "p.1001.exr").unlink()
    assert open_plate(plate).size == (12, 16)


def test_the_plates_own_pixels_can_be_had(plate: Path) -> None:
    frame = open_plate(plate, colourspace="ACEScg").plate_frame(1004)
    np.testing.assert_allclose(frame.pixels, 0.2, atol=1e-4)
    assert frame.colourspace == "ACEScg"


def test_a_frame_asked_for_again_is_not_read_again(plate: Path) -> None:
    source = open_plate(plate, prefetch=0)
    first = source.image(1001)
    (plate / "p.1001.exr").unlink()
    assert source.image(1001) is first


def test_the_cache_is_bounded(plate: Path) -> None:
    source = open_plate(plate, prefetch=0)
    for frame in LEVELS:
        source.image(frame)
    (plate / "p.1001.exr").unlink()
    (plate / "p.1012.exr").unlink()
    source.image(1012)
    with pytest.raises(PlateMissingError, match="frame 1001"):
        source.image(1001)


def test_streamed_files_need_no_pattern_and_no_names(plate: Path) -> None:
    files = {1001: (plate / "p.1001.exr").rename(plate / "8843d7f9"), 1002: plate / "p.1002.exr"}
    source = PlateSource(files=files, first=1001, last=1003)
    np.testing.assert_allclose(source.image(1001), encode_srgb(0.05), atol=3e-4)
    assert source.frames_on_disk() == [1001, 1002]
    with pytest.raises(PlateMissingError, match="frame 1003 of the streamed plate was not sent"):
        source.image(1003)


def test_a_single_file_is_every_frame(plate: Path) -> None:
    source = PlateSource(pattern=str(plate / "p.1004.exr"), first=1, last=3)
    source.check_frames([1, 2, 3])
    assert source.size == (12, 16)
    np.testing.assert_array_equal(source.image(1), source.image(3))


def test_missing_frames_are_all_named_at_once(plate: Path) -> None:
    for frame in (1004, 1005, 1006, 1010):
        (plate / f"p.{frame}.exr").unlink()
    source = open_plate(plate)
    source.check_frames([1001, 1002, 1012])
    with pytest.raises(
        PlateMissingError,
        match=r"^frames 1004-1006, 1010 of .*p\.%04d\.exr are not on disk; render them or choose a range without them "
        r"\(on disk: 1001-1003, 1007-1009, 1011, 1012\)$",
    ):
        source.check_frames(range(1001, 1013))
    with pytest.raises(PlateMissingError, match=r"^frame 1010 of .* is not on disk; render it"):
        source.check_frames([1009, 1010])


def test_a_plate_without_any_file_says_to_check_the_path(tmp_path: Path) -> None:
    with pytest.raises(PlateMissingError, match="no frame of it is on disk: check the path"):
        open_plate(tmp_path).check_frames([1001])
    with pytest.raises(PlateMissingError, match="frame 1001"):
        _ = open_plate(tmp_path).size


def test_frames_outside_the_range_are_refused(plate: Path) -> None:
    with pytest.raises(PlateMissingError, match=r"frame 1002 is outside the plate .*, which has 1003-1005"):
        open_plate(plate, first=1003, last=1005).image(1002)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_size_change_names_both_frames_and_sizes(plate: Path, write_image, prefetch: int) -> None:
    write_image(plate / "p.1006.exr", np.zeros((24, 32, 3), np.float32))
    source = open_plate(plate, prefetch=prefetch)
    for frame in range(1001, 1006):
        source.image(frame)
    with pytest.raises(PlateSizeError, match=r"^frame 1006 of .* is 32x24 but frame 1001 is 16x12; render the plate"):
        source.image(1006)
    assert source.image(1007).shape == (12, 16, 3)


def test_overscan_that_changes_is_no_size_change(plate: Path, write_image) -> None:
    write_image(plate / "p.1002.exr", np.ones((20, 30, 3), np.float32), window=(0, 0, 16, 12), origin=(-7, -4))
    source = open_plate(plate)
    source.image(1001)
    assert source.image(1002).shape == (12, 16, 3)


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_damaged_frame_is_an_error_only_when_it_is_asked_for(plate: Path, prefetch: int) -> None:
    damaged = plate / "p.1005.exr"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    source = open_plate(plate, prefetch=prefetch)
    for frame in (1002, 1003, 1004):
        source.image(frame)
    for _ in range(2):
        with pytest.raises(PlateUnreadableError, match=r"frame 1005: .*p\.1005\.exr cannot be decoded"):
            source.image(1005)
    source.image(1006)


def test_repaired_pixels_are_warned_about_once(plate: Path, write_image) -> None:
    pixels = np.full((12, 16, 3), 0.5, np.float32)
    pixels[3, 3] = np.nan
    write_image(plate / "p.1003.exr", pixels)
    source = open_plate(plate)
    for frame in (1001, 1002, 1003, 1004):
        source.image(frame)
    source.plate_frame(1003)
    assert len(source.warnings) == 1
    assert source.warnings[0].startswith("frame 1003 has 1 NaN or infinite pixel, replaced by its neighbours")


def test_an_unknown_colourspace_is_an_error_at_the_first_frame(plate: Path) -> None:
    with pytest.raises(ColourspaceError, match="'RedLogFilm'"):
        open_plate(plate, colourspace="RedLogFilm").image(1001)


def test_a_plate_without_files_or_frames_is_refused(plate: Path) -> None:
    with pytest.raises(SettingError, match="no files"):
        PlateSource(first=1, last=2)
    with pytest.raises(SettingError, match="range 5-4 is empty"):
        open_plate(plate, first=5, last=4)
