"""What an evaluation leaves behind: a table, the same as JSON, a plot and a contact sheet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rotomem.drawing import Colour, save_png
from rotomem.errors import SettingError
from rotomem.plates.publishing import publish_file
from rotomem.training.chart import Picture, draw_chart
from rotomem.training.evaluation import SAMPLES_FOLDER
from rotomem.training.evaluation_sheet import write_sheet
from rotomem.training.footage import FootageSource
from rotomem.training.scores import TITLES, EvaluationReport, format_table, to_json

TABLE, SCORES, PLOT, SHEET = "table.txt", "scores.json", "plot.png", "contact_sheet.png"
BASELINE = "copy"
USUAL_SHEET_COUNT = 3
_CURVE_COLOURS: tuple[Colour, ...] = ((40, 60, 200), (60, 150, 60), (30, 90, 200), (150, 60, 150), (20, 140, 150))
_BASELINE_COLOUR: Colour = (150, 150, 150)


def choose_sheet(
    engines: Sequence[str], counts: Sequence[int], *, engine: str | None, count: int | None
) -> tuple[str, int]:
    """Return the engine and the number of annotations that the contact sheet shall show, of those to be measured.

    By default the first engine besides copying, and 3 annotations if that is among the numbers, else the first number.

    Raises:
        SettingError: one that is not among them.
    """
    if engine is None:
        engine = next((name for name in engines if name != BASELINE), engines[0])
    if count is None:
        count = USUAL_SHEET_COUNT if USUAL_SHEET_COUNT in counts else counts[0]
    if engine not in engines:
        raise SettingError(f"--sheet-engine {engine!r} is not measured; choose one of {', '.join(engines)}")
    if count not in counts:
        raise SettingError(f"--sheet-count {count} is not measured; choose one of {', '.join(map(str, counts))}")
    return engine, count


def write_report(
    out: Path, report: EvaluationReport, sources: Sequence[FootageSource], *, sheet_engine: str, sheet_count: int
) -> list[Path]:
    """Write table, JSON, plot and contact sheet; the sheet is of the clips, or of synthetic shots without any.

    Args:
        sources: of all that the report is about.

    Raises:
        DiskFullError, OutputUnwritableError: names the file.
    """
    _write_text(out / TABLE, format_table(report) + "\n")
    write_json(out / SCORES, report)
    save_png(out / PLOT, draw_plot(report))
    footage_set = report.sets[0]
    write_sheet(
        out / SHEET,
        report.of(footage_set),
        {source.name: source for source in sources if source.set == footage_set},
        out / SAMPLES_FOLDER,
        engine=sheet_engine,
        annotations=sheet_count,
    )
    return [out / name for name in (TABLE, SCORES, PLOT, SHEET)]


def write_json(path: Path, report: EvaluationReport) -> None:
    """Write the scores as JSON, whole or not at all; raises ``DiskFullError`` and ``OutputUnwritableError``."""
    _write_text(path, json.dumps(to_json(report), indent=1) + "\n")


def draw_plot(report: EvaluationReport) -> Picture:
    """Draw J&F over the number of annotations, a curve per engine and a panel per set of footage; RGB."""
    return np.concatenate([_panel(report.of(footage_set)) for footage_set in report.sets])


def _panel(report: EvaluationReport) -> Picture:
    counts = sorted(report.counts)
    curves = {
        engine: (np.array(counts, float), np.array([report.overall(engine, count).j_and_f for count in counts]))
        for engine in report.engines
    }
    learners = [engine for engine in report.engines if engine != BASELINE]
    colours = {engine: _CURVE_COLOURS[index % len(_CURVE_COLOURS)] for index, engine in enumerate(learners)}
    clips = len({score.condition.clip for score in report.scores})
    lowest = min(float(y.min()) for _, y in curves.values())
    return draw_chart(
        curves,
        {BASELINE: _BASELINE_COLOUR, **colours},
        f"{TITLES[report.sets[0]]} ({clips}): mean J&F",
        end=counts[-1] * 1.05,
        ticks=[(float(count), f"{count} frame{'s' * (count > 1)}") for count in counts],
        bottom=float(np.floor(min(lowest, 0.99) * 10) / 10),
        top=1.0,
        marked=True,
    )


def _write_text(path: Path, text: str) -> None:
    def write(temporary: Path) -> str:
        temporary.write_text(text, encoding="utf-8")
        return ""

    publish_file(path, write)
