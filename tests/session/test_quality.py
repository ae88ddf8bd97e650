"""A frame's one figure of confidence."""

from __future__ import annotations

import numpy as np
import pytest

from rotomem.session.quality import frame_confidence


def test_the_mean_is_over_the_matte_and_a_narrow_band_around_it() -> None:
    mattes = np.zeros((1, 100, 100), np.float32)
    mattes[0, 40:60, 40:60] = 1.0
    confidence = np.ones((100, 100), np.float32)
    confidence[40:60, 40:60] = 0.5
    figure = frame_confidence(mattes, confidence)
    # 400 pixels at 0.5, and 2 px around the four sides of 20 at 1, with hardly anything at the corners.
    assert figure == pytest.approx((400 * 0.5 + 160) / 560, abs=0.01)
    confidence[:30] = 0.0  # background far away
    assert frame_confidence(mattes, confidence) == figure


def test_where_no_object_is_seen_the_mean_is_over_the_frame() -> None:
    confidence = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    assert frame_confidence(np.zeros((2, 20, 30), np.float32), confidence) == pytest.approx(0.5)


def test_it_hardly_depends_on_the_plates_size() -> None:
    small = np.zeros((1, 270, 480), np.float32)
    small[0, 100:200, 100:300] = 1.0
    confidence = 1 - 0.6 * small[0]
    large = [np.kron(part, np.ones((8, 8), np.float32)) for part in (small[0], confidence)]
    assert frame_confidence(large[0][None], large[1]) == pytest.approx(frame_confidence(small, confidence), abs=0.01)
