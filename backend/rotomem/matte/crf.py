"""Edges by a dense conditional random field, as an option: the library's, which has no wheels and needs a compiler.

Source: Krähenbühl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011;
the package ``pydensecrf2``, MIT.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rotomem.errors import SettingError

Matte = NDArray[np.float32]
Image = NDArray[np.float32]

SMOOTH_PX, SMOOTH_WEIGHT = 3, 3.0
COLOUR_PX, COLOUR_LEVELS, COLOUR_WEIGHT = 60, 8, 5.0
"""At 854 pixels of the longer side; the library's own example, with colours that must be nearer to each other."""
REFERENCE_SIDE_PX = 854
ITERATIONS = 5
LEAST = 0.05
"""Nobody is surer of a rough mask than this: the field must be free to move its edge."""


def require_crf() -> Any:
    """Return the library; raises ``SettingError`` where it is not installed."""
    try:
        import pydensecrf.densecrf as library
    except ImportError as error:
        raise SettingError(
            "edges by a CRF need the package pydensecrf2, which is not installed; with a C++ compiler at hand: "
            "pip install 'rotomem[crf]', or leave edges to the guided filter"
        ) from error
    return library


def crf_edges(matte: Matte, image: Image) -> Matte:
    """Return a matte (H, W) in [0, 1] whose parts follow the colours of the plate (H, W, 3) in [0, 1].

    Raises:
        SettingError: the library is not installed.
    """
    library = require_crf()
    if not (matte > LEAST).any():
        return matte
    height, width = matte.shape
    scale = max(height, width) / REFERENCE_SIDE_PX
    inside = np.clip(matte, LEAST, 1 - LEAST)
    unary = -np.log(np.stack([1 - inside, inside])).reshape(2, -1).astype(np.float32)
    field = library.DenseCRF2D(width, height, 2)
    field.setUnaryEnergy(np.ascontiguousarray(unary))
    field.addPairwiseGaussian(sxy=SMOOTH_PX * scale, compat=SMOOTH_WEIGHT)
    levels = np.ascontiguousarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8))
    field.addPairwiseBilateral(sxy=COLOUR_PX * scale, srgb=COLOUR_LEVELS, rgbim=levels, compat=COLOUR_WEIGHT)
    found = np.asarray(field.inference(ITERATIONS), dtype=np.float32).reshape(2, height, width)[1]
    return np.asarray(np.clip(found, 0.0, 1.0), dtype=np.float32)
