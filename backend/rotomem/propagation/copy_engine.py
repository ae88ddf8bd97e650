"""The ``copy`` engine: each frame takes the nearest annotated matte. The baseline of every comparison."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rotomem.propagation.engine import Annotations, FrameSource, PropagatedFrame
from rotomem.propagation.gaps import annotated_frames_by_object, nearest


class CopyEngine:
    """Satisfies ``Engine``; never reads the plate."""

    name = "copy"
    weights_sha256 = ""

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
        """Yield the frames in order, or by their distance from ``focus``.

        Of two equally near annotations the earlier one is copied.

        Confidence is 1 / (1 + distance in frames) of the object that is farthest from its annotation.

        Raises:
            AnnotationError: an object is annotated nowhere, or a matte has another size than the plate.
        """
        annotated = annotated_frames_by_object(annotations, objects, source.size)
        for frame in frames if focus is None else sorted(frames, key=lambda frame: abs(frame - focus)):
            if cancelled():
                return
            started = time.perf_counter()
            chosen = [nearest(annotated[name], frame) for name in objects]
            mattes = np.stack([annotations[key][name] for key, name in zip(chosen, objects, strict=True)])
            distance = max(abs(key - frame) for key in chosen)
            yield PropagatedFrame(
                frame=frame,
                mattes=mattes,
                confidence=np.full(source.size, 1.0 / (1.0 + distance), np.float32),
                annotated=bool(annotations.get(frame)),
                timings_s={"copy": time.perf_counter() - started},
            )
