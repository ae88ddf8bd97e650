"""Any engine, with a second opinion on what it makes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rotomem.matte import snap_edges
from rotomem.propagation.engine import Annotations, Engine, FrameSource, Image, PropagatedFrame
from rotomem.propagation.flow import PlateFlow, resize_area
from rotomem.propagation.motion_critic import Critic

Floats = NDArray[np.float32]

LIKELY = 0.5
"""An edit needs an error at least so sure, and a confidence of the propagation at most so high."""
SNAP_RADIUS_PX = 4
"""At the flow's size: as far off as the edge of what motion shows may lie."""


class CriticisedEngine:
    """Satisfies ``Engine``: another one's results with ``motion_error``, and corrected if that is asked for.

    Args:
        flow: of the plate that will be propagated.
        correct: edit mattes where the critic finds an error and the engine itself is not sure. What is drawn is never
            edited, and edges stay at the plate's resolution.
    """

    def __init__(self, engine: Engine, critic: Critic, flow: PlateFlow, *, correct: bool) -> None:
        self.name, self.weights_sha256 = engine.name, engine.weights_sha256
        self._engine, self._critic, self._flow, self._correct = engine, critic, flow, correct

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
        """Yield as the engine does, some frames later; previews as they are. See ``Engine.propagate``."""
        waiting: list[PropagatedFrame] = []
        for result in self._engine.propagate(source, annotations, objects, frames, cancelled=cancelled, focus=focus):
            if result.preview_by or all(name in annotations.get(result.frame, {}) for name in objects):
                yield result
                continue
            waiting.append(result)
            if len(waiting) == self._critic.frames_at_once:
                yield from self._judged(source, annotations, objects, waiting)
                waiting = []
        if waiting and not cancelled():
            yield from self._judged(source, annotations, objects, waiting)

    def _judged(
        self,
        source: FrameSource,
        annotations: Annotations,
        objects: Sequence[str],
        results: Sequence[PropagatedFrame],
    ) -> Iterator[PropagatedFrame]:
        results = sorted(results, key=lambda result: result.frame)
        small = np.stack(
            [np.stack([resize_area(matte, self._flow.size) for matte in result.mattes]) for result in results]
        )
        critique = self._critic([result.frame for result in results], small)
        for index, result in enumerate(results):
            drawn = annotations.get(result.frame, {})
            open_objects = [k for k, name in enumerate(objects) if name not in drawn]
            errors = critique.error[index, open_objects]
            mattes = result.mattes
            if self._correct:
                image = source.image(result.frame)
                mattes = mattes.copy()
                for k in open_objects:
                    mattes[k] = corrected_matte(
                        mattes[k], image, result.confidence, critique.error[index, k], critique.target[index, k]
                    )
                mattes = _without_overlap(mattes, result.mattes, drawn, objects)
            height, width = result.confidence.shape
            yield dataclasses.replace(
                result,
                mattes=mattes,
                motion_error=np.asarray(cv2.resize(errors.max(axis=0), (width, height)), dtype=np.float32),
                relative_error=float(critique.relative_error[index, open_objects].max()),
            )


def corrected_matte(matte: Image, image: Image, confidence: Image, error: Floats, target: Floats) -> Image:
    """Return a matte (H, W), edited where both the critic and the propagation itself take it for wrong.

    Args:
        image: (H, W, 3), to whose edges what is edited is moved.
        confidence: (H, W) in [0, 1], of the propagation.
        error, target: (h, w) in [0, 1], of the critic, at the flow's size.
    """
    sure = resize_area(confidence, (error.shape[0], error.shape[1]))
    both = ((error >= LIKELY) & (sure <= LIKELY)).astype(np.uint8)
    agreed = np.asarray(cv2.morphologyEx(both, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    if not agreed.any():
        return matte
    height, width = matte.shape
    plate_px = max(1.0, max(height, width) / max(error.shape))
    zone = cv2.GaussianBlur(cv2.dilate(agreed, np.ones((5, 5), np.uint8)).astype(np.float32), (0, 0), 1.5)
    edit, wanted = (np.asarray(cv2.resize(part, (width, height)), dtype=np.float32) for part in (zone, target))
    edited = np.clip(matte + edit * (wanted - matte), 0.0, 1.0).astype(np.float32)
    radius_px = round(SNAP_RADIUS_PX * plate_px)
    snapped = snap_edges(edited, image, radius_px=radius_px, subsample=max(1, int(plate_px)))
    around = cv2.dilate((edit > 0.01).astype(np.float32), np.ones((2 * radius_px + 1, 2 * radius_px + 1), np.uint8))
    share = np.asarray(cv2.blur(around, (radius_px, radius_px)), dtype=np.float32)
    return np.asarray(np.clip(matte + share * (snapped - matte), 0.0, 1.0), dtype=np.float32)


def _without_overlap(mattes: Image, before: Image, drawn: Mapping[str, Image], objects: Sequence[str]) -> Image:
    """Return mattes (K, H, W) of which no pixel has more than it had, or 1 in all; drawn ones are not touched."""
    if len(mattes) == 1:
        return mattes
    total, most = mattes.sum(axis=0), np.maximum(before.sum(axis=0), 1.0)
    share = np.where(total > most, most / np.maximum(total, 1e-6), 1.0).astype(np.float32)
    kept = [k for k, name in enumerate(objects) if name in drawn]
    scaled = mattes * share
    scaled[kept] = before[kept]
    return scaled
