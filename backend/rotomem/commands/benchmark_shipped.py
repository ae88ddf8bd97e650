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
    from rotomem.propagation.shot_tuning import ShotTuning

    source = MovingSource(*size)
    engine = make_engine("xmem", weights_dir=Path("no weights but those shipped"), device="cpu")
    assert isinstance(engine, CuedEngine)  # the shipped weights know the flow cue
    added = length // 2
    rounds = {"first round": [0, length - 1], "second round": [0, added, length - 1]}
    rows = []
    with tempfile.TemporaryDirectory(prefix="rotomem-benchmark-") as folder:
        for revision, (name, drawn) in enumerate(rounds.items(), start=1):
            engine.tuning = ShotTuning(steps=steps, folder=Path(folder), shot="benchmark", revision=revision)
            annotations = {frame: {"object": source.matte(frame, 0, 1)} for frame in drawn}
            rows.append({"what": name, **_time(engine, source, annotations, length, added + 1)})
    return {"weights": engine.weights_sha256, "rows": rows}


def _time(engine: Engine, source: MovingSource, drawn: Annotations, length: int, focus: int) -> dict[str, float]:
    """Return seconds of a round, and until its first matte that was not drawn, by the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    first: tuple[float, float] | None = None
    for result in engine.propagate(source, drawn, ["object"], range(length), cancelled=lambda: False, focus=focus):
        if first is None and not result.annotated:
            first = time.perf_counter() - wall, time.process_time() - cpu
    assert first is not None
    return {
        "seconds": time.perf_counter() - wall,
        "processor_s": time.process_time() - cpu,
        "first_matte_s": first[0],
        "first_matte_processor_s": first[1],
    }


def format_shipped(report: dict[str, Any]) -> str:
    """Lay the figures out."""
    rows = [
        {
            "": row["what"],
            "s": f"{row['seconds']:.1f}",
            "processor s": f"{row['processor_s']:.1f}",
            "first matte ms": f"{1e3 * row['first_matte_s']:.0f}",
            "processor ms": f"{1e3 * row['first_matte_processor_s']:.0f}",
        }
        for row in report["rows"]
    ]
    return f"the same rounds with the weights that Rotomem ships, tuning to the shot included\n{table(rows)}"
