"""From files on disk to matte files on disk, and every way in which the input can be wrong."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem.errors import (
    AnnotationError,
    AnnotationRangeError,
    AnnotationSizeError,
    CancelledError,
    ColourspaceError,
    DiskFullError,
    EmptyAnnotationError,
    OutputUnwritableError,
    PlateMissingError,
    PlateSizeError,
    PlateUnreadableError,
    RotomemError,
    SettingError,
    WeightsMissingError,
)
from rotomem.plates import read_alpha, read_confidence, read_matte_metadata
from rotomem.propagation.xmem_engine import XMemEngine
from rotomem.session import (
    MatteWritten,
    PlateReference,
    Progress,
    PropagationTask,
    ShotAnnotation,
    propagate_shot,
)
from rotomem.session.propagate import engine_of
from rotomem.vos import Network, NetworkConfig, save_weights
from rotomem_client.shapes import ControlPoint, Shape
from tiny_networks import TINY, random_network

WIDTH, HEIGHT = 64, 48


def write_image(path: Path, pixels: np.ndarray) -> None:
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "half")
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec)
    assert output.write_image(pixels)
    assert output.close()


def square(x: float, y: float, side: float) -> Shape:
    corners = [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]
    return Shape("square", tuple(ControlPoint(corner) for corner in corners))


@pytest.fixture
def plate(tmp_path: Path) -> PlateReference:
    """Six frames, 1001-1006: a bright square moves right by 4 px a frame over noise."""
    random = np.random.default_rng(3)
    background = random.random((HEIGHT, WIDTH, 3), np.float32) * 0.2
    folder = tmp_path / "plate"
    folder.mkdir()
    for index in range(6):
        pixels = background.copy()
        pixels[16:32, 8 + 4 * index : 24 + 4 * index] = 0.8
        write_image(folder / f"p.{1001 + index:04d}.exr", pixels)
    return PlateReference(first=1001, last=1006, pattern=str(folder / "p.%04d.exr"))


@pytest.fixture
def task(plate: PlateReference, tmp_path: Path) -> PropagationTask:
    return PropagationTask(
        plate=plate,
        annotations=(
            ShotAnnotation(1001, "hero", shapes=(square(8, 16, 16),)),
            ShotAnnotation(1006, "hero", shapes=(square(28, 16, 16),)),
        ),
        objects=("hero",),
        first=1001,
        last=1006,
        output_pattern=str(tmp_path / "out" / "hero.%04d.exr"),
        engine="warp",
        weights_dir=tmp_path / "no_weights",
        revision=5,
    )


class Recorder:
    """Collects what a run reports; asks to stop after ``stop_after`` mattes."""

    def __init__(self, stop_after: int = 10**9) -> None:
        self.mattes: list[MatteWritten] = []
        self.progress: list[Progress] = []
        self._stop_after = stop_after

    def run(self, task: PropagationTask):
        return propagate_shot(
            task,
            on_matte=self.mattes.append,
            on_progress=self.progress.append,
            cancelled=lambda: len(self.mattes) >= self._stop_after,
        )


def test_every_frame_gets_a_matte_with_its_origin_in_the_metadata(task: PropagationTask) -> None:
    recorder = Recorder()
    summary = recorder.run(task)
    assert summary.frames == (1001, 1002, 1003, 1004, 1005, 1006)
    assert summary.engine == "warp"
    assert sorted(matte.frame for matte in recorder.mattes) == list(summary.frames)
    assert recorder.progress[-1].done == recorder.progress[-1].total == 6
    middle = next(matte for matte in recorder.mattes if matte.frame == 1003)
    metadata = read_matte_metadata(middle.path)
    assert (metadata.engine, metadata.revision, metadata.annotated) == ("warp", 5, False)
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[16:32, 16:32] = True
    matte = read_alpha(middle.path, 1003, object_name="hero") > 0.5
    assert (matte & truth).sum() / (matte | truth).sum() > 0.9


def test_the_artists_matte_comes_back_untouched(task: PropagationTask) -> None:
    drawn = dataclasses.replace(task.annotations[0], shapes=(square(8.25, 16.5, 16),))
    recorder = Recorder()
    recorder.run(dataclasses.replace(task, annotations=(drawn, task.annotations[1])))
    matte = read_alpha(Path(task.output_pattern % 1001), 1001, object_name="hero")
    assert matte[20, 8] == pytest.approx(0.75)
    assert matte[16, 12] == pytest.approx(0.5)
    assert matte[20, 12] == 1.0
    assert matte[20, 40] == 0.0


def test_frames_that_are_still_right_are_left_untouched(task: PropagationTask) -> None:
    Recorder().run(task)
    paths = {frame: Path(task.output_pattern % frame) for frame in range(1001, 1007)}
    before = {frame: (path.stat().st_mtime_ns, path.read_bytes()) for frame, path in paths.items()}
    paths[1002].unlink()
    recorder = Recorder()
    current = frozenset({1001, 1002, 1004, 1005, 2000})
    summary = recorder.run(dataclasses.replace(task, current=current, revision=6))
    assert sorted(matte.frame for matte in recorder.mattes) == [1002, 1003, 1006]
    assert summary.frames == (1001, 1002, 1003, 1004, 1005, 1006)
    assert summary.kept == (1001, 1004, 1005)
    assert [progress.done for progress in recorder.progress] == [3, 4, 5, 6]
    for frame in summary.kept:
        assert (paths[frame].stat().st_mtime_ns, paths[frame].read_bytes()) == before[frame]
    for frame in (1002, 1003, 1006):
        assert read_matte_metadata(paths[frame]).revision == 6


def test_a_job_whose_mattes_are_all_right_makes_none(task: PropagationTask) -> None:
    Recorder().run(task)
    recorder = Recorder()
    summary = recorder.run(dataclasses.replace(task, current=frozenset(range(1001, 1007))))
    assert recorder.mattes == []
    assert summary.kept == summary.frames == (1001, 1002, 1003, 1004, 1005, 1006)


def test_frames_made_again_by_themselves_come_out_as_in_a_whole_run(task: PropagationTask) -> None:
    Recorder().run(task)
    paths = [Path(task.output_pattern % frame) for frame in (1003, 1005)]
    before = [read_alpha(path, 1003) for path in paths]
    for path in paths:
        path.unlink()
    Recorder().run(dataclasses.replace(task, current=frozenset(range(1001, 1007))))
    for path, alpha in zip(paths, before, strict=True):
        np.testing.assert_array_equal(read_alpha(path, 1003), alpha)


def test_the_focus_is_made_first_whichever_stretch_it_lies_in(task: PropagationTask) -> None:
    copying = dataclasses.replace(task, engine="copy")
    recorder = Recorder()
    recorder.run(dataclasses.replace(copying, focus=1005))
    assert [matte.frame for matte in recorder.mattes] == [1005, 1004, 1006, 1003, 1002, 1001]
    recorder = Recorder()
    for frame in (1002, 1004, 1005):
        Path(task.output_pattern % frame).unlink()
    recorder.run(dataclasses.replace(copying, focus=1005, current=frozenset(range(1001, 1007))))
    assert [matte.frame for matte in recorder.mattes] == [1005, 1004, 1002]


def test_confidence_is_told_by_frame_and_written_by_pixel_on_request(task: PropagationTask) -> None:
    recorder = Recorder()
    recorder.run(task)
    told = {matte.frame: matte.confidence for matte in recorder.mattes}
    assert told[1001] == told[1006] == 1.0
    assert 0.1 < told[1003] < 1.0
    path = Path(task.output_pattern % 1003)
    metadata = read_matte_metadata(path)
    assert metadata.confidence == pytest.approx(told[1003], abs=1e-6)
    assert metadata.disagreement is not None
    assert read_matte_metadata(Path(task.output_pattern % 1001)).disagreement is None
    assert read_confidence(path, 1003) is None
    Recorder().run(dataclasses.replace(task, confidence=True))
    layer = read_confidence(path, 1003)
    assert layer is not None
    assert layer.shape == (HEIGHT, WIDTH)
    assert layer[24, 24] > layer[15:33, 15].mean()  # inside the square against its left edge


def test_the_seams_beside_annotated_frames_are_measured(task: PropagationTask) -> None:
    summary = Recorder().run(task)
    assert [(seam.annotated, seam.neighbour) for seam in summary.seams] == [(1001, 1002), (1006, 1005)]
    loose = dataclasses.replace(task.annotations[0], shapes=(square(4, 12, 24),))
    looser = Recorder().run(dataclasses.replace(task, annotations=(loose, task.annotations[1])))
    assert looser.seams[0].jump > summary.seams[0].jump + 0.05
    # The same figure where all mattes but one were there already.
    again = Recorder().run(
        dataclasses.replace(task, annotations=(loose, task.annotations[1]), current=frozenset({1002}))
    )
    assert again.seams[0].jump == pytest.approx(looser.seams[0].jump, abs=0.01)


def test_handles_reach_as_far_as_the_plate(task: PropagationTask) -> None:
    summary = Recorder().run(dataclasses.replace(task, first=1003, last=1005, handles=2))
    assert summary.frames == (1001, 1002, 1003, 1004, 1005, 1006)


def test_a_range_smaller_than_the_plate_uses_annotations_outside_it(task: PropagationTask) -> None:
    summary = Recorder().run(dataclasses.replace(task, first=1003, last=1004))
    assert summary.frames == (1003, 1004)


def test_two_objects_are_two_layers_and_their_union(task: PropagationTask) -> None:
    other = tuple(ShotAnnotation(frame, "prop", shapes=(square(2, 36, 8),)) for frame in (1001, 1006))
    Recorder().run(dataclasses.replace(task, annotations=task.annotations + other, objects=("hero", "prop")))
    path = Path(task.output_pattern % 1001)
    union, hero, prop = (read_alpha(path, 1001, object_name=name) for name in (None, "hero", "prop"))
    np.testing.assert_allclose(union, 1 - (1 - hero) * (1 - prop), atol=1e-3)
    assert hero[20, 12] == prop[40, 4] == 1.0
    assert hero[40, 4] == prop[20, 12] == 0.0


def test_cancelling_keeps_the_mattes_already_made(task: PropagationTask) -> None:
    recorder = Recorder(stop_after=2)
    with pytest.raises(CancelledError, match="2 of 6 frames"):
        recorder.run(task)
    assert len(list(Path(task.output_pattern).parent.glob("*.exr"))) == 2


def test_encoded_frames_are_kept_in_the_shots_own_folder(task: PropagationTask, tmp_path: Path) -> None:
    engine = XMemEngine(random_network(), weights_sha256="", device="cpu")

    def kept(shot: str, megabytes: int) -> int:
        folder = tmp_path / shot
        job = dataclasses.replace(
            task, output_pattern=str(folder / "m.%04d.exr"), feature_dir=folder / "f", feature_bytes=megabytes << 20
        )
        propagate_shot(job, on_matte=lambda _: None, on_progress=lambda _: None, cancelled=lambda: False, engine=engine)
        return len(list((folder / "f").glob("*")))

    assert kept("one", 64) == kept("other", 64) == 6 + 4  # the decoder saw four of six
    assert kept("none", 0) == 0


def test_the_next_job_of_a_process_gets_the_engine_of_the_last_one_unless_weights_changed(
    task: PropagationTask, tmp_path: Path
) -> None:
    config = NetworkConfig.small()
    folder = tmp_path / "weights"
    folder.mkdir()
    save_weights(Network(config).state_dict(), folder / "tiny.safetensors", config)
    with_weights = dataclasses.replace(task, engine="xmem", weights_dir=folder, device="cpu")
    first = engine_of(with_weights)
    assert engine_of(with_weights) is first
    save_weights(Network(config).state_dict(), folder / "tiny.safetensors", config)
    assert engine_of(with_weights).weights_sha256 != first.weights_sha256


def test_mattes_of_other_weights_are_made_again_whatever_the_task_says_of_them(
    task: PropagationTask, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    save_weights(Network(TINY).state_dict(), folder / "tiny.safetensors", TINY)
    with_weights = dataclasses.replace(task, engine="xmem", weights_dir=folder, device="cpu")
    Recorder().run(with_weights)
    again = dataclasses.replace(with_weights, current=frozenset(range(1001, 1007)))
    assert Recorder().run(again).kept == (1001, 1002, 1003, 1004, 1005, 1006)

    used = save_weights(Network(TINY).state_dict(), folder / "tiny.safetensors", TINY)
    Path(task.output_pattern % 1002).write_bytes(b"no matte")
    recorder = Recorder()
    summary = recorder.run(again)
    assert (summary.kept, summary.weights_sha256) == ((), used)
    assert recorder.progress[-1].done == 6
    assert {matte.weights_sha256 for matte in recorder.mattes} == {used}
    assert {read_matte_metadata(matte.path).weights_sha256 for matte in recorder.mattes} == {used}
    assert len(recorder.mattes) == 6


def bad_inputs() -> Iterator[object]:
    def shape(frame: int, *points: tuple[float, float]) -> ShotAnnotation:
        return ShotAnnotation(frame, "hero", shapes=(Shape("s", tuple(ControlPoint(p) for p in points)),))

    def case(name: str, error: type[RotomemError], match: str, **changes: object) -> object:
        return pytest.param(changes, error, match, id=name)

    inside = shape(1001, (8, 16), (24, 16), (24, 32))
    yield case(
        "annotation outside",
        AnnotationRangeError,
        "frame 1200 .* 1001-1006",
        annotations=(inside, shape(1200, (8, 8), (9, 9), (8, 9))),
    )
    yield case(
        "empty shape",
        EmptyAnnotationError,
        "frame 1003, object 'hero'",
        annotations=(shape(1003, (900, 900), (910, 900), (905, 910)),),
    )
    yield case("no annotation", AnnotationError, "nothing is annotated", annotations=())
    yield case("object never drawn", AnnotationError, "'car' is annotated on no frame", objects=("hero", "car"))
    yield case("unknown object", AnnotationError, "1001 annotates 'hero'", objects=("car",))
    yield case("bad object name", AnnotationError, "object name '1st'", objects=("1st",))
    yield case("Nuke's own layer", AnnotationError, "'alpha' is one of Nuke's own", objects=("alpha",))
    yield case("empty range", SettingError, "range 1004-1002 is empty", first=1004, last=1002)
    yield case("range outside", SettingError, "outside the plate", last=1300)
    yield case("no frame number in the output", SettingError, "no frame number", output_pattern="/tmp/hero.exr")
    yield case("no EXR", SettingError, "must end in .exr", output_pattern="/tmp/hero.%04d.png")
    yield case("unknown device", SettingError, "device is 'gpu'", device="gpu")
    yield case("drawn twice", AnnotationError, "1001 annotates 'hero' 2 times", annotations=(inside, inside))
    yield case("unknown engine", SettingError, "samurai", engine="samurai")
    yield case("weights missing", WeightsMissingError, "rotomem weights add", engine="xmem", weights="nobodys")


@pytest.mark.parametrize(("changes", "error", "match"), list(bad_inputs()))
def test_bad_tasks_are_refused_in_one_sentence(
    task: PropagationTask, changes: dict[str, object], error: type[RotomemError], match: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        Recorder().run(dataclasses.replace(task, **changes))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_missing_frame_is_named_and_nothing_made_is_lost(task: PropagationTask) -> None:
    Recorder().run(task)
    Path(task.plate.pattern % 1004).unlink()
    with pytest.raises(PlateMissingError, match="1004"):
        Recorder().run(task)
    assert len(list(Path(task.output_pattern).parent.glob("*.exr"))) == 6


def test_a_truncated_frame_is_named_and_the_mattes_before_it_are_kept(task: PropagationTask) -> None:
    path = Path(task.plate.pattern % 1005)
    path.write_bytes(path.read_bytes()[:600])
    middle = ShotAnnotation(1003, "hero", shapes=(square(16, 16, 16),))
    recorder = Recorder()
    with pytest.raises(PlateUnreadableError, match="1005"):
        recorder.run(dataclasses.replace(task, annotations=(*task.annotations, middle)))
    assert {1001, 1002, 1003} <= {matte.frame for matte in recorder.mattes if matte.path.is_file()}


def test_a_size_change_mid_shot_names_both_sizes(task: PropagationTask) -> None:
    write_image(Path(task.plate.pattern % 1004), np.zeros((HEIGHT, WIDTH + 2, 3), np.float32))
    with pytest.raises(PlateSizeError, match=r"1004.*66x48.*64x48"):
        Recorder().run(task)


def test_an_unknown_colourspace_is_named(task: PropagationTask) -> None:
    plate = dataclasses.replace(task.plate, colourspace="AcesTypo")
    with pytest.raises(ColourspaceError, match="AcesTypo"):
        Recorder().run(dataclasses.replace(task, plate=plate))


def test_an_alpha_of_another_size_is_refused(task: PropagationTask, tmp_path: Path) -> None:
    alpha = tmp_path / "a.exr"
    write_image(alpha, np.ones((10, 10, 1), np.float32))
    with pytest.raises(AnnotationSizeError, match=r"frame 1001.*10x10.*64x48"):
        Recorder().run(dataclasses.replace(task, annotations=(ShotAnnotation(1001, "hero", alpha=alpha),)))


def test_an_annotation_that_is_not_on_disk_is_named_as_such(task: PropagationTask, tmp_path: Path) -> None:
    missing = ShotAnnotation(1003, "hero", alpha=tmp_path / "gone.exr")
    with pytest.raises(AnnotationError, match=r"frame 1003, object 'hero': the annotation cannot be read.*gone.exr"):
        Recorder().run(dataclasses.replace(task, annotations=(missing,)))


def test_the_plate_and_the_annotations_are_never_overwritten(task: PropagationTask, tmp_path: Path) -> None:
    plate_file = Path(task.plate.pattern % 1003)
    before = plate_file.read_bytes()
    with pytest.raises(OutputUnwritableError, match="the plate's own file"):
        Recorder().run(dataclasses.replace(task, output_pattern=task.plate.pattern))
    assert plate_file.read_bytes() == before

    alpha = tmp_path / "m.1001.exr"
    write_image(alpha, np.ones((HEIGHT, WIDTH, 1), np.float32))
    drawn = (ShotAnnotation(1001, "hero", alpha=alpha),)
    with pytest.raises(OutputUnwritableError, match="annotation of frame 1001's own file"):
        Recorder().run(dataclasses.replace(task, annotations=drawn, output_pattern=str(tmp_path / "m.%04d.exr")))


def test_an_output_folder_that_cannot_be_made_is_named(task: PropagationTask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputUnwritableError, match="file"):
        Recorder().run(dataclasses.replace(task, output_pattern=str(tmp_path / "file" / "m.%04d.exr")))


def test_a_full_disk_keeps_the_mattes_already_made(task: PropagationTask, small_disk: Path) -> None:
    recorder = Recorder()
    filler = small_disk / "filler"
    pattern = str(small_disk / "m.%04d.exr")
    original = recorder.mattes.append

    def fill_after_two(matte: MatteWritten) -> None:
        original(matte)
        if len(recorder.mattes) == 2:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    with pytest.raises(DiskFullError, match="full"):
        propagate_shot(
            dataclasses.replace(task, output_pattern=pattern),
            on_matte=fill_after_two,
            on_progress=recorder.progress.append,
            cancelled=lambda: False,
        )
    assert sorted(path.name for path in small_disk.glob("*.exr")) == sorted(m.path.name for m in recorder.mattes)
    assert not [path for path in small_disk.iterdir() if path.name not in {"filler"} and path.suffix != ".exr"]
