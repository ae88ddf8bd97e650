"""Propagations for the suggestion benchmark: each stretch between two annotated frames is made once and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rotomem.propagation import Image
from rotomem.propagation.engine import Engine, PropagatedFrame
from rotomem.session.quality import frame_confidence
from rotomem.suggestion import temporal_instability
from rotomem.training.footage import Footage
from rotomem.training.metrics import boundary_f, region_j

SIGN_SIDE_PX = 96
"""Longer side of the mattes that instability is measured on."""


class ReducedFootage:
    """Every ``step``-th frame of some footage, at ``scale`` of its size; all objects as one."""

    def __init__(self, footage: Footage, *, step: int = 1, scale: float = 1.0) -> None:
        self._footage = footage
        height, width = footage.size
        self.name = footage.name
        self.size = round(height * scale), round(width * scale)
        self._frames = range(0, len(footage.truth), step)
        union = np.asarray(footage.truth.max(axis=1), dtype=np.float32)
        self.mattes = np.stack([self._resized(union[frame]) for frame in self._frames])

    def __len__(self) -> int:
        return len(self._frames)

    def image(self, frame: int) -> Image:
        """Return (H, W, 3) RGB in [0, 1]."""
        return self._resized(self._footage.image(self._frames[frame]))

    def area(self, frame: int) -> float:
        """Return the share of the picture that the true matte covers."""
        return float((self.mattes[frame] > 0.5).mean())

    def _resized(self, values: NDArray[np.float32]) -> Image:
        height, width = self.size
        if values.shape[:2] == self.size:
            return values
        return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)


@dataclass(frozen=True)
class StretchResult:
    """What came out between two annotated frames: one entry per frame after ``left`` and before ``right``.

    Args:
        left: annotated frame, None before the first one.
        right: annotated frame, None after the last one.
        others: all annotated frames, for engines that look beyond the stretch; else empty.
        j, f: against the truth.
        confidence, instability: in [0, 1].
        disagreement: in [0, 1]; None where only one pass came.
        area: share of the picture above one half.
    """

    left: int | None
    right: int | None
    others: tuple[int, ...]
    j: tuple[float, ...]
    f: tuple[float, ...]
    confidence: tuple[float, ...]
    disagreement: tuple[float | None, ...]
    instability: tuple[float, ...]
    area: tuple[float, ...]
    seconds: float


class StretchRuns:
    """One clip's stretches, from a log that is appended to, so that an interrupted benchmark goes on.

    Args:
        footage: reduced.
        engine: to be judged; ``warp`` and ``copy`` look at the annotations that bound a stretch alone.
        log_file: JSON lines.
        key: names the clip and how it was reduced.
    """

    def __init__(self, footage: ReducedFootage, engine: Engine, log_file: Path, key: str) -> None:
        self._footage, self._engine, self._log_file = footage, engine, log_file
        self._key = f"{key} {engine.name} {engine.weights_sha256[:12]}".strip()
        self._local = engine.name in ("warp", "copy")
        self._held = {(r.left, r.right, r.others): r for r in _read_log(log_file, self._key)}
        self.made = 0

    def stretches(self, annotated: Sequence[int]) -> list[StretchResult]:
        """Return every stretch that ``annotated`` (ascending) leaves, making those that are missing."""
        bounds = [None, *annotated, None]
        others = () if self._local else tuple(annotated)
        found = []
        for left, right in pairwise(bounds):
            if _frames_between(left, right, len(self._footage)):
                key = left, right, others
                if key not in self._held:
                    self._held[key] = self._make(*key)
                found.append(self._held[key])
        return found

    def _make(self, left: int | None, right: int | None, others: tuple[int, ...]) -> StretchResult:
        started = time.perf_counter()
        given = others or tuple(frame for frame in (left, right) if frame is not None)
        frames = _frames_between(left, right, len(self._footage))
        annotations = {frame: {"object": self._footage.mattes[frame]} for frame in given}
        results: dict[int, PropagatedFrame] = {
            result.frame: result
            for result in self._engine.propagate(
                self._footage, annotations, ["object"], frames, cancelled=lambda: False
            )
        }
        made = [results[frame] for frame in frames]
        stretch = self._judge(left, right, others, made, time.perf_counter() - started)
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"key": self._key, **asdict(stretch)}) + "\n")
        self.made += 1
        return stretch

    def _judge(
        self,
        left: int | None,
        right: int | None,
        others: tuple[int, ...],
        made: Sequence[PropagatedFrame],
        seconds: float,
    ) -> StretchResult:
        truth = [self._footage.mattes[result.frame] for result in made]
        mattes = [result.mattes[0] for result in made]
        ends = [[] if frame is None else [self._footage.mattes[frame]] for frame in (left, right)]
        small = torch.from_numpy(np.stack([_small(matte) for matte in (*ends[0], *mattes, *ends[1])]))
        instability = temporal_instability(small)[len(ends[0]) :][: len(mattes)]
        return StretchResult(
            left=left,
            right=right,
            others=others,
            j=_rounded([region_j(matte, true) for matte, true in zip(mattes, truth, strict=True)]),
            f=_rounded([boundary_f(matte, true) for matte, true in zip(mattes, truth, strict=True)]),
            confidence=_rounded([frame_confidence(result.mattes, result.confidence) for result in made]),
            disagreement=tuple(None if r.disagreement is None else round(r.disagreement, 4) for r in made),
            instability=_rounded(instability.tolist()),
            area=tuple(round(float((matte > 0.5).mean()), 6) for matte in mattes),
            seconds=round(seconds, 3),
        )


def _frames_between(left: int | None, right: int | None, total: int) -> range:
    return range(0 if left is None else left + 1, total if right is None else right)


def _small(matte: Image) -> Image:
    height, width = matte.shape
    scale = min(1.0, SIGN_SIDE_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(matte, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def _read_log(log_file: Path, key: str) -> list[StretchResult]:
    """Return a clip's stretches; a last line cut off by an interruption is made again."""
    if not log_file.exists():
        return []
    found = []
    for line in log_file.read_text(encoding="utf-8").splitlines():
        try:
            entry: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            continue
        if entry.pop("key") == key:
            fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
            found.append(StretchResult(**fields))
    return found
