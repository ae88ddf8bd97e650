"""Annotations as mattes in bounded memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from rotomem.session.annotated_mattes import AnnotatedMattes


def test_mattes_beyond_the_bound_come_back_bit_for_bit() -> None:
    random = np.random.default_rng(1)
    drawn = {}
    mattes = AnnotatedMattes((40, 60), open_bytes=2 * 40 * 60 * 4)
    for frame in range(8):
        for name in ("hero", "car"):
            matte = np.zeros((40, 60), np.float32)
            matte[frame : frame + 5, 10:20] = random.random((5, 10))
            drawn[frame, name] = matte
            mattes.put(frame, name, matte)
    mattes.put(9, "gone", np.zeros((40, 60), np.float32))
    for (frame, name), matte in drawn.items():
        assert mattes[frame][name].tobytes() == matte.tobytes()
    assert not mattes[9]["gone"].any()
    assert list(mattes) == [*range(8), 9]
    assert list(mattes[3]) == ["hero", "car"]
    assert "car" not in mattes[9]
    with pytest.raises(KeyError):
        mattes[9]["car"]


def test_many_large_annotations_take_little_memory() -> None:
    size = (1080, 1920)
    mattes = AnnotatedMattes(size, open_bytes=1 << 25)  # four of them
    tracemalloc.start()
    for frame in range(40):  # 332 MB in all
        matte = np.zeros(size, np.float32)
        matte[300:600, 10 * frame : 10 * frame + 300] = 1.0
        mattes.put(frame, "hero", matte)
    assert all(mattes[frame]["hero"][400, 10 * frame + 5] == 1 for frame in range(40))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80e6
