"""Memory that the published networks need on a long clip."""

from __future__ import annotations

import pytest

from rotomem.training.motion_memory import measure_part

PAIRS_MB = (100 * 8 * 14) ** 2 * 8 * 4 / 1e6
"""Of scores between all tokens of 100 frames of 128x224 at stride 16, for each of the selector's eight heads."""


@pytest.mark.slow
def test_the_selector_never_holds_the_attention_of_a_hundred_frames_at_once() -> None:
    needed = measure_part("selector", frames=100, height=128, width=224, objects=1)
    assert needed.peak_mb - needed.before_mb < PAIRS_MB / 4


def test_a_parts_memory_is_that_of_a_process_of_its_own() -> None:
    held = bytearray(1_200_000_000)
    held[::4096] = b"\1" * len(held[::4096])
    needed = measure_part("selector", frames=2, height=32, width=48, objects=1)
    assert 100 < needed.before_mb <= needed.peak_mb < 1000
