"""Annotations as mattes in bounded memory."""

from __future__ import annotations

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
