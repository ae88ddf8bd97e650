"""What a pass over a shot does with annotated frames; each fault of specs/xmem.md §3 has its test here or beside."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from rotomem.errors import AnnotationError, AnnotationSizeError, PlateSizeError
from rotomem.vos import InferenceCore, MemoryConfig, Network
from rotomem.vos.aggregate import aggregate

EVERY_SECOND = MemoryConfig(mem_every=2, top_k=5)
COMPRESSING = MemoryConfig(
    mem_every=1, min_mid_term_frames=1, max_mid_term_frames=3, num_prototypes=6, max_long_term_elements=16, top_k=5
)


def run(
    core: InferenceCore, images: Tensor, frames: Sequence[int], given: dict[int, Tensor] | None = None
) -> list[Tensor]:
    given = given or {}
    return [core.step(frame, images[frame], given.get(frame), last=frame == frames[-1]) for frame in frames]


def fresh(
    network: Network, images: Tensor, given: dict[int, Tensor], config: MemoryConfig = EVERY_SECOND
) -> InferenceCore:
    core = InferenceCore(network, config, len(next(iter(given.values()))))
    for frame, masks in given.items():
        core.memorize(frame, images[frame], masks)
    return core


def test_the_stand_in_network_shows_a_changed_annotation(network: Network, images: Tensor, masks: Tensor) -> None:
    # Otherwise the comparisons below would hold whatever is in memory.
    one = run(fresh(network, images, {0: masks[0], 4: masks[4], 8: masks[8]}), images, range(1, 4))
    other = run(fresh(network, images, {0: masks[0], 4: masks[5], 8: masks[8]}), images, range(1, 4))
    for a, b in zip(one, other, strict=True):
        assert (a - b).abs().max() > 0.01


def assert_same(one: Sequence[Tensor], other: Sequence[Tensor]) -> None:
    for index, (a, b) in enumerate(zip(one, other, strict=True)):
        torch.testing.assert_close(a, b, rtol=0, atol=5e-5, msg=lambda text, i=index: f"step {i}: {text}")


def test_an_annotated_frame_returns_its_aggregated_masks(network: Network, images: Tensor, masks: Tensor) -> None:
    core = fresh(network, images, {3: masks[3]})
    probability = core.step(3, images[3], masks[3])
    assert probability.shape == (3, 40, 56)
    torch.testing.assert_close(probability, aggregate(masks[3][None])[0])


def test_probabilities_sum_to_one_and_are_soft(network: Network, images: Tensor, masks: Tensor) -> None:
    probability = fresh(network, images, {0: masks[0]}).step(1, images[1])
    torch.testing.assert_close(probability.sum(dim=0), torch.ones(40, 56))
    assert len(probability.unique()) > 1000


def test_frames_before_the_first_annotation_are_reached(network: Network, images: Tensor, masks: Tensor) -> None:
    core = fresh(network, images, {11: masks[11]})
    results = run(core, images, range(11, -1, -1), {11: masks[11]})
    assert all(torch.isfinite(result).all() for result in results)


def test_replacing_a_frame_leaves_the_other_frames_alone(network: Network, images: Tensor, masks: Tensor) -> None:
    # Published: the second frame's index comes out as 0, so that replacing it overwrites the first.
    core = fresh(network, images, {0: masks[0], 4: masks[4], 8: masks[8]})
    core.memorize(4, images[4], masks[5])
    expected = fresh(network, images, {0: masks[0], 4: masks[5], 8: masks[8]})
    assert_same(run(core, images, range(1, 8)), run(expected, images, range(1, 8)))


def test_replacing_a_frame_keeps_each_objects_own_value(network: Network, images: Tensor, masks: Tensor) -> None:
    # Published: after a replacement all objects hold the first one's value.
    core = fresh(network, images, {0: masks[0]})
    core.memorize(0, images[0], masks[1])
    value = core.memory.permanent.value_of(0)
    assert not torch.allclose(value[:, 0], value[:, 1])
    assert_same(run(core, images, range(1, 4)), run(fresh(network, images, {0: masks[1]}), images, range(1, 4)))


@pytest.mark.parametrize("forgotten", [0, 4, 8])
def test_forgetting_removes_exactly_that_frame(network: Network, images: Tensor, masks: Tensor, forgotten: int) -> None:
    # Published: elements [i, i + h*w) go instead of [i * h*w, (i + 1) * h*w).
    frames = [0, 4, 8]
    core = fresh(network, images, {frame: masks[frame] for frame in frames})
    core.forget(forgotten)
    expected = fresh(network, images, {frame: masks[frame] for frame in frames if frame != forgotten})
    assert_same(run(core, images, range(1, 4)), run(expected, images, range(1, 4)))


def test_frames_can_be_replaced_and_forgotten_after_one_was_forgotten(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    # Published: later indices are left stale.
    core = fresh(network, images, {frame: masks[frame] for frame in (0, 4, 8, 10)})
    core.forget(0)
    core.memorize(8, images[8], masks[9])
    core.forget(4)
    core.memorize(2, images[2], masks[2])
    expected = fresh(network, images, {8: masks[9], 10: masks[10], 2: masks[2]})
    assert_same(run(core, images, range(3, 7)), run(expected, images, range(3, 7)))


def test_forgetting_what_is_not_there_says_so(network: Network, images: Tensor, masks: Tensor) -> None:
    core = fresh(network, images, {0: masks[0]})
    with pytest.raises(AnnotationError, match=r"frame 7 is not among the annotated frames \[0\]"):
        core.forget(7)


def test_nothing_annotated_says_so(network: Network, images: Tensor, masks: Tensor) -> None:
    core = InferenceCore(network, num_objects=2)
    with pytest.raises(AnnotationError, match="frame 1 cannot be segmented: no frame is annotated"):
        core.step(1, images[1])
    core.memorize(0, images[0], masks[0])
    core.step(1, images[1])
    core.clear_temporary()
    core.forget(0)
    with pytest.raises(AnnotationError, match="no frame is annotated"):
        core.step(2, images[2])


def test_an_annotation_reached_in_sequence_is_memorised(network: Network, images: Tensor, masks: Tensor) -> None:
    core = InferenceCore(network, EVERY_SECOND, 2)
    results = [core.step(0, images[0], masks[0]), core.step(1, images[1])]
    expected = fresh(network, images, {0: masks[0]})
    assert_same(results, run(expected, images, (0, 1), {0: masks[0]}))
    core.step(0, images[0], masks[2])
    assert torch.equal(core.memory.permanent[0].masks, masks[2])


def test_values_of_annotated_frames_are_encoded_once(network: Network, images: Tensor, masks: Tensor) -> None:
    # Published: encoded again when the frame is reached, and thrown away.
    values: list[int] = []
    keys: list[int] = []
    network.value_encoder.register_forward_hook(lambda *_: values.append(1))
    network.key_encoder.register_forward_hook(lambda *_: keys.append(1))
    core = fresh(network, images, {0: masks[0], 2: masks[2]}, MemoryConfig(mem_every=100))
    run(core, images, range(4), {0: masks[0], 2: masks[2]})
    assert len(values) == 2
    assert len(keys) == 4


def test_annotated_frames_are_not_added_to_working_memory(network: Network, images: Tensor, masks: Tensor) -> None:
    given = {0: masks[0], 3: masks[3]}
    core = fresh(network, images, given)  # every second frame
    held = []
    for frame in range(7):
        core.step(frame, images[frame], given.get(frame))
        held.append(core.memory.working.frame_count)
    # Memorised: 2 (two after 0), 5 (two after the annotated 3)
    assert held == [0, 0, 1, 1, 1, 2, 2]


def test_the_count_starts_at_the_first_frame_though_it_is_not_annotated(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    core = fresh(network, images, {11: masks[11]})
    held = []
    for frame in range(5):
        core.step(frame, images[frame])
        held.append(core.memory.working.frame_count)
    assert held == [0, 0, 1, 1, 2]


def test_the_last_frame_is_not_memorised(network: Network, images: Tensor, masks: Tensor) -> None:
    core = fresh(network, images, {0: masks[0]}, MemoryConfig(mem_every=1))
    core.step(0, images[0], masks[0])
    core.step(1, images[1], last=True)
    assert core.memory.working.frame_count == 0


def test_another_pass_starts_clean(network: Network, images: Tensor, masks: Tensor) -> None:
    core = fresh(network, images, {0: masks[0], 11: masks[11]}, COMPRESSING)
    first = run(core, images, range(1, 11))
    core.clear_temporary()
    assert core.memory.working.frame_count == core.memory.long_term.elements.size == 0
    assert_same(run(core, images, range(1, 11)), first)


def test_branches_share_annotations_alone(network: Network, images: Tensor, masks: Tensor) -> None:
    core = InferenceCore(network, EVERY_SECOND, 2)
    branch = core.branch()
    core.memorize(0, images[0], masks[0])
    core.memorize(11, images[11], masks[11])
    run(branch, images, range(10, 0, -1))
    assert core.memory.working.frame_count == 0
    expected = fresh(network, images, {0: masks[0], 11: masks[11]})
    assert_same(run(core, images, range(1, 5)), run(expected, images, range(1, 5)))


def test_the_order_of_objects_does_not_matter(network: Network, images: Tensor, masks: Tensor) -> None:
    # Published: labels in any order but ascending fail an assertion.
    forward = run(fresh(network, images, {0: masks[0], 6: masks[6]}), images, range(1, 6))
    swapped = fresh(network, images, {0: masks[0].flip(0), 6: masks[6].flip(0)})
    assert_same([result[[0, 2, 1]] for result in run(swapped, images, range(1, 6))], forward)


def test_half_precision_is_close(network: Network, images: Tensor, masks: Tensor) -> None:
    core = InferenceCore(network, COMPRESSING, 2, autocast=torch.bfloat16)
    core.memorize(0, images[0], masks[0])
    results = run(core, images, range(8), {0: masks[0]})
    expected = run(fresh(network, images, {0: masks[0]}, COMPRESSING), images, range(8), {0: masks[0]})
    for result, exact in zip(results, expected, strict=True):
        assert result.dtype == torch.float32
        assert (result - exact).abs().mean() < 0.02


def test_phases_are_timed(network: Network, images: Tensor, masks: Tensor) -> None:
    core = fresh(network, images, {0: masks[0]})
    assert core.timings_s["encode_key"] > 0
    assert core.timings_s["encode_value"] > 0
    core.step(1, images[1])
    assert set(core.timings_s) == {"encode_key", "memory_read", "decode", "encode_value"}
    assert core.timings_s["decode"] > 0
    assert core.timings_s["encode_value"] == 0


def test_bad_masks_and_images_are_refused(network: Network, images: Tensor, masks: Tensor) -> None:
    core = InferenceCore(network, num_objects=2)
    with pytest.raises(AnnotationSizeError, match=r"frame 5 have shape \(1, 40, 56\); \(2, 40, 56\) is needed"):
        core.memorize(5, images[5], masks[5, :1])
    with pytest.raises(AnnotationError, match="frame 5 leave"):
        core.memorize(5, images[5], 255 * masks[5])
    with pytest.raises(AnnotationError, match="frame 5 leave"):
        core.memorize(5, images[5], masks[5] * torch.nan)
    with pytest.raises(AnnotationError, match="at least one"):
        core.memorize(5, images[5], masks[5], known=[False, False])
    core.memorize(5, images[5], masks[5])
    with pytest.raises(PlateSizeError, match="frame 6 is"):
        core.step(6, images[6, :, :32])
    with pytest.raises(PlateSizeError, match="3 channels"):
        core.step(6, images[6, :1])


def test_sensory_memory_carries_on_from_frame_to_frame(network: Network, images: Tensor, masks: Tensor) -> None:
    core = fresh(network, images, {0: masks[0]}, MemoryConfig(mem_every=100))
    first, second = core.step(1, images[1]), core.step(1, images[1])
    assert (first - second).abs().max() > 1e-3
    core.clear_temporary()
    torch.testing.assert_close(core.step(1, images[1]), first)


def test_an_objects_value_depends_on_the_other_objects(network: Network, images: Tensor, masks: Tensor) -> None:
    both = fresh(network, images, {0: masks[0]}).memory.permanent.value_of(0)
    without = masks[0] * torch.tensor([1.0, 0.0])[:, None, None]
    alone = fresh(network, images, {0: without}).memory.permanent.value_of(0)
    assert (both[:, 0] - alone[:, 0]).abs().max() > 0.01


def test_an_annotated_frame_renews_sensory_memory_from_its_value(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    core = fresh(network, images, {0: masks[0]})
    core.step(0, images[0], masks[0])
    with torch.inference_mode():
        expected = network.reinforce_hidden(core.memory.permanent.value_of(0), torch.zeros(1, 2, 4, 3, 4))
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(core._hidden, expected)


@pytest.mark.parametrize("annotated", [True, False])
def test_the_last_frame_leaves_sensory_memory_alone(
    network: Network, images: Tensor, masks: Tensor, annotated: bool
) -> None:
    core = fresh(network, images, {0: masks[0]}, MemoryConfig(mem_every=1))
    core.step(0, images[0], masks[0] if annotated else None, last=True)
    assert core._hidden is not None
    assert not core._hidden.any()


def test_fewer_elements_than_top_k_are_read_in_full(network: Network, images: Tensor, masks: Tensor) -> None:
    # One annotated frame has 3 x 4 elements; the published code raises.
    few = fresh(network, images, {0: masks[0]}, MemoryConfig(mem_every=100, top_k=1000))
    exact = fresh(network, images, {0: masks[0]}, MemoryConfig(mem_every=100, top_k=12))
    assert_same(run(few, images, range(1, 4)), run(exact, images, range(1, 4)))
