"""The warp engine on small rendered scenes, and the copy engine beside it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from rendered_scenes import HEIGHT, SIDE, WIDTH, Scene
from rotomem.errors import AnnotationError
from rotomem.propagation import CopyEngine, Engine, PropagatedFrame, WarpEngine
from rotomem.training import region_j


def propagate(
    scene: Scene, annotated: Sequence[int], frames: range, *, engine: Engine | None = None
) -> dict[int, PropagatedFrame]:
    annotations = {frame: {"square": scene.truth(frame)} for frame in annotated}
    engine = engine or WarpEngine()
    results = engine.propagate(scene, annotations, ["square"], frames, cancelled=lambda: False)
    return {result.frame: result for result in results}


def mean_j(results: dict[int, PropagatedFrame], scene: Scene, annotated: Sequence[int]) -> float:
    return float(np.mean([region_j(r.mattes[0], scene.truth(f)) for f, r in results.items() if f not in annotated]))


def test_between_two_annotations_the_object_is_followed_where_copying_loses_it() -> None:
    scene, annotated = Scene(), [0, 12]
    warped = mean_j(propagate(scene, annotated, range(13)), scene, annotated)
    copied = mean_j(propagate(scene, annotated, range(13), engine=CopyEngine()), scene, annotated)
    assert warped > 0.93
    # A copied square is off by 3 frames, 9 px, on average: J about (56 - 9) / (56 + 9) = 0.72.
    assert copied < 0.75


def test_an_object_that_passes_behind_a_pole_is_cut_by_it() -> None:
    scene, annotated = Scene(pole=True), [0, 12]
    assert mean_j(propagate(scene, annotated, range(13)), scene, annotated) > 0.88


def test_frames_before_the_first_annotation_are_reached_backward() -> None:
    scene = Scene()
    results = propagate(scene, [6], range(0, 7))
    assert sorted(results) == list(range(7))
    assert region_j(results[1].mattes[0], scene.truth(1)) > 0.85


def test_frames_after_the_last_annotation_are_reached_forward() -> None:
    scene = Scene()
    results = propagate(scene, [6], range(6, 13))
    assert region_j(results[11].mattes[0], scene.truth(11)) > 0.85


def test_the_artists_matte_comes_back_bit_for_bit() -> None:
    scene = Scene()
    drawn = np.random.default_rng(0).random(scene.size).astype(np.float32)
    results = WarpEngine().propagate(scene, {4: {"square": drawn}}, ["square"], range(3, 6), cancelled=lambda: False)
    by_frame = {result.frame: result for result in results}
    assert by_frame[4].mattes[0].tobytes() == drawn.tobytes()
    assert by_frame[4].annotated
    assert (by_frame[4].confidence == 1).all()
    assert not by_frame[3].annotated


def test_an_object_unknown_on_another_objects_frame_is_carried_there() -> None:
    scene = Scene()
    annotations = {
        0: {"square": scene.truth(0), "second": scene.second(0)},
        4: {"square": scene.truth(4)},
        8: {"square": scene.truth(8), "second": scene.second(8)},
    }
    results = WarpEngine().propagate(scene, annotations, ["square", "second"], range(9), cancelled=lambda: False)
    by_frame = {result.frame: result for result in results}
    assert sorted(by_frame) == list(range(9))
    assert by_frame[4].annotated
    assert by_frame[4].mattes[0].tobytes() == scene.truth(4).tobytes()
    hidden = np.where(scene.truth(4) > 0, 0, scene.second(4))  # the first square lies before the second
    assert region_j(by_frame[4].mattes[1], hidden) > 0.75
    for frame in (2, 6):
        assert region_j(by_frame[frame].mattes[0], scene.truth(frame)) > 0.9


def test_objects_may_overlap_and_each_keeps_its_own_matte() -> None:
    scene = Scene()
    whole, half = scene.truth(0), scene.truth(0)
    half[:, 40:] = 0.0
    annotations = {0: {"whole": whole, "left half": half}}
    (result,) = WarpEngine().propagate(scene, annotations, ["whole", "left half"], [1], cancelled=lambda: False)
    assert result.mattes.shape == (2, HEIGHT, WIDTH)
    assert region_j(result.mattes[0], scene.truth(1)) > 0.9
    assert np.minimum(result.mattes[0], result.mattes[1]).sum() > 0.8 * half.sum()


def test_annotations_outside_the_range_are_used() -> None:
    scene = Scene()
    results = propagate(scene, [0, 12], range(5, 8))
    assert sorted(results) == [5, 6, 7]
    assert min(region_j(result.mattes[0], scene.truth(frame)) for frame, result in results.items()) > 0.9


def test_the_plate_is_not_read_beyond_the_nearest_annotations() -> None:
    scene = Scene(first=3)
    propagate(scene, [3, 6, 9, 12], range(4, 6))
    assert set(scene.reads) == {3, 4, 5, 6}


def test_an_absent_object_stays_absent_between_two_such_frames() -> None:
    scene, nothing = Scene(), np.zeros((HEIGHT, WIDTH), np.float32)
    annotations = {0: {"square": nothing}, 4: {"square": nothing}}
    results = list(WarpEngine().propagate(scene, annotations, ["square"], range(5), cancelled=lambda: False))
    assert len(results) == 5
    assert max(float(result.mattes.max()) for result in results) == 0.0


def test_a_wide_feather_stays_wide() -> None:
    scene = Scene()
    feathered = cv2.GaussianBlur(scene.truth(0), (0, 0), 5)
    (result,) = WarpEngine().propagate(scene, {0: {"square": feathered}}, ["square"], [1], cancelled=lambda: False)
    drawn, carried = (int(((matte > 0.1) & (matte < 0.9)).sum()) for matte in (feathered, result.mattes[0]))
    assert carried > 0.6 * drawn


def test_a_hard_edge_stays_hard_over_many_frames() -> None:
    scene = Scene()
    result = propagate(scene, [0, 12], range(13))[6]
    soft = int(((result.mattes[0] > 0.1) & (result.mattes[0] < 0.9)).sum())
    # Carried six frames from either side, without sharpening, the edge is some 6 px wide; a plate's edge is about 2.
    assert soft < 3 * 4 * SIDE


def test_results_are_mattes_and_confidences_in_the_unit_range_with_times_by_phase() -> None:
    scene = Scene()
    results = propagate(scene, [0, 4], range(5))
    result = results[2]
    for values in (result.mattes, result.confidence):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1
    assert result.confidence.shape == scene.size
    phases = {phase for result in results.values() for phase in result.timings_s}
    assert phases == {"flow", "warp", "colour", "edges"}


def test_confidence_is_lower_where_the_background_was_uncovered_than_inside() -> None:
    scene = Scene()
    confidence = propagate(scene, [0], range(0, 9))[8].confidence
    inside = confidence[scene.truth(8) > 0].mean()
    edge = cv2.morphologyEx(scene.truth(8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    assert confidence[edge].mean() < 0.8 * inside


def test_edges_may_be_left_as_carried() -> None:
    scene = Scene()
    refined, plain = (
        propagate(scene, [0], range(1, 2), engine=WarpEngine(refine_edges=refine))[1].mattes for refine in (True, False)
    )
    assert not np.array_equal(refined, plain)
    assert region_j(plain[0], scene.truth(1)) > 0.9


def test_cancelling_ends_the_results_quietly_and_keeps_those_made() -> None:
    scene, results = Scene(), []
    annotations = {0: {"square": scene.truth(0)}}
    for result in WarpEngine().propagate(
        scene, annotations, ["square"], range(13), cancelled=lambda: len(results) == 3
    ):
        results.append(result.frame)
    assert results == [0, 1, 2]


def test_a_gap_is_finished_before_the_next_is_read() -> None:
    scene = Scene()
    annotations = {frame: {"square": scene.truth(frame)} for frame in (0, 4, 8)}
    results = WarpEngine().propagate(scene, annotations, ["square"], range(9), cancelled=lambda: False)
    order = [next(results).frame for _ in range(6)]
    assert order == [0, 4, 8, 3, 2, 1]
    assert set(scene.reads) == {0, 1, 2, 3, 4}


def test_the_gap_under_the_artists_eye_is_made_first_then_the_others_by_distance() -> None:
    scene = Scene()
    annotations = {frame: {"square": scene.truth(frame)} for frame in (0, 3, 6, 9, 12)}
    results = WarpEngine().propagate(scene, annotations, ["square"], range(13), cancelled=lambda: False, focus=7)
    order = [result.frame for result in results]
    assert order == [8, 7, 6, 9, 5, 4, 11, 10, 3, 12, 2, 1, 0]


def test_neither_the_focus_nor_the_range_changes_a_result() -> None:
    """So a farm's chunks fit together, and one frame can be made again by itself."""
    scene = Scene()
    annotations = {
        0: {"square": scene.truth(0), "second": scene.second(0)},
        4: {"square": scene.truth(4)},
        9: {"square": scene.truth(9), "second": scene.second(9)},
    }

    def run(frames: range, focus: int | None) -> dict[int, PropagatedFrame]:
        engine = WarpEngine()
        objects = ["square", "second"]
        results = engine.propagate(scene, annotations, objects, frames, cancelled=lambda: False, focus=focus)
        return {result.frame: result for result in results}

    whole = run(range(11), None)
    for frames, focus in [(range(11), 6), (range(6, 8), None), (range(2, 4), 3), (range(10, 11), 0)]:
        for frame, result in run(frames, focus).items():
            assert result.mattes.tobytes() == whole[frame].mattes.tobytes(), (frames, focus, frame)
            assert result.confidence.tobytes() == whole[frame].confidence.tobytes()
            assert result.disagreement == whole[frame].disagreement


def test_sides_that_agree_disagree_little_and_contradicting_annotations_much() -> None:
    scene = Scene()
    agreeing = propagate(scene, [0, 4], range(5))
    assert agreeing[0].disagreement is None
    assert 0 <= agreeing[2].disagreement < 0.2
    contradicting = {0: {"a": scene.truth(0)}, 4: {"a": scene.second(4)}}
    results = WarpEngine().propagate(scene, contradicting, ["a"], range(5), cancelled=lambda: False)
    assert {result.frame: result for result in results}[2].disagreement > 0.4
    assert propagate(scene, [0], range(2))[1].disagreement is None


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_plate_without_texture_keeps_the_matte_where_it_was(value: float) -> None:
    class Flat:
        size = (40, 60)

        def image(self, frame: int) -> np.ndarray:
            return np.full((40, 60, 3), value, np.float32)

    matte = np.zeros((40, 60), np.float32)
    matte[10:30, 20:40] = 1.0
    (result,) = WarpEngine().propagate(Flat(), {0: {"a": matte}}, ["a"], [1], cancelled=lambda: False)
    assert region_j(result.mattes[0], matte) > 0.9


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (17, 5)])
def test_tiny_plates_work(size: tuple[int, int]) -> None:
    class Tiny:
        def __init__(self) -> None:
            self.size = size

        def image(self, frame: int) -> np.ndarray:
            return np.random.default_rng(frame).random((*size, 3)).astype(np.float32)

    matte = np.ones(size, np.float32)
    annotations = {0: {"a": matte}, 3: {"a": matte}}
    results = list(WarpEngine().propagate(Tiny(), annotations, ["a"], range(4), cancelled=lambda: False))
    assert sorted(result.frame for result in results) == [0, 1, 2, 3]
    assert all(result.mattes.shape == (1, *size) for result in results)


def test_a_long_gap_does_not_depend_on_what_the_cache_still_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    roomy = propagate(scene, [0, 8], range(9))
    monkeypatch.setattr("rotomem.propagation.flow.CACHE_BYTES", 1)
    monkeypatch.setattr("rotomem.propagation.warp_engine.WAITING_BYTES", 10_000)
    tight = propagate(scene, [0, 8], range(9))
    for frame in range(9):
        assert np.array_equal(roomy[frame].mattes, tight[frame].mattes)


@pytest.mark.parametrize("engine", [CopyEngine(), WarpEngine()], ids=["copy", "warp"])
def test_an_object_without_annotation_is_an_error_that_names_it(engine: Engine) -> None:
    with pytest.raises(AnnotationError, match="'lamp'"):
        list(engine.propagate(Scene(), {0: {}}, ["lamp"], range(3), cancelled=lambda: False))


def test_copying_takes_the_nearest_annotation_of_each_object_and_never_reads_the_plate() -> None:
    scene = Scene()
    early, late = scene.truth(0), scene.truth(4)
    annotations = {0: {"a": early, "b": late}, 4: {"a": late}}
    results = list(CopyEngine().propagate(scene, annotations, ["a", "b"], range(6), cancelled=lambda: False))
    assert [np.array_equal(result.mattes[0], early) for result in results] == [True, True, True, False, False, False]
    assert all(np.array_equal(result.mattes[1], late) for result in results)
    assert [float(result.confidence[0, 0]) for result in results] == pytest.approx(
        [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5, 1 / 6]
    )
    assert scene.reads == []


def test_copying_starts_at_the_focus() -> None:
    scene = Scene()
    results = CopyEngine().propagate(
        scene, {0: {"a": scene.truth(0)}}, ["a"], range(5), cancelled=lambda: False, focus=3
    )
    assert [result.frame for result in results] == [3, 2, 4, 1, 0]
