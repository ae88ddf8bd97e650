"""What every propagation engine is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


class FrameSource(Protocol):
    """The plate as the network sees it."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every frame, pixels."""

    def image(self, frame: int) -> Image:
        """Return (H, W, 3) sRGB-encoded RGB in [0, 1]; raises ``PlateError``."""


Annotations = Mapping[int, Mapping[str, Image]]
"""Frame to object to matte (H, W) in [0, 1]. An object missing from a frame's mapping is *unknown* there; a matte of
zeros says that it is absent."""


@dataclass(frozen=True)
class PropagatedFrame:
    """One frame's result.

    Args:
        mattes: (K, H, W) float32 in [0, 1] at plate resolution, in the order of ``objects``. For an annotated object
            on its frame this is the artist's array, bit for bit.
        confidence: (H, W) in [0, 1], 1 is certain; of the least certain object at each pixel.
        annotated: at least one object was annotated here.
        timings_s: seconds by phase, such as ``encode_key``, each moment counted once; without reading the plate, which
            only the owner of the source can tell from waiting for it.
        disagreement: of the forward and the backward pass, in [0, 1]: the sum of abs(forward - backward) over all
            pixels and objects that were reached from both sides, divided by that of max(forward, backward). 0 is the
            same matte, 1 two mattes without a common pixel; None where no object was reached from both sides.
        motion_error: (H, W) in [0, 1], how surely a second opinion on motion takes a pixel for wrong; None without one.
        relative_error: its area in error over the area of the matte, of the worst object; None without one.
        preview_by: name of the engine that made this in haste; the finished result of the frame comes later. Empty for
            a finished one.
    """

    frame: int
    mattes: Image
    confidence: Image
    annotated: bool
    timings_s: Mapping[str, float] = field(default_factory=dict)
    disagreement: float | None = None
    motion_error: Image | None = None
    relative_error: float | None = None
    preview_by: str = ""


class Engine(Protocol):
    """A way to carry annotations over a frame range."""

    name: str
    weights_sha256: str
    """Empty for engines without weights."""

    def propagate(
        self,
        source: FrameSource,
        annotations: Annotations,
        objects: Sequence[str],
        frames: Sequence[int],
        *,
        cancelled: Callable[[], bool],
        focus: int | None = None,
    ) -> Iterator[PropagatedFrame]:
        """Yield one result per frame of ``frames`` (ascending, contiguous), in whatever order they are ready; previews
        beside them where the engine was asked for those.

        With ``focus`` the gap between annotations that holds that frame comes first, then the others by their distance
        from it; the order changes no result. Annotated frames outside ``frames`` are used all the same (``source`` can
        read them). Frames before the first annotation are reached backward. Stops early, without an error, once
        ``cancelled()`` is true.
        """
