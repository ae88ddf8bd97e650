"""Edges by a dense CRF, an option whose library needs a compiler; without it one sentence says so."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

from rotomem.errors import SettingError
from rotomem.matte.crf import crf_edges

IMAGE = np.zeros((60, 80, 3), np.float32)
IMAGE[15:45, 20:60] = (0.8, 0.4, 0.2)
TRUTH = IMAGE[..., 0] > 0
ROUGH = np.zeros((60, 80), np.float32)
ROUGH[12:40, 24:64] = 1.0


class Field:
    """A stand-in of ``pydensecrf.densecrf.DenseCRF2D``: no messages, so that the unary energies come back."""

    def __init__(self, width: int, height: int, labels: int) -> None:
        self.shape = (labels, width * height)
        self.colours = None

    def setUnaryEnergy(self, energy: np.ndarray) -> None:  # noqa: N802 - the library's name
        assert (energy.shape, energy.dtype) == (self.shape, np.float32)
        assert energy.flags.c_contiguous
        self.energy = energy

    def addPairwiseGaussian(self, sxy: float, compat: float) -> None:  # noqa: N802
        assert 0 < sxy
        assert 0 < compat

    def addPairwiseBilateral(self, sxy: float, srgb: float, rgbim: np.ndarray, compat: float) -> None:  # noqa: N802
        self.colours = rgbim

    def inference(self, iterations: int) -> np.ndarray:
        assert self.colours.dtype == np.uint8
        assert self.colours.max() == 204
        return np.exp(-self.energy)


def test_the_library_gets_probabilities_of_outside_and_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("pydensecrf.densecrf")
    library.DenseCRF2D = Field
    package = types.ModuleType("pydensecrf")
    package.densecrf = library
    monkeypatch.setitem(sys.modules, "pydensecrf", package)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", library)
    found = crf_edges(ROUGH, IMAGE)
    np.testing.assert_allclose(found, np.clip(ROUGH, 0.05, 0.95), atol=1e-6)
    nothing = np.zeros((60, 80), np.float32)
    assert crf_edges(nothing, IMAGE) is nothing


def test_without_the_library_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(SettingError, match=r"pip install 'rotomem\[crf\]'"):
        crf_edges(ROUGH, IMAGE)
