"""The JSON file that carries roto shapes into batches."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rotomem.errors import AnnotationError
from rotomem.session import ShotAnnotation, read_shape_file, write_shape_file
from rotomem_client.shapes import ControlPoint, Shape


def test_shapes_and_absences_survive_the_file(tmp_path: Path) -> None:
    points = (ControlPoint((1.5, 2), (0, -1), (0, 1), (3, 0)), ControlPoint((9, 2)), ControlPoint((5, 8)))
    annotations = (
        ShotAnnotation(1001, "hero", shapes=(Shape("body", points, opacity=0.5, blend_mode="max"),)),
        ShotAnnotation(1010, "hero", absent=True),
    )
    write_shape_file(tmp_path / "s.json", annotations)
    assert read_shape_file(tmp_path / "s.json") == annotations


def test_a_corner_needs_only_its_place(tmp_path: Path) -> None:
    shape = {"name": "tri", "points": [[0, 0], [4, 0], [0, 4]]}
    content = {"rotomem_shapes": 1, "annotations": [{"frame": 7, "object": "a", "shapes": [shape]}]}
    (tmp_path / "s.json").write_text(json.dumps(content))
    (annotation,) = read_shape_file(tmp_path / "s.json")
    assert [point.center for point in annotation.shapes[0].points] == [(0, 0), (4, 0), (0, 4)]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "not valid JSON"),
        ("[]", "rotomem_shapes"),
        ('{"rotomem_shapes": 1}', "list"),
        ('{"rotomem_shapes": 1, "annotations": [{"frame": 1.5, "object": "a"}]}', "annotation 1: frame is 1.5"),
        ('{"rotomem_shapes": 1, "annotations": [{"frame": 1, "object": "a"}]}', "frame 1.*absent"),
        (
            '{"rotomem_shapes": 1, "annotations": [{"frame": 3, "object": "a",'
            ' "shapes": [{"name": "x", "points": [[1]]}]}]}',
            "frame 3.*shape 'x'.*2, 6 or 12 numbers",
        ),
    ],
)
def test_a_wrong_file_is_named_with_the_place(tmp_path: Path, content: str, match: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=match) as caught:
        read_shape_file(path)
    assert str(path) in str(caught.value)


def test_an_image_annotation_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="frame 5"):
        write_shape_file(tmp_path / "s.json", [ShotAnnotation(5, "a", alpha=Path("a.exr"))])
