from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from rotomem.errors import AnnotationError, AnnotationSizeError, SettingError, WeightsCorruptError, WeightsMismatchError
from rotomem.propagation.engine import Annotations, Image, PropagatedFrame
from rotomem.propagation.feature_folder import FeatureFolder
from rotomem.propagation.network_frames import network_masks, network_size, plate_mattes
from rotomem.propagation.object_groups import group_disjoint
from rotomem.propagation.pass_blending import HeldPass, blend_passes, certainty, forward_weight
from rotomem.propagation.xmem_engine import XMemEngine, XMemSettings
from rotomem.vos import FeatureCache, MemoryConfig, Network, save_weights
from tiny_networks import TINY, random_network

SIZE = (60, 90)


class Shot:
    """Random frames, and which of them were read."""

    size = SIZE

    def __init__(self) -> None:
        self.read: list[int] = []

    def image(self, frame: int) -> Image:
        self.read.append(frame)
        return np.random.default_rng(frame).random((*SIZE, 3), dtype=np.float32)


def matte_at(column: int) -> Image:
    matte = np.zeros(SIZE, np.float32)
    matte[20:40, column : column + 20] = 0.75
    return matte


@pytest.fixture
def engine() -> XMemEngine:
    settings = XMemSettings(processing_size=32, memory=MemoryConfig(mem_every=2))
    return XMemEngine(random_network(), weights_sha256="0" * 64, device="cpu", settings=settings)


def run(
    engine: XMemEngine,
    annotations: Annotations,
    frames: range,
    *,
    objects: tuple[str, ...] = ("hero",),
    shot: Shot | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    focus: int | None = None,
) -> list[PropagatedFrame]:
    return list(engine.propagate(shot or Shot(), annotations, objects, frames, cancelled=cancelled, focus=focus))


def by_frame(results: list[PropagatedFrame]) -> Mapping[int, PropagatedFrame]:
    return {result.frame: result for result in results}


def test_each_frame_comes_once_with_soft_mattes_at_plate_size(engine: XMemEngine) -> None:
    results = run(engine, {1004: {"hero": matte_at(10)}, 1008: {"hero": matte_at(50)}}, range(1001, 1012))
    assert sorted(result.frame for result in results) == list(range(1001, 1012))
    for result in results:
        assert result.mattes.shape == (1, *SIZE)
        assert result.mattes.dtype == result.confidence.dtype == np.float32
        assert result.confidence.shape == SIZE
        assert 0 <= result.mattes.min() <= result.mattes.max() <= 1
        assert 0 <= result.confidence.min() <= result.confidence.max() <= 1
        assert result.annotated == (result.frame in (1004, 1008))
        if not result.annotated:
            assert len(np.unique(result.mattes)) > 100


def test_the_artists_matte_comes_back_bit_for_bit(engine: XMemEngine) -> None:
    matte = np.random.default_rng(0).random(SIZE, dtype=np.float32)
    result = by_frame(run(engine, {3: {"hero": matte}}, range(1, 6)))[3]
    assert np.array_equal(result.mattes[0], matte)
    assert (result.confidence == 1).all()


def test_annotated_frames_come_first_then_gap_by_gap(engine: XMemEngine) -> None:
    order = [result.frame for result in run(engine, {3: {"hero": matte_at(0)}, 6: {"hero": matte_at(9)}}, range(1, 9))]
    # Frames before the first annotation are reached backward, between two forward once the backward pass is done.
    assert order == [3, 6, 2, 1, 4, 5, 7, 8]


def test_the_gap_under_the_artists_eye_comes_first_and_nothing_else_changes(engine: XMemEngine) -> None:
    annotations = {3: {"hero": matte_at(0)}, 6: {"hero": matte_at(9)}, 12: {"hero": matte_at(40)}}
    plain = run(engine, annotations, range(1, 15))
    focused = run(engine, annotations, range(1, 15), focus=8)
    assert [result.frame for result in focused] == [3, 6, 12, 7, 8, 9, 10, 11, 4, 5, 13, 14, 2, 1]
    assert_equal(by_frame(focused), by_frame(plain), range(1, 15))


def test_a_part_of_the_range_is_made_as_in_the_whole(engine: XMemEngine) -> None:
    # What is left of a cancelled job joins what it had made without a jump.
    objects = ("left", "right")
    annotations = {
        3: {"left": matte_at(0), "right": matte_at(50)},
        6: {"left": matte_at(4)},
        9: {"right": matte_at(60)},
    }
    whole = by_frame(run(engine, annotations, range(1, 15), objects=objects))
    for part in (range(1, 3), range(5, 8), range(11, 15)):
        results = by_frame(run(engine, annotations, part, objects=objects))
        assert sorted(results) == list(part)
        assert_equal(results, whole, part)


def assert_equal(
    results: Mapping[int, PropagatedFrame], expected: Mapping[int, PropagatedFrame], frames: range
) -> None:
    for frame in frames:
        assert np.array_equal(results[frame].mattes, expected[frame].mattes), frame
        assert np.array_equal(results[frame].confidence, expected[frame].confidence), frame
        assert results[frame].disagreement == expected[frame].disagreement


def test_disagreement_is_told_where_both_sides_are_drawn(engine: XMemEngine) -> None:
    annotations = {1: {"hero": matte_at(0)}, 6: {"hero": matte_at(60)}}
    results = by_frame(run(engine, annotations, range(1, 9)))
    one_side = [results[frame].disagreement for frame in (1, 6, 7, 8)]
    assert one_side == [None] * 4
    between = [results[frame].disagreement for frame in range(2, 6)]
    assert all(figure is not None and 0 < figure < 1 for figure in between)


class DrawnWhenAsked(Mapping[str, Image]):
    """A frame's mattes, unpacked at every look; ``open`` are those that someone holds."""

    open: ClassVar[int] = 0
    most_open: ClassVar[int] = 0

    def __init__(self, column: int) -> None:
        self._column = column

    def __getitem__(self, name: str) -> Image:
        matte = matte_at(self._column)
        cls = DrawnWhenAsked
        cls.open += 1
        cls.most_open = max(cls.open, cls.most_open)
        weakref.finalize(matte, self._close)
        return matte

    @staticmethod
    def _close() -> None:
        DrawnWhenAsked.open -= 1

    def __contains__(self, name: object) -> bool:
        return name == "hero"

    def __iter__(self) -> Iterator[str]:
        return iter(["hero"])

    def __len__(self) -> int:
        return 1


def test_annotated_mattes_are_not_held_at_plate_size(engine: XMemEngine) -> None:
    annotations = {frame: DrawnWhenAsked(frame) for frame in range(1, 13)}
    results = by_frame(run(engine, annotations, range(1, 14)))
    assert np.array_equal(results[9].mattes[0], matte_at(9))
    assert DrawnWhenAsked.most_open <= 2


def test_frames_encoded_on_disk_serve_the_next_process(engine: XMemEngine, tmp_path: Path) -> None:
    annotations = {1: {"hero": matte_at(0)}, 6: {"hero": matte_at(9)}}
    engine.feature_folder = FeatureFolder(tmp_path / "features", max_bytes=1 << 24)
    first = by_frame(run(engine, annotations, range(1, 8)))

    other = XMemEngine(random_network(), weights_sha256="0" * 64, device="cpu", settings=engine.settings)
    other.feature_folder = engine.feature_folder
    encoded: list[int] = []
    other._network.key_encoder.register_forward_hook(lambda *_: encoded.append(1))
    assert_equal(by_frame(run(other, annotations, range(1, 8))), first, range(1, 8))
    assert encoded == []


def test_the_folder_of_encoded_frames_is_bounded_and_each_shots_own(engine: XMemEngine, tmp_path: Path) -> None:
    annotations = {1: {"hero": matte_at(0)}}
    engine.feature_folder = FeatureFolder(tmp_path / "one", max_bytes=1 << 24)
    run(engine, annotations, range(1, 8))
    whole = sum(path.stat().st_size for path in (tmp_path / "one").iterdir())
    engine.feature_folder = FeatureFolder(tmp_path / "other", max_bytes=whole // 2)
    run(engine, annotations, range(1, 8))
    assert whole // 4 < sum(path.stat().st_size for path in (tmp_path / "other").iterdir()) <= whole // 2
    engine.feature_folder = None
    run(engine, {2: {"hero": matte_at(0)}}, range(1, 20))
    assert sum(path.stat().st_size for path in (tmp_path / "one").iterdir()) == whole


@pytest.mark.parametrize("annotated", [1, 9, 5])
def test_one_annotation_anywhere_reaches_every_frame(engine: XMemEngine, annotated: int) -> None:
    results = run(engine, {annotated: {"hero": matte_at(20)}}, range(1, 10))
    assert sorted(result.frame for result in results) == list(range(1, 10))


def test_annotations_outside_the_range_are_used(engine: XMemEngine) -> None:
    inside = by_frame(run(engine, {0: {"hero": matte_at(0)}}, range(5, 8)))
    with_another = by_frame(run(engine, {0: {"hero": matte_at(0)}, 9: {"hero": matte_at(60)}}, range(5, 8)))
    assert sorted(inside) == sorted(with_another) == [5, 6, 7]
    assert not np.allclose(inside[7].mattes, with_another[7].mattes, atol=1e-3)


def test_several_objects_keep_a_matte_each(engine: XMemEngine) -> None:
    annotations = {1: {"left": matte_at(5), "right": matte_at(60)}}
    results = by_frame(run(engine, annotations, range(1, 5), objects=("left", "right")))
    assert results[3].mattes.shape == (2, *SIZE)
    assert not np.allclose(results[3].mattes[0], results[3].mattes[1], atol=1e-2)
    assert np.array_equal(results[1].mattes, np.stack([matte_at(5), matte_at(60)]))


def test_an_object_first_annotated_mid_shot_is_found_before_and_after(engine: XMemEngine) -> None:
    annotations = {1: {"left": matte_at(5)}, 4: {"right": matte_at(60)}, 7: {"left": matte_at(15)}}
    results = by_frame(run(engine, annotations, range(1, 9), objects=("left", "right")))
    assert sorted(results) == list(range(1, 9))
    assert np.array_equal(results[4].mattes[1], matte_at(60))
    assert np.array_equal(results[1].mattes[0], matte_at(5))
    assert results[4].annotated
    assert (results[4].confidence < 1).any()
    assert len(np.unique(results[4].mattes[0])) > 100  # segmented there, not taken for absent
    assert all(np.isfinite(result.mattes).all() for result in results.values())


def test_a_part_may_overlap_its_whole(engine: XMemEngine) -> None:
    person, arm = matte_at(20), matte_at(20)
    arm[:, 30:] = 0
    apart = {"person": person, "arm": arm, "car": matte_at(60)}
    assert group_disjoint({1: apart}, ["person", "arm", "car"]) == [[0, 2], [1]]
    annotations: Annotations = {1: {"person": person, "arm": arm}}
    together = by_frame(run(engine, annotations, range(1, 4), objects=("person", "arm")))
    alone = by_frame(run(engine, {1: {"person": person}}, range(1, 4), objects=("person",)))
    np.testing.assert_allclose(together[3].mattes[0], alone[3].mattes[0], atol=1e-5)


def test_touching_objects_compete_in_one_group() -> None:
    assert group_disjoint({1: {"a": matte_at(10), "b": matte_at(29)}}, ["a", "b"]) == [[0, 1]]


def test_phases_are_timed_for_each_frame(engine: XMemEngine) -> None:
    results = by_frame(run(engine, {1: {"hero": matte_at(0)}, 4: {"hero": matte_at(9)}}, range(1, 5)))
    assert set(results[2].timings_s) == {"encode_key", "memory_read", "decode", "encode_value"}
    assert results[2].timings_s["decode"] > 0
    assert results[1].timings_s["encode_value"] > 0


def test_each_frame_is_encoded_once_for_both_directions_and_the_next_round(engine: XMemEngine) -> None:
    calls: list[int] = []
    engine._network.key_encoder.register_forward_hook(lambda *_: calls.append(1))
    shot = Shot()
    run(engine, {1: {"hero": matte_at(0)}, 6: {"hero": matte_at(9)}}, range(1, 7), shot=shot)
    assert len(calls) == 6
    assert sorted(shot.read) == list(range(1, 7))
    run(engine, {1: {"hero": matte_at(0)}, 4: {"hero": matte_at(3)}, 6: {"hero": matte_at(9)}}, range(1, 7))
    assert len(calls) == 6


def test_a_round_with_one_more_annotation_encodes_no_key_again_in_little_memory(engine: XMemEngine) -> None:
    annotations = {1: {"hero": matte_at(0)}, 20: {"hero": matte_at(60)}}
    more = {**annotations, 12: {"hero": matte_at(30)}}
    run(engine, annotations, range(1, 21))
    whole = engine._features.byte_count
    expected = by_frame(run(engine, more, range(1, 21)))

    keys: list[int] = []
    engine._network.key_proj.register_forward_hook(lambda *_: keys.append(1))
    engine._features = FeatureCache(whole * 4 // 5)  # all keys fit, and a part of the finer features
    run(engine, annotations, range(1, 21))
    assert len(keys) == 20
    results = by_frame(run(engine, more, range(1, 21)))
    assert len(keys) == 20
    assert engine._features.byte_count <= whole * 4 // 5
    for frame, result in results.items():
        np.testing.assert_allclose(result.mattes, expected[frame].mattes, rtol=0, atol=1e-5)


def test_weights_that_need_the_flow_cue_are_refused() -> None:
    network = Network(dataclasses.replace(TINY, prior_channels=4, prior_width=8))
    with pytest.raises(WeightsMismatchError, match="weights abcdef need the flow cue"):
        XMemEngine(network, weights_sha256="abcdef", device="cpu")


def test_rounds_do_not_depend_on_each_other(engine: XMemEngine) -> None:
    annotations = {1: {"hero": matte_at(0)}, 6: {"hero": matte_at(9)}}
    first = by_frame(run(engine, annotations, range(1, 7)))
    run(engine, {3: {"hero": matte_at(40)}}, range(1, 7))
    again = by_frame(run(engine, annotations, range(1, 7)))
    for frame, result in first.items():
        assert np.array_equal(result.mattes, again[frame].mattes)


def test_cancelling_keeps_what_is_made_and_stops(engine: XMemEngine) -> None:
    made: list[int] = []
    stream = engine.propagate(
        Shot(), {1: {"hero": matte_at(0)}}, ["hero"], range(1, 20), cancelled=lambda: len(made) >= 4
    )
    for result in stream:
        made.append(result.frame)
    assert made == [1, 2, 3, 4]


def test_a_cancelled_backward_pass_yields_nothing_more(engine: XMemEngine) -> None:
    shot = Shot()
    annotations = {1: {"hero": matte_at(0)}, 9: {"hero": matte_at(9)}}
    results = run(engine, annotations, range(1, 10), shot=shot, cancelled=lambda: len(shot.read) >= 4)
    assert [result.frame for result in results] == [1, 9]


def test_an_empty_range_makes_nothing(engine: XMemEngine) -> None:
    assert run(engine, {1: {"hero": matte_at(0)}}, range(5, 5)) == []


@pytest.mark.parametrize(
    ("annotations", "error", "sentence"),
    [
        ({}, AnnotationError, "no frame is annotated"),
        ({4: {}}, AnnotationError, "no frame is annotated"),
        ({4: {"other": matte_at(0)}}, AnnotationError, "object 'hero' is annotated on no frame"),
        ({4: {"hero": np.zeros((30, 90), np.float32)}}, AnnotationSizeError, "frame 4 is 90 x 30 pixels"),
    ],
)
def test_annotations_that_cannot_be_used_are_named(
    engine: XMemEngine, annotations: Annotations, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        run(engine, annotations, range(1, 5))


def test_unknown_devices_and_sizes_are_refused() -> None:
    with pytest.raises(SettingError, match="not a device"):
        XMemEngine(Network(TINY), weights_sha256="", device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(SettingError, match="is not there"):
            XMemEngine(Network(TINY), weights_sha256="", device="cuda:0")
    with pytest.raises(SettingError, match="processing size"):
        XMemSettings(processing_size=8)


def test_an_engine_names_the_weights_it_was_loaded_from(tmp_path: Path) -> None:
    path = tmp_path / "tiny.safetensors"
    sha256 = save_weights(Network(TINY).state_dict(), path, TINY)
    engine = XMemEngine.from_weights(path, device="cpu")
    assert (engine.name, engine.weights_sha256) == ("xmem", sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsCorruptError):
        XMemEngine.from_weights(path)


def test_network_size_shrinks_the_shorter_side_and_never_enlarges() -> None:
    assert network_size(1080, 1920, 480) == (480, 853)
    assert network_size(1920, 1080, 480) == (853, 480)
    assert network_size(360, 640, 480) == (360, 640)


def test_thin_parts_keep_their_coverage_at_network_size() -> None:
    matte = np.zeros((1, 8, 8), np.float32)
    matte[0, :, 3] = 1  # one column of eight
    small = network_masks(matte, (2, 2))
    torch.testing.assert_close(small, torch.tensor([[[0.25, 0.0], [0.25, 0.0]]]))
    assert plate_mattes(small, (8, 8)).shape == (1, 8, 8)


def test_weights_follow_distance() -> None:
    annotated = [10, 20]
    assert [forward_weight(frame, annotated) for frame in (5, 10, 12, 15, 20, 30)] == [0, 1, 0.8, 0.5, 1, 1]


def test_the_certain_pass_wins_between_equally_near_annotations() -> None:
    # certainty(0.5) = 0 and certainty(1) = 1: shares 0.5 * 0.1 and 0.5 * 1.1
    masks, confidence = blend_passes(torch.full((1, 1, 1), 0.5), torch.ones(1, 1, 1), torch.tensor([0.5]))
    assert masks.item() == pytest.approx((0.1 * 0.5 + 1.1) / 1.2)
    assert confidence.item() == pytest.approx(certainty(masks).item() * 0.5)


def test_passes_that_contradict_each_other_are_not_trusted() -> None:
    masks, confidence = blend_passes(torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.tensor([0.5]))
    assert masks.item() == pytest.approx(0.5)
    assert confidence.item() == pytest.approx(0, abs=1e-6)


def test_one_sided_frames_take_their_pass_alone() -> None:
    masks, confidence = blend_passes(torch.ones(1, 1, 1), torch.zeros(1, 1, 1), torch.tensor([1.0]))
    assert (masks.item(), confidence.item()) == (1, 1)


def test_certainty_by_hand() -> None:
    # entropy of 1/4 in bits: 2 - 0.75 * log2(3)
    values = certainty(torch.tensor([0.0, 0.25, 0.5, 1.0]))
    assert values.tolist() == pytest.approx([1, 0.75 * np.log2(3) - 1, 0, 1], abs=1e-6)


@pytest.mark.parametrize("limit", [1 << 28, 0])
def test_a_held_pass_comes_back_from_memory_and_from_disk(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr("rotomem.propagation.pass_blending.MAX_HELD_BYTES", limit)
    masks = torch.rand(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    held = HeldPass(range(7, 10), (2, 4, 5))
    for frame in (9, 8, 7):
        held.put(frame, masks[frame - 7])
    for frame in (7, 8, 9):
        torch.testing.assert_close(held.get(frame, torch.device("cpu")), masks[frame - 7], rtol=0, atol=1 / 131070)


def test_values_of_annotated_frames_are_encoded_once_for_both_directions(engine: XMemEngine) -> None:
    calls: list[int] = []
    engine._network.value_encoder.register_forward_hook(lambda *_: calls.append(1))
    run(engine, {1: {"hero": matte_at(0)}, 3: {"hero": matte_at(9)}}, range(1, 4))
    assert len(calls) == 2
