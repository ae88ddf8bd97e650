"""Rounds as an artist meets them: the engine that jobs run by default, with the weights that Rotomem ships."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rotomem.commands.benchmark_shot import MovingSource, table

if TYPE_CHECKING:
    from rotomem.propagation.engine import Annotations, Engine


def measure_shipped(size: tuple[int, int], length: int, *, steps: int = 120) -> dict[str, Any]:
    """Propagate a made-up shot drawn at both ends, then with one more drawing in the middle; returns the figures.

    Args:
        size: (width, height), pixels.
        length: frames of the shot.
        steps: of tuning in the first round.
    """
    from rotomem.propagation import make_engine
    from rotomem.propagation.cued_engine import CuedEngine
    from rotomem.propagation.shot_tuning import Previews, ShotTuning

    source = MovingSource(*size)
    engine = make_engine("xmem", weights_dir=Path("no weights but those shipped"), device="cpu")
    assert isinstance(engine, CuedEngine)  # the shipped weights know the flow cue
    added = length // 2
    rounds = {"first round": [0, length - 1], "second round": [0, added, length - 1]}
    rows = []
    with tempfile.TemporaryDirectory(prefix="rotomem-benchmark-") as folder:
        for revision, (name, drawn) in enumerate(rounds.items(), start=1):
            engine.tuning = ShotTuning(
                steps=steps,
                folder=Path(folder),
                shot="benchmark",
                revision=revision,
                previews=Previews(is_better_known=lambda frame: False),
            )
            annotations = {frame: {"object": source.matte(frame, 0, 1)} for frame in drawn}
            rows.append({"what": name, **_time(engine, source, annotations, length, added + 1)})
    return {"weights": engine.weights_sha256, "rows": rows}


def _time(engine: Engine, source: MovingSource, drawn: Annotations, length: int, focus: int) -> dict[str, float]:
    """Return seconds of a round by the clock and of the processor.

    They are those until its first preview, until that of the frame under the artist's eye, until the first finished
    matte that was not drawn, and of the whole round.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    found: dict[str, float] = {}

    def note(what: str) -> None:
        found.setdefault(f"{what}_s", time.perf_counter() - wall)
        found.setdefault(f"{what}_processor_s", time.process_time() - cpu)

    for result in engine.propagate(source, drawn, ["object"], range(length), cancelled=lambda: False, focus=focus):
        if result.preview_by:
            note("first_preview")
            if result.frame == focus:
                note("focus_preview")
        elif not result.annotated:
            note("first_matte")
    note("round")
    return found


PARTS = {
    "first_preview": "first preview",
    "focus_preview": "frame looked at",
    "first_matte": "first finished",
    "round": "round",
}


def format_shipped(report: dict[str, Any]) -> str:
    """Lay the figures out: until the first preview and the others, seconds and, in brackets, of the processor."""
    rows = [
        {
            "": row["what"],
            **{name: f"{row[f'{part}_s']:.1f} ({row[f'{part}_processor_s']:.1f})" for part, name in PARTS.items()},
        }
        for row in report["rows"]
    ]
    heading = "the same rounds with the weights that Rotomem ships: seconds until there is, and (of the processor)"
    return f"{heading}\n{table(rows)}"
