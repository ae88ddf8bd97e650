"""Which annotations bound which frames."""

from __future__ import annotations

import numpy as np
import pytest

from rotomem.errors import AnnotationError, AnnotationSizeError
from rotomem.propagation.gaps import Gap, annotated_frames_by_object, frames_passed, nearest, split_gaps


def test_a_range_splits_at_its_annotations_and_keeps_both_open_ends() -> None:
    gaps = split_gaps({"a": [3, 6]}, range(1, 10))
    assert gaps == [
        Gap(None, 3, range(1, 3), ("a",)),
        Gap(3, 6, range(4, 6), ("a",)),
        Gap(6, None, range(7, 10), ("a",)),
    ]


def test_annotations_outside_the_range_bound_its_gaps() -> None:
    assert split_gaps({"a": [1, 100]}, range(10, 21)) == [Gap(1, 100, range(10, 21), ("a",))]


def test_neighbouring_annotations_leave_no_gap() -> None:
    assert split_gaps({"a": [1, 2, 3]}, range(1, 4)) == []


def test_objects_annotated_alike_share_a_gap_and_others_have_their_own() -> None:
    gaps = split_gaps({"a": [1, 5], "b": [1, 5], "c": [1, 3, 5]}, range(1, 6))
    assert gaps == [
        Gap(1, 3, range(2, 3), ("c",)),
        Gap(1, 5, range(2, 5), ("a", "b")),
        Gap(3, 5, range(4, 5), ("c",)),
    ]


def test_an_empty_range_has_no_gaps() -> None:
    assert split_gaps({"a": [1]}, range(5, 5)) == []


def test_of_two_equally_near_annotations_the_earlier_counts() -> None:
    assert [nearest([2, 6], frame) for frame in (0, 2, 3, 4, 5, 9)] == [2, 2, 2, 2, 6, 6]


def test_an_object_that_is_annotated_nowhere_is_named() -> None:
    with pytest.raises(AnnotationError, match="'lamp'"):
        annotated_frames_by_object({1: {"koi": np.zeros((4, 6), np.float32)}}, ["koi", "lamp"], (4, 6))


def test_a_matte_of_another_size_than_the_plate_names_frame_and_object() -> None:
    with pytest.raises(AnnotationSizeError, match=r"frame 7.*'koi'.*6x4.*8x4"):
        annotated_frames_by_object({7: {"koi": np.zeros((4, 6), np.float32)}}, ["koi"], (4, 8))


def test_annotations_of_objects_that_were_not_asked_for_are_ignored() -> None:
    mattes = {"koi": np.zeros((4, 6), np.float32), "other": np.zeros((1, 1), np.float32)}
    assert annotated_frames_by_object({3: mattes, 1: mattes}, ["koi"], (4, 6)) == {"koi": [1, 3]}


def test_a_frame_needs_passes_over_the_whole_gap_of_each_object_that_is_not_drawn_there() -> None:
    annotated = {"a": [3, 9], "b": [5]}
    assert [frames_passed(annotated, frame) for frame in (1, 3, 5, 6, 9, 12)] == [4, 2, 6, 6, 4, 7]
    assert frames_passed({"a": [3, 9]}, 9) == 0
