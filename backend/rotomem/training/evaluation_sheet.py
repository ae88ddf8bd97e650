"""A contact sheet of an evaluation: the clips that an engine did best and worst on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from rotomem.drawing import (
    FAINT,
    INK,
    OBJECT_COLOURS,
    PAPER,
    Bytes,
    Colour,
    fit,
    save_png,
    tint,
    to_bytes,
    write_legend,
    write_text,
)
from rotomem.training.evaluation import annotated_frames
from rotomem.training.footage import Footage, FootageSource
from rotomem.training.matte_samples import SAMPLES, load_samples, sampled_frames
from rotomem.training.metrics import Mask, binarise
from rotomem.training.scores import ClipScore, EvaluationReport

EXTREMES = 3
TILE_WIDTH = 400
_MATTE = OBJECT_COLOURS[0]
_TRUTH: Colour = (255, 225, 40)
_GAP, _GUTTER, _HEADER, _TITLE, _FOOTER = 10, 190, 84, 34, 46


def extremes(scores: Sequence[ClipScore]) -> tuple[list[ClipScore], list[ClipScore]]:
    """Return the three best by J&F, best first, and the three worst, worst first; fewer of few, none twice."""
    ranked = sorted(scores, key=lambda score: score.j_and_f, reverse=True)
    best = min(EXTREMES, (len(ranked) + 1) // 2)
    worst = min(EXTREMES, len(ranked) - best)
    return ranked[:best], ranked[len(ranked) - worst :][::-1]


def write_sheet(
    path: Path,
    report: EvaluationReport,
    sources: Mapping[str, FootageSource],
    samples: Path,
    *,
    engine: str,
    annotations: int,
) -> None:
    """Draw the extremes of one engine with so many annotations: plate, matte over it, the truth's outline.

    Args:
        report: about one set of footage.
        sources: of that set, by name.
        samples: folder of the mattes kept while measuring; a clip whose mattes are not there says so.

    Raises:
        DiskFullError, OutputUnwritableError: names the file.
    """
    best, worst = extremes(report.select(engine, annotations))
    blocks = [_heading(engine, annotations, len(report.select(engine, annotations)))]
    for title, scores in (("best", best), ("worst", worst)):
        if scores:
            blocks.append(_title(f"{len(scores)} {title}"))
            blocks += [_row(score, sources[score.condition.clip].open(), samples) for score in scores]
    footer = _blank(_FOOTER)
    legend = [("matte", _MATTE), ("outline: truth", _TRUTH)]
    write_legend(footer, legend, left=_GUTTER, bottom=_FOOTER - 16)
    save_png(path, np.concatenate([*blocks, footer]))


def _row(score: ClipScore, footage: Footage, samples: Path) -> Bytes:
    truth: Mask = np.asarray(binarise(footage.truth).any(axis=1))
    frames = sampled_frames(annotated_frames(score.condition.annotations, len(truth)), len(truth))
    mattes = load_samples(samples, score.condition, footage.size)
    height = round(TILE_WIDTH * footage.size[0] / footage.size[1])
    row = _blank(height + _GAP)
    lines = [f"J {score.j:.3f}  F {score.f:.3f}", f"J&F {score.j_and_f:.3f}", f"T {score.t:.3f}"]
    write_text(row, score.condition.clip, (_GAP + 6, 24), INK, size=0.5)
    for index, line in enumerate([*lines, *["mattes not kept"] * (mattes is None)]):
        write_text(row, line, (_GAP + 6, 50 + 20 * index), FAINT, size=0.46)
    for column, frame in enumerate(frames):
        matte = np.zeros_like(truth[0]) if mattes is None else mattes[column]
        left = _GUTTER + column * (TILE_WIDTH + _GAP)
        row[:height, left : left + TILE_WIDTH] = _tile(footage, frame, matte, truth[frame], (TILE_WIDTH, height))
    return row


def _tile(footage: Footage, frame: int, matte: Mask, truth: Mask, size: tuple[int, int]) -> Bytes:
    plate = fit(footage.image(frame), size)
    tile = to_bytes(tint(plate * np.float32(0.72), fit(matte.astype(np.float32), size), plate, _MATTE))
    enlarged = cv2.resize(truth.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    outlines, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(tile, outlines, -1, _TRUTH, 1, cv2.LINE_AA)
    write_text(tile, str(frame), (6, size[1] - 8), INK, size=0.45)
    return tile


def _heading(engine: str, annotations: int, clips: int) -> Bytes:
    heading = _blank(_HEADER)
    frames = f"{annotations} annotated frame{'s' * (annotations > 1)}"
    write_text(heading, f"{engine}, {frames}", (_GAP + 6, 40), INK, size=0.95, weight=2)
    text = f"of {clips} by J&F; evenly spaced frames that were not annotated, by position"
    write_text(heading, text, (_GAP + 6, 68), FAINT, size=0.52)
    return heading


def _title(text: str) -> Bytes:
    title = _blank(_TITLE)
    write_text(title, text, (_GAP + 6, 22), INK, size=0.7)
    return title


def _blank(height: int) -> Bytes:
    return np.full((height, _GUTTER + SAMPLES * (TILE_WIDTH + _GAP), 3), PAPER, dtype=np.uint8)
