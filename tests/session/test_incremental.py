"""Frames that are said to be unchanged are so, bit for bit, and are not made again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem.plates import FramePattern, read_matte_metadata
from rotomem.session import PlateReference, PropagationTask, ShotAnnotation, propagate_shot
from rotomem.session.incremental import unchanged_frames
from rotomem_client.shapes import ControlPoint, Shape

WIDTH, HEIGHT = 64, 48
FRAMES = range(1, 13)
OBJECTS = ("hero", "car", "dog")
EMPTY: tuple[ShotAnnotation, ...] = ()


def square(x: float, y: float = 16.0) -> tuple[Shape, ...]:
    corners = [(x, y), (x + 16, y), (x + 16, y + 16), (x, y + 16)]
    return (Shape("square", tuple(ControlPoint(corner) for corner in corners)),)


def drawn(frame: int, name: str = "hero", x: float = 8.0) -> ShotAnnotation:
    return ShotAnnotation(frame, name, shapes=square(x))


def unchanged(
    engine: str, before: tuple[ShotAnnotation, ...], after: tuple[ShotAnnotation, ...], objects: tuple[str, ...]
) -> list[int]:
    return sorted(unchanged_frames(engine, objects, before, after, FRAMES))


def test_an_edit_changes_the_frames_up_to_the_annotations_on_both_sides() -> None:
    before = (drawn(1), drawn(4), drawn(8), drawn(12))
    after = (drawn(1), drawn(4), drawn(8, x=9.0), drawn(12))
    assert unchanged("warp", before, after, ("hero",)) == [1, 2, 3, 4, 12]
    assert unchanged("copy", before, after, ("hero",)) == [1, 2, 3, 4, 5, 6, 11, 12]


def test_an_added_or_removed_annotation_changes_its_gap() -> None:
    few = (drawn(1), drawn(4), drawn(12))
    many = (*few, drawn(8))
    for before, after in ((few, many), (many, few)):
        assert unchanged("warp", before, after, ("hero",)) == [1, 2, 3, 4, 12]
        assert unchanged("copy", before, after, ("hero",)) == [1, 2, 3, 4, 5, 6, 11, 12]


def test_an_edit_reaches_the_end_where_nothing_is_drawn_beyond() -> None:
    before, after = (drawn(4), drawn(8)), (drawn(4), drawn(8, x=9.0))
    assert unchanged("warp", before, after, ("hero",)) == [1, 2, 3, 4]


def test_an_object_changes_where_another_leaves_or_joins_its_gap() -> None:
    """Objects of one gap are carried together, and colours near one of them count for the others."""
    hero = (drawn(1), drawn(6), drawn(12))
    before = (*hero, drawn(1, "car"), drawn(6, "car"), drawn(12, "car"))
    after = (*hero, drawn(1, "car"), drawn(6, "car"))
    assert unchanged("warp", before, after, ("hero", "car")) == [1, 2, 3, 4, 5, 6]


def test_equal_annotations_change_nothing_for_any_engine() -> None:
    before = (drawn(4), drawn(8))
    for engine in ("xmem", "warp", "copy", "auto"):
        assert unchanged(engine, before, before[::-1], ("hero",)) == list(FRAMES)


def test_a_memory_holds_every_annotation_so_that_any_edit_may_change_any_frame() -> None:
    for engine in ("xmem", "auto"):
        assert unchanged(engine, (drawn(1), drawn(12)), (drawn(1),), ("hero",)) == []


def test_nothing_is_known_where_an_object_was_drawn_nowhere() -> None:
    assert unchanged("warp", EMPTY, (drawn(1),), ("hero",)) == []


def test_alphas_count_by_their_content(tmp_path: Path) -> None:
    for name, value in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).write_bytes(bytes([value]) * 10)
    first, same, other, gone = (
        (drawn(1), ShotAnnotation(6, "hero", alpha=tmp_path / name), drawn(12)) for name in ("a", "b", "c", "gone")
    )
    assert unchanged("warp", first, same, ("hero",)) == list(FRAMES)
    assert unchanged("warp", first, other, ("hero",)) == [1, 12]
    assert unchanged("warp", gone, gone, ("hero",)) == [1, 12]


def test_absent_is_another_annotation_than_drawn() -> None:
    before = (drawn(1), drawn(6), drawn(12))
    after = (drawn(1), ShotAnnotation(6, "hero", absent=True), drawn(12))
    assert unchanged("warp", before, after, ("hero",)) == [1, 12]


# Against full runs


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> PlateReference:
    """Noise with bright, textured squares that move, one for each object."""
    folder = tmp_path_factory.mktemp("plate")
    random = np.random.default_rng(3)
    background = cv2.GaussianBlur(random.random((HEIGHT, WIDTH, 3), np.float32), (0, 0), 1) * 0.5
    textures = 0.5 + 0.5 * random.random((len(OBJECTS), 16, 16, 3), np.float32)
    for frame in FRAMES:
        picture = background.copy()
        for index, texture in enumerate(textures):
            x = 4 + 2 * frame + 8 * index
            picture[4 + 12 * index : 20 + 12 * index, x : x + 16] = texture
        assert oiio.ImageBuf(picture).write(str(folder / f"p.{frame:04d}.exr"), "half")
    return PlateReference(first=FRAMES[0], last=FRAMES[-1], pattern=str(folder / "p.%04d.exr"))


def random_annotations(random: np.random.Generator) -> dict[tuple[int, str], ShotAnnotation]:
    """Some frames with every object, and some with one of them."""
    chosen = {}
    for frame in random.choice(FRAMES, 3, replace=False).tolist():
        for name in OBJECTS:
            chosen[frame, name] = drawn(frame, name, x=float(random.integers(4, 40)))
    for frame in random.choice(FRAMES, 2, replace=False).tolist():
        name = str(random.choice(OBJECTS))
        chosen[frame, name] = drawn(frame, name, x=float(random.integers(4, 40)))
    return chosen


def edited(
    annotations: dict[tuple[int, str], ShotAnnotation], random: np.random.Generator
) -> dict[tuple[int, str], ShotAnnotation]:
    """Replace, remove or add one or two; every object stays drawn somewhere."""
    after = dict(annotations)
    for _ in range(int(random.integers(1, 3))):
        frame, name = int(random.choice(FRAMES)), str(random.choice(OBJECTS))
        what = random.integers(4)
        there = [key for key in after if key[1] == name]
        if what == 0 and len(there) > 1:
            del after[there[int(random.integers(len(there)))]]
        elif what == 1:
            after[there[0]] = dataclasses.replace(after[there[0]], shapes=square(float(random.integers(4, 40))))
        elif what == 2:
            after[frame, name] = ShotAnnotation(frame, name, absent=True)
        else:
            after[frame, name] = drawn(frame, name, x=float(random.integers(4, 40)))
    return after


def make(task: PropagationTask) -> list[int]:
    made: list[int] = []
    propagate_shot(
        task,
        on_matte=lambda matte: made.append(matte.frame),
        on_progress=lambda _: None,
        cancelled=lambda: False,
    )
    return made


def channels(path: Path) -> dict[str, bytes]:
    """The pixels; the file's other bytes hold the time at which it was written."""
    image = oiio.ImageBuf(str(path))
    pixels = np.moveaxis(image.get_pixels(oiio.HALF), -1, 0)
    return {name: values.tobytes() for name, values in zip(image.spec().channelnames, pixels, strict=True)}


@pytest.mark.parametrize("engine", ["warp", "copy"])
@pytest.mark.parametrize("seed", range(6))
def test_remaking_the_changed_frames_gives_what_remaking_all_gives(
    plate: PlateReference, tmp_path: Path, engine: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    before = random_annotations(random)
    after = edited(before, random)
    task = PropagationTask(
        plate=plate,
        annotations=tuple(before.values()),
        objects=OBJECTS,
        first=FRAMES[0],
        last=FRAMES[-1],
        output_pattern=str(tmp_path / "updated" / "m.%04d.exr"),
        engine=engine,
        confidence=True,
    )
    make(task)
    current = unchanged_frames(engine, OBJECTS, before.values(), after.values(), FRAMES)
    updated = dataclasses.replace(task, annotations=tuple(after.values()), current=current)
    paths = {frame: FramePattern.parse(task.output_pattern).path(frame) for frame in FRAMES}
    untouched = {frame: paths[frame].stat().st_mtime_ns for frame in current}
    made = make(dataclasses.replace(updated, focus=int(random.choice(FRAMES))))
    assert sorted(made) == [frame for frame in FRAMES if frame not in current]
    assert {frame: paths[frame].stat().st_mtime_ns for frame in current} == untouched

    whole = dataclasses.replace(updated, current=frozenset(), output_pattern=str(tmp_path / "whole" / "m.%04d.exr"))
    make(whole)
    for frame, path in paths.items():
        again = FramePattern.parse(whole.output_pattern).path(frame)
        assert channels(path) == channels(again), f"frame {frame}, not made again: {frame in current}"
        assert read_matte_metadata(path) == read_matte_metadata(again)


def test_the_random_edits_leave_some_frames_and_change_some() -> None:
    counts = []
    for seed in range(6):
        random = np.random.default_rng(seed)
        before = random_annotations(random)
        after = edited(before, random)
        counts.append(len(unchanged_frames("warp", OBJECTS, before.values(), after.values(), FRAMES)))
    assert 0 < sum(counts) < len(FRAMES) * len(counts)
    assert sum(0 < count < len(FRAMES) for count in counts) >= 4
