"""What a shot's matte files tell of how much each frame needs the artist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rotomem.errors import PlateMissingError, PlateSizeError, PlateUnreadableError
from rotomem.plates import FramePattern, read_alpha, read_matte_metadata
from rotomem.suggestion import FrameSigns, frame_signs, matte_entropy, temporal_instability

SIGN_SIDE_PX = 96
"""Longer side of the mattes that instability is measured on: a change of shape worth drawing shows at that size."""
MASK_SIDE_PX = 480
"""Shorter side of the mattes that are kept for ``likeness``."""


@dataclass(frozen=True)
class MatteSign:
    """One matte file.

    Args:
        area: share of the picture above one half.
        confidence, disagreement: from its metadata; None where they were not measured.
        motion_error: likewise.
        entropy: mean over the matte, bits.
        small: (h, w) in [0, 1], ``SIGN_SIDE_PX`` on the longer side.
        mask: (h, w), 0 to 255, at most ``MASK_SIDE_PX`` on the shorter side.
    """

    area: float
    confidence: float | None
    disagreement: float | None
    motion_error: float | None
    entropy: float
    small: NDArray[np.float32]
    mask: NDArray[np.uint8]


class MatteSigns:
    """The signs of ``frames``, None where a frame has no matte."""

    def __init__(self, frames: range, signs: list[MatteSign | None]) -> None:
        self._frames, self._signs = frames, signs

    def figures(self, first: int, last: int, annotated: Sequence[int]) -> FrameSigns:
        """Return one figure per frame; ``annotated`` are indices; frames outside first..last are not to be drawn.

        Uncertainty is 1 minus confidence, or the mattes' entropy where no matte tells a confidence.
        """
        present = [sign for sign in self._signs if sign is not None]
        told = any(sign.confidence is not None for sign in present)
        uncertainty = [
            None
            if sign is None or (told and sign.confidence is None)
            else (1.0 - sign.confidence if sign.confidence is not None else sign.entropy)
            for sign in self._signs
        ]
        signs = frame_signs(
            _figures([None if sign is None else sign.area for sign in self._signs]),
            annotated,
            uncertainty=_figures(uncertainty),
            disagreement=_figures([None if sign is None else sign.disagreement for sign in self._signs]),
            instability=self._instability(),
        )
        return replace(signs, visible=signs.visible & [first <= frame <= last for frame in self._frames])

    def motion_errors(self) -> NDArray[np.float64]:
        """Return (T,), area that motion takes for wrong over the matte's; NaN where it was not asked."""
        return _figures([None if sign is None else sign.motion_error for sign in self._signs])

    def masks(self, size: tuple[int, int]) -> torch.Tensor:
        """Return (T, H, W) in [0, 1] at ``size``; 1 everywhere on frames without a matte: the whole picture counts."""
        height, width = size
        masks = np.ones((len(self._signs), height, width), np.float32)
        for index, sign in enumerate(self._signs):
            if sign is not None:
                mask = sign.mask.astype(np.float32) / np.float32(255.0)
                masks[index] = cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA)
        return torch.from_numpy(masks)

    def _instability(self) -> NDArray[np.float64]:
        figures = np.full(len(self._signs), np.nan)
        for present, run in groupby(range(len(self._signs)), key=lambda index: self._signs[index] is not None):
            where = list(run)
            if present and len(where) > 1:
                mattes = np.stack([sign.small for index in where if (sign := self._signs[index]) is not None])
                figures[where] = temporal_instability(torch.from_numpy(mattes)).numpy()
        return figures


def read_matte_signs(
    pattern: str, files: Mapping[int, Path], frames: range, *, step: Callable[[], None] = lambda: None
) -> MatteSigns:
    """Read the mattes of ``frames`` that are on disk.

    Args:
        pattern: of the mattes; empty where there are none.
        files: frame to matte; used before the pattern, and each must be there.
        step: called after each frame.

    Raises:
        PlateMissingError: a file of ``files`` is not there, or the pattern has no frame of the range.
        PlateUnreadableError: a matte cannot be decoded.
        PlateSizeError: mattes of different sizes.
    """
    parsed = FramePattern.parse(pattern) if pattern else None
    on_disk = frozenset(parsed.frames_on_disk()) if parsed else frozenset()
    signs: list[MatteSign | None] = []
    for frame in frames:
        path = files.get(frame) or (parsed.path(frame) if parsed and frame in on_disk else None)
        sign = _read(path, frame) if path else None
        size = next((earlier.mask.shape for earlier in signs if earlier is not None), None)
        if sign is not None and size is not None and sign.mask.shape != size:
            raise PlateSizeError(
                f"frame {frame}: the matte {path} has another size than those before it; propagate again"
            )
        signs.append(sign)
        step()
    if pattern and not any(signs):
        raise PlateMissingError(
            f"none of the frames {frames[0]}-{frames[-1]} has a matte {pattern}; "
            "propagate first, or leave the mattes out"
        )
    return MatteSigns(frames, signs)


def _read(path: Path, frame: int) -> MatteSign:
    matte = read_alpha(path, frame)
    try:
        metadata = read_matte_metadata(path)
        confidence, disagreement, motion = metadata.confidence, metadata.disagreement, metadata.motion_error
    except PlateUnreadableError:  # another program's matte, since it could be decoded
        confidence = disagreement = motion = None
    height, width = matte.shape
    mask = _shrunk(matte, MASK_SIDE_PX / min(height, width))
    return MatteSign(
        area=float((matte > 0.5).mean()),
        confidence=confidence,
        disagreement=disagreement,
        motion_error=motion,
        entropy=float(matte_entropy(torch.from_numpy(matte)[None, None])[0]),
        small=_shrunk(matte, SIGN_SIDE_PX / max(height, width)),
        mask=np.rint(mask * 255).astype(np.uint8),
    )


def _shrunk(matte: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    if scale >= 1:
        return matte
    size = max(1, round(matte.shape[1] * scale)), max(1, round(matte.shape[0] * scale))
    return np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _figures(values: list[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
