"""The contact sheet, looked at pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rotomem.demo import ContactRow, write_contact_sheet
from rotomem_client.shapes import ControlPoint, Shape

TILE = 160, 90
LEFT, TOP, STEP_X, STEP_Y = 150, 112, 170, 100
"""Where the first tile begins and how far the next one is: gutter, heading, and a gap of 10."""


def box(left: int, right: int) -> np.ndarray:
    matte = np.zeros((180, 320), dtype=np.float32)
    matte[40:140, left:right] = 1
    return matte


def row(frame: int, *, annotated: bool) -> ContactRow:
    corners = ((100, 40), (200, 40), (200, 140), (100, 140))
    shape = Shape("box", tuple(ControlPoint((float(x), float(y))) for x, y in corners))
    return ContactRow(
        frame=frame,
        plate=np.full((180, 320, 3), 0.5, dtype=np.float32),
        mattes={"box": box(100, 200)},
        truth={"box": box(120, 220)},
        shapes={"box": (shape,)} if annotated else {},
    )


@pytest.fixture
def sheet(tmp_path: Path) -> np.ndarray:
    path = tmp_path / "sheet.png"
    write_contact_sheet(path, [row(1001, annotated=True), row(1005, annotated=False)], title="Pond", tile_width=TILE[0])
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return image[..., ::-1].astype(int)


def tile(sheet: np.ndarray, index: int, column: int) -> np.ndarray:
    top, left = TOP + index * STEP_Y, LEFT + column * STEP_X
    return sheet[top : top + TILE[1], left : left + TILE[0]]


def test_sheet_holds_one_row_of_four_pictures_per_frame(sheet: np.ndarray) -> None:
    assert sheet.shape == (TOP + 2 * STEP_Y + 46, LEFT + 4 * STEP_X, 3)
    assert (abs(tile(sheet, 0, 0) - 128) <= 1).all()


def test_lone_matte_is_white_on_black(sheet: np.ndarray) -> None:
    matte = tile(sheet, 0, 2)
    assert (matte[45, 75] == 255).all()
    assert (matte[45, 20] == 0).all()


def test_difference_is_red_for_too_much_blue_for_too_little_and_black_where_right(sheet: np.ndarray) -> None:
    difference = tile(sheet, 0, 3)
    red, green, blue = difference[45, 55]
    assert red > 200
    assert max(green, blue) < 100
    red, green, blue = difference[45, 105]
    assert blue > 200
    assert red < 100
    assert (difference[45, 80] == 0).all()


def test_roto_is_drawn_on_annotated_frames_and_the_result_tinted_on_others(sheet: np.ndarray) -> None:
    annotated, other = tile(sheet, 0, 1), tile(sheet, 1, 1)
    assert abs(annotated[45, 75] - annotated[45, 20]).max() <= 1
    assert abs(annotated[45, 50] - annotated[45, 20]).max() > 60
    assert abs(other[45, 75] - other[45, 20]).max() > 30


def test_annotated_frames_wear_a_badge(sheet: np.ndarray) -> None:
    for index, expected in ((0, True), (1, False)):
        gutter = sheet[TOP + index * STEP_Y : TOP + (index + 1) * STEP_Y, :LEFT]
        assert (abs(gutter - (250, 184, 46)).max(axis=-1) == 0).any() == expected


def test_several_objects_have_a_colour_each(tmp_path: Path) -> None:
    path = tmp_path / "two.png"
    plate = np.zeros((180, 320, 3), dtype=np.float32)
    mattes = {"left": box(20, 80), "right": box(200, 300)}
    write_contact_sheet(path, [ContactRow(7, plate, mattes, {})], title="Two", tile_width=TILE[0])
    matte = tile(cv2.imread(str(path), cv2.IMREAD_COLOR).astype(int), 0, 2)
    assert abs(matte[45, 25] - matte[45, 125]).max() > 100


def test_sheet_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one row"):
        write_contact_sheet(tmp_path / "none.png", [], title="None")
