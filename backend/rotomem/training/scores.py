"""An evaluation's scores, as a table for people and as plain data for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Condition:
    """What was measured.

    Args:
        set: of footage; see ``rotomem.training.footage``.
        annotations: number of annotated frames asked for.
        weights_sha256: of the engine's weights; empty for engines without.
        tuned: whether the engine was let tune to the shot; None for engines without weights.
    """

    set: str
    clip: str
    engine: str
    annotations: int
    weights_sha256: str = ""
    tuned: bool | None = None


@dataclass(frozen=True)
class ClipScore:
    """One engine on one clip.

    Args:
        frames: how many frames were measured: all but the annotated ones.
        j: mean over them and over the objects.
        f: likewise.
        t: mean over the neighbouring frames of which at least one was measured.
        seconds: of the whole propagation, without measuring.
    """

    condition: Condition
    frames: int
    j: float
    f: float
    t: float
    seconds: float

    @property
    def j_and_f(self) -> float:
        return (self.j + self.f) / 2


@dataclass(frozen=True)
class EvaluationReport:
    """Scores of every clip, engine and number of annotations."""

    scores: tuple[ClipScore, ...]

    def of(self, footage_set: str) -> EvaluationReport:
        """Return the part about one set of footage."""
        return EvaluationReport(tuple(score for score in self.scores if score.condition.set == footage_set))

    def select(self, engine: str, annotations: int) -> list[ClipScore]:
        """Return the clips' scores of one engine with so many annotations."""
        chosen = (score for score in self.scores if score.condition.engine == engine)
        return [score for score in chosen if score.condition.annotations == annotations]

    def overall(self, engine: str, annotations: int) -> ClipScore:
        """Return the mean over clips, each counting alike whatever its length."""
        chosen = self.select(engine, annotations)
        first = chosen[0].condition
        return ClipScore(
            condition=Condition(first.set, "overall", engine, annotations, first.weights_sha256, first.tuned),
            frames=sum(score.frames for score in chosen),
            j=float(np.mean([score.j for score in chosen])),
            f=float(np.mean([score.f for score in chosen])),
            t=float(np.mean([score.t for score in chosen])),
            seconds=sum(score.seconds for score in chosen),
        )

    @property
    def sets(self) -> list[str]:
        return list(dict.fromkeys(score.condition.set for score in self.scores))

    @property
    def engines(self) -> list[str]:
        return list(dict.fromkeys(score.condition.engine for score in self.scores))

    @property
    def counts(self) -> list[int]:
        """Numbers of annotations, in the order asked for."""
        return list(dict.fromkeys(score.condition.annotations for score in self.scores))


TITLES = {"clips": "Clips", "synthetic": "Held-out synthetic shots"}


def format_table(report: EvaluationReport) -> str:
    """Lay out J, F, J&F and T per clip, and overall: a section per set of footage, in it a block per number of
    annotations, in it a column per engine."""
    sections = []
    for footage_set in report.sets:
        part = report.of(footage_set)
        blocks = [_block(part, count) for count in part.counts]
        speeds = [f"{engine}: {_frames_per_second(part, engine):.1f}" for engine in part.engines]
        speed = "measured frames per second, one process: " + ", ".join(speeds)
        sections.append("\n\n".join([TITLES[footage_set], *blocks, speed]))
    return "\n\n\n".join(sections)


def to_json(report: EvaluationReport) -> dict[str, Any]:
    """Return the scores as plain data: for each set of footage ``overall`` and ``clips``, lists of the same fields."""
    plain = {}
    for footage_set in report.sets:
        part = report.of(footage_set)
        totals = [part.overall(engine, count) for count in part.counts for engine in part.engines]
        plain[footage_set] = {
            "overall": [_fields(score) for score in totals],
            "clips": [_fields(score) for score in part.scores],
        }
    return plain


def _fields(score: ClipScore) -> dict[str, Any]:
    return {
        "clip": score.condition.clip,
        "engine": score.condition.engine,
        "annotations": score.condition.annotations,
        "frames": score.frames,
        "J": round(score.j, 4),
        "F": round(score.f, 4),
        "J&F": round(score.j_and_f, 4),
        "T": round(score.t, 4),
        "seconds": round(score.seconds, 3),
        "weights_sha256": score.condition.weights_sha256,
        "tuned": score.condition.tuned,
    }


def _block(report: EvaluationReport, count: int) -> str:
    """One number of annotations, all engines."""
    clips = dict.fromkeys(score.condition.clip for score in report.scores)
    by_place = {
        (score.condition.clip, score.condition.engine): score
        for score in report.scores
        if score.condition.annotations == count
    }
    title = f"{count} annotation{'s' * (count > 1)}"
    width = max(len(name) for name in (*clips, "overall", title))
    header = f"{title:{width}}" + "".join(f" | {engine:^27} " for engine in report.engines)
    names = f"{'':{width}}" + "".join(f" | {'J':>6} {'F':>6} {'J&F':>6} {'T':>6} " for _ in report.engines)
    rule = "-" * width + "".join("-+-" + "-" * 28 for _ in report.engines)
    lines = [_line(clip, [by_place[clip, engine] for engine in report.engines], width) for clip in clips]
    total = _line("overall", [report.overall(engine, count) for engine in report.engines], width)
    return "\n".join(line.rstrip() for line in [header, names, rule, *lines, rule, total])


def _line(name: str, scores: list[ClipScore], width: int) -> str:
    return f"{name:{width}}" + "".join(f" | {s.j:6.3f} {s.f:6.3f} {s.j_and_f:6.3f} {s.t:6.3f} " for s in scores)


def _frames_per_second(report: EvaluationReport, engine: str) -> float:
    chosen = [score for score in report.scores if score.condition.engine == engine]
    return sum(score.frames for score in chosen) / max(sum(score.seconds for score in chosen), 1e-9)
