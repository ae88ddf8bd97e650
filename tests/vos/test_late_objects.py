"""Objects that are first annotated in the middle of a shot, in any order and whatever was compressed before."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rotomem.errors import AnnotationSizeError
from rotomem.vos import InferenceCore, MemoryConfig, Network

COMPRESSING = MemoryConfig(
    mem_every=1, min_mid_term_frames=1, max_mid_term_frames=3, num_prototypes=6, max_long_term_elements=16, top_k=5
)
FIRST_ONLY = [True, False]


def test_an_object_never_reads_frames_on_which_it_is_unknown(network: Network, images: Tensor, masks: Tensor) -> None:
    # Frame 0 shows object 0 alone; for object 1 the memory is frame 6 and nothing else.
    core = InferenceCore(network, MemoryConfig(), 2)
    core.memorize(0, images[0], masks[0], known=FIRST_ONLY)
    core.memorize(6, images[6], masks[6])
    features = network.encode_key(core._padding.add(images[2])[None])

    alone = InferenceCore(network, MemoryConfig(), 2)
    alone.memorize(6, images[6], masks[6])
    with torch.inference_mode():
        both = core.memory.read(features, [0, 1])
        only_sixth = alone.memory.read(features, [0, 1])
    torch.testing.assert_close(both[:, 1], only_sixth[:, 1], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(both[:, 0], only_sixth[:, 0], atol=1e-3)


def test_unknown_is_not_absent(network: Network, images: Tensor, masks: Tensor) -> None:
    results = []
    for known in (FIRST_ONLY, None):
        core = InferenceCore(network, MemoryConfig(), 2)
        given = masks[0].clone()
        given[1] = 0
        core.memorize(0, images[0], given, known=known)
        core.memorize(6, images[6], masks[6])
        results.append(core.step(1, images[1])[2])
    assert not torch.allclose(results[0], results[1], atol=1e-4)


def test_the_order_of_annotating_does_not_matter(network: Network, images: Tensor, masks: Tensor) -> None:
    results = []
    for order in ([0, 6], [6, 0]):
        core = InferenceCore(network, MemoryConfig(mem_every=2), 2)
        for frame in order:
            core.memorize(frame, images[frame], masks[frame], known=FIRST_ONLY if frame == 0 else None)
        results.append(torch.stack([core.step(frame, images[frame]) for frame in range(1, 6)]))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)


def test_a_partly_annotated_frame_keeps_what_was_drawn_and_segments_the_rest(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    core = InferenceCore(network, MemoryConfig(), 2)
    core.memorize(0, images[0], masks[0])
    core.memorize(3, images[3], masks[3], known=FIRST_ONLY)
    free = core.branch()
    drawn = core.step(3, images[3], masks[3], known=FIRST_ONLY)
    segmented = free.step(3, images[3])
    inside = masks[3, 0] > 0.5
    assert drawn[1][inside].min() > drawn[1][~inside].max()
    outside = torch.stack([drawn[2][~inside], segmented[2][~inside]])
    assert outside.std(dim=1).min() > 0.01
    assert torch.corrcoef(outside)[0, 1] > 0.9


def test_an_object_joins_after_long_term_eviction(network: Network, images: Tensor, masks: Tensor) -> None:
    # Published: late objects form groups of their own, and eviction then raises NotImplementedError.
    core = InferenceCore(network, COMPRESSING, 1)
    core.memorize(0, images[0], masks[0, :1])
    for frame in range(8):
        core.step(frame, images[frame], masks[0, :1] if frame == 0 else None)
    assert core.memory.long_term.elements.size > 16 - 6  # the next consolidation has to evict

    assert core.add_object() == 1
    before = core.branch()
    before.clear_temporary()
    core.memorize(8, images[8], masks[8])
    results = [core.step(8, images[8], masks[8])]
    results += [core.step(frame % 12, images[frame % 12]) for frame in range(9, 24)]
    assert all(result.shape == (3, 40, 56) and torch.isfinite(result).all() for result in results)
    assert core.memory.long_term.elements.size <= 16
    assert core.memory.long_term.knows(1)
    readable = core.memory.long_term.elements["readable"]
    assert readable[:, 0].all()
    assert readable[-6:, 1].all()


def test_adding_an_object_leaves_the_others_reading_what_they_did(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    core = InferenceCore(network, COMPRESSING, 1)
    core.memorize(0, images[0], masks[0, :1])
    for frame in range(1, 8):
        core.step(frame, images[frame])
    with torch.inference_mode():
        features = network.encode_key(core._padding.add(images[8])[None])
        before = core.memory.read(features, [0])
        core.add_object()
        after = core.memory.read(features, [0])
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def test_an_object_without_any_annotation_is_nowhere(network: Network, images: Tensor, masks: Tensor) -> None:
    core = InferenceCore(network, COMPRESSING, 1)
    core.memorize(0, images[0], masks[0, :1])
    without = core.branch()
    expected = [without.step(frame, images[frame]) for frame in range(1, 6)]
    core.add_object()
    results = [core.step(frame, images[frame]) for frame in range(1, 6)]
    for result, reference in zip(results, expected, strict=True):
        torch.testing.assert_close(result[:2], reference, rtol=0, atol=1e-5)
        assert result[2].max() < 1e-5


def test_memory_from_before_an_object_joined_is_not_read_for_it(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    config = MemoryConfig(mem_every=1, min_mid_term_frames=2, max_mid_term_frames=5, top_k=5)
    core = InferenceCore(network, config, 1)
    core.memorize(0, images[0], masks[0, :1])
    for frame in range(4):
        core.step(frame, images[frame])
    core.add_object()
    core.memorize(6, images[6], masks[6])
    alone = InferenceCore(network, config, 2)
    alone.memorize(0, images[0], masks[0] * torch.tensor([1.0, 0.0])[:, None, None], known=FIRST_ONLY)
    alone.memorize(6, images[6], masks[6])
    with torch.inference_mode():
        features = network.encode_key(core._padding.add(images[8])[None])
        late, reference = core.memory.read(features, [0, 1]), alone.memory.read(features, [0, 1])
    torch.testing.assert_close(late[:, 1], reference[:, 1], rtol=0, atol=1e-5)


def test_annotating_what_was_unknown_lifts_the_restriction(network: Network, images: Tensor, masks: Tensor) -> None:
    core = InferenceCore(network, MemoryConfig(), 2)
    core.memorize(0, images[0], masks[0], known=FIRST_ONLY)
    assert not core.memory.permanent.elements.is_complete(1)
    core.memorize(0, images[0], masks[0])
    assert core.memory.permanent.elements.is_complete(1)


def test_the_restriction_ends_with_the_frames_that_caused_it(network: Network, images: Tensor, masks: Tensor) -> None:
    core = InferenceCore(network, COMPRESSING, 1)
    core.memorize(0, images[0], masks[0, :1])
    for frame in range(1, 4):
        core.step(frame, images[frame])
    core.add_object()
    core.memorize(0, images[0], masks[0])
    assert not core.memory.working.elements.is_complete(1)
    for frame in range(4, 8):
        core.step(frame, images[frame])
    assert core.memory.working.elements.is_complete(1)
    assert not core.memory.long_term.elements.is_complete(1)


def test_prototypes_from_before_an_object_was_known_are_never_read_for_it(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    core = InferenceCore(network, COMPRESSING, 2)
    core.memorize(0, images[0], masks[0], known=FIRST_ONLY)
    for frame in range(1, 9):
        core.step(frame, images[frame])
    long_term = core.memory.long_term
    old = long_term.elements["augmented_key"].clone()
    assert len(old) > 16 - 6  # the next consolidation has to evict
    assert not long_term.elements["readable"][:, 1].any()
    assert not long_term.knows(1)

    core.memorize(11, images[11], masks[11])
    alone = InferenceCore(network, COMPRESSING, 2)
    alone.memorize(0, images[0], masks[0], known=FIRST_ONLY)
    alone.memorize(11, images[11], masks[11])
    with torch.inference_mode():
        features = network.encode_key(core._padding.add(images[10])[None])
        late, reference = core.memory.read(features, [0, 1]), alone.memory.read(features, [0, 1])
    torch.testing.assert_close(late[:, 1], reference[:, 1], rtol=0, atol=1e-5)
    assert (late[:, 0] - reference[:, 0]).abs().max() > 1e-3

    seen = set()
    for frame in range(12, 24):
        core.step(frame, images[frame % 12].flip(-1))  # keys that are not among the old
        elements = long_term.elements
        for key, readable in zip(elements["augmented_key"], elements["readable"][:, 1], strict=True):
            is_old = bool((old == key).all(dim=1).any())
            assert not (is_old and readable)
            seen.add((is_old, bool(readable)))
        assert elements["readable"][:, 0].all()
        assert elements.size <= 16
    assert (False, True) in seen  # later prototypes are


def test_a_partly_annotated_frame_renews_sensory_memory_of_what_was_drawn_alone(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    core = InferenceCore(network, MemoryConfig(mem_every=100), 2)
    core.memorize(0, images[0], masks[0])
    core.memorize(3, images[3], masks[3], known=FIRST_ONLY)
    free = core.branch()
    free.step(3, images[3])
    core.step(3, images[3], masks[3], known=FIRST_ONLY)
    assert core._hidden is not None
    assert free._hidden is not None
    torch.testing.assert_close(core._hidden[:, 1], free._hidden[:, 1], rtol=0, atol=1e-5)
    assert (core._hidden[:, 0] - free._hidden[:, 0]).abs().max() > 1e-3


def test_forgetting_the_frame_that_caused_it_lifts_the_restriction(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    core = InferenceCore(network, MemoryConfig(), 2)
    core.memorize(0, images[0], masks[0], known=FIRST_ONLY)
    core.memorize(6, images[6], masks[6])
    core.forget(0)
    assert core.memory.permanent.elements.is_complete(1)


def test_an_object_added_to_one_pass_is_an_object_of_its_branches(
    network: Network, images: Tensor, masks: Tensor
) -> None:
    core = InferenceCore(network, COMPRESSING, 1)
    core.memorize(0, images[0], masks[0, :1])
    branch = core.branch()
    for frame in range(1, 6):
        branch.step(frame, images[frame])  # working, long-term and sensory memory are not empty
    core.add_object()
    assert branch.num_objects == 2
    with pytest.raises(AnnotationSizeError, match=r"\(2, 40, 56\) is needed"):
        branch.memorize(6, images[6], masks[6, :1])
    branch.memorize(6, images[6], masks[6])
    assert core.memory.permanent[6].known == (True, True)
    assert core.memory.permanent[0].known == tuple(FIRST_ONLY)
    results = [branch.step(frame, images[frame]) for frame in range(6, 12)]
    assert all(result.shape == (3, 40, 56) and torch.isfinite(result).all() for result in results)
    assert results[-1][2].max() > 1e-3
    assert core.step(7, images[7]).shape == (3, 40, 56)
