"""An evaluation's scores, as a table for people and as plain data for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ClipScore:
    """One engine on one clip.

    Args:
        annotations: number of annotated frames asked for.
        frames: how many frames were measured.
        j: mean over them.
        f: likewise.
        seconds: of the whole propagation.
    """

    clip: str
    engine: str
    annotations: int
    frames: int
    j: float
    f: float
    seconds: float

    @property
    def j_and_f(self) -> float:
        return (self.j + self.f) / 2


@dataclass(frozen=True)
class EvaluationReport:
    """Scores of every clip, engine and number of annotations."""

    scores: tuple[ClipScore, ...]

    def overall(self, engine: str, annotations: int) -> ClipScore:
        """Return the mean over clips, each counting alike whatever its length."""
        chosen = [score for score in self.scores if (score.engine, score.annotations) == (engine, annotations)]
        return ClipScore(
            clip="overall",
            engine=engine,
            annotations=annotations,
            frames=sum(score.frames for score in chosen),
            j=float(np.mean([score.j for score in chosen])),
            f=float(np.mean([score.f for score in chosen])),
            seconds=sum(score.seconds for score in chosen),
        )

    def combinations(self) -> list[tuple[int, str]]:
        """Return each (annotations, engine) measured, in the order asked for."""
        return list(dict.fromkeys((score.annotations, score.engine) for score in self.scores))


def format_table(report: EvaluationReport) -> str:
    """Lay out J, F and J&F per clip, and overall, one block per number of annotations and one column per engine."""
    blocks = []
    for count in dict.fromkeys(score.annotations for score in report.scores):
        engines = [engine for annotations, engine in report.combinations() if annotations == count]
        clips = dict.fromkeys(score.clip for score in report.scores)
        by_place = {(score.clip, score.engine): score for score in report.scores if score.annotations == count}
        width = max(len(name) for name in (*clips, "overall", f"{count} annotations"))
        header = f"{f'{count} annotations':{width}}" + "".join(f" | {engine:^20} " for engine in engines)
        names = f"{'':{width}}" + "".join(f" | {'J':>6} {'F':>6} {'J&F':>6} " for _ in engines)
        rule = "-" * width + "".join("-+-" + "-" * 21 for _ in engines)
        lines = [_line(clip, [by_place[clip, engine] for engine in engines], width) for clip in clips]
        total = _line("overall", [report.overall(engine, count) for engine in engines], width)
        blocks.append("\n".join([header, names, rule, *lines, rule, total]))
    speeds = [f"{engine}: {_frames_per_second(report, engine):.1f}" for engine in _engines(report)]
    return "\n\n".join([*blocks, "measured frames per second, one process: " + ", ".join(speeds)])


def to_json(report: EvaluationReport) -> dict[str, Any]:
    """Return the scores as plain data: ``overall`` and ``clips``, lists of the same fields."""
    totals = [report.overall(engine, count) for count, engine in report.combinations()]
    return {"overall": [_fields(score) for score in totals], "clips": [_fields(score) for score in report.scores]}


def _fields(score: ClipScore) -> dict[str, Any]:
    return {
        "clip": score.clip,
        "engine": score.engine,
        "annotations": score.annotations,
        "frames": score.frames,
        "J": round(score.j, 4),
        "F": round(score.f, 4),
        "J&F": round(score.j_and_f, 4),
        "seconds": round(score.seconds, 3),
    }


def _line(name: str, scores: list[ClipScore], width: int) -> str:
    return f"{name:{width}}" + "".join(f" | {s.j:6.3f} {s.f:6.3f} {s.j_and_f:6.3f} " for s in scores)


def _engines(report: EvaluationReport) -> list[str]:
    return list(dict.fromkeys(score.engine for score in report.scores))


def _frames_per_second(report: EvaluationReport, engine: str) -> float:
    chosen = [score for score in report.scores if score.engine == engine]
    return sum(score.frames for score in chosen) / max(sum(score.seconds for score in chosen), 1e-9)
