"""Frame ranges as compositors write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotomem.errors import SettingError
from rotomem.plates import format_frame_range, parse_frame_range


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("7", [7]),
        ("1001-1004", [1001, 1002, 1003, 1004]),
        ("1001-1010x2,1020", [1001, 1003, 1005, 1007, 1009, 1020]),
        ("1020, 1001-1002", [1001, 1002, 1020]),
        ("1-3 2-5", [1, 2, 3, 4, 5]),
        ("-5--3", [-5, -4, -3]),
        ("-1-1", [-1, 0, 1]),
        ("1 - 10 x 5", [1, 6]),
    ],
)
def test_a_range_names_its_frames_ascending_and_once(text: str, frames: list[int]) -> None:
    assert parse_frame_range(text) == frames


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        (" , ", "empty"),
        ("abc", "'abc' is not a frame range"),
        ("1001-", "not a frame range"),
        ("1001.5", "not a frame range"),
        ("1001-1010y2", "not a frame range"),
        ("1010-1001", "write 1001-1010"),
        ("1-10x0", "step 0"),
        ("1-99999999999", "more than 1000000 frames"),
    ],
)
def test_what_is_no_range_is_refused_with_a_sentence(text: str, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        parse_frame_range(text)


def test_frames_are_written_as_runs() -> None:
    assert format_frame_range([1010, 1004, 1005, 1006]) == "1004-1006, 1010"
    assert format_frame_range([1, 2]) == "1, 2"
    assert format_frame_range([]) == ""


@given(st.sets(st.integers(-50, 50), min_size=1))
def test_a_written_range_parses_to_the_same_frames(frames: set[int]) -> None:
    assert parse_frame_range(format_frame_range(frames)) == sorted(frames)
