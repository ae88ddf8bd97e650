"""Which file holds which frame."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotomem.errors import SettingError
from rotomem.plates import FramePattern


@pytest.mark.parametrize(
    ("pattern", "frame", "path"),
    [
        ("/a/p.%04d.exr", 7, "/a/p.0007.exr"),
        ("/a/p.%04d.exr", 12345, "/a/p.12345.exr"),
        ("/a/p.%d.exr", 7, "/a/p.7.exr"),
        ("/a/p.####.exr", 7, "/a/p.0007.exr"),
        ("/a/p.#.exr", 7, "/a/p.7.exr"),
        ("/a/p_######.dpx", 86400, "/a/p_086400.dpx"),
        ("/a/####/p.####.exr", 7, "/a/0007/p.0007.exr"),
        ("/a/p.%04d.exr", -5, "/a/p.-005.exr"),
        ("/a/50%%/p.%03d.exr", 7, "/a/50%/p.007.exr"),
        ("/a/100%_done.exr", 7, "/a/100%_done.exr"),
        ("/a//b/./p.%02d.exr ", 7, "/a/b/p.07.exr"),
        ("/a/single.jpg", 7, "/a/single.jpg"),
    ],
)
def test_the_frame_number_is_filled_in(pattern: str, frame: int, path: str) -> None:
    assert FramePattern.parse(pattern).path(frame) == Path(path)


def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/kim")
    assert FramePattern.parse("~/p.%04d.exr").path(1) == Path("/home/kim/p.0001.exr")


def test_a_pattern_without_a_number_is_one_file_for_all_frames() -> None:
    assert not FramePattern.parse("/a/single.jpg").is_sequence
    assert FramePattern.parse("/a/p.%04d.jpg").is_sequence


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("", "empty"),
        ("/a/%V/p.%04d.exr", "holds %V, one file per view"),
        ("/a/p_%v.%04d.exr", "holds %v, one file per view"),
        ("[value root.name]/p.%04d.exr", "holds the TCL expression"),
    ],
)
def test_patterns_that_only_nuke_can_evaluate_are_refused(pattern: str, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        FramePattern.parse(pattern)


def test_only_files_that_the_pattern_would_name_are_on_disk(tmp_path: Path) -> None:
    folder = tmp_path / "with [brackets]"
    folder.mkdir()
    for name in ("p.0009.exr", "p.0010.exr", "p.10000.exr", "p.-001.exr", "p.11.exr", "p.0012.exr.part", "q.0013.exr"):
        (folder / name).touch()
    assert FramePattern.parse(f"{folder}/p.%04d.exr").frames_on_disk() == [-1, 9, 10, 10000]
    assert FramePattern.parse(f"{folder}/p.%d.exr").frames_on_disk() == [11, 10000]


def test_a_number_in_folder_and_file_must_be_the_same(tmp_path: Path) -> None:
    for folder, file in (("0001", "0001"), ("0002", "0002"), ("0003", "0004")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"p.{file}.exr").touch()
    assert FramePattern.parse(f"{tmp_path}/####/p.####.exr").frames_on_disk() == [1, 2]


def test_a_missing_folder_and_a_single_file_have_no_frames(tmp_path: Path) -> None:
    (tmp_path / "single.exr").touch()
    assert FramePattern.parse(f"{tmp_path}/none/p.%04d.exr").frames_on_disk() == []
    assert FramePattern.parse(f"{tmp_path}/single.exr").frames_on_disk() == []
