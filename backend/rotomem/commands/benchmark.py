"""``rotomem benchmark``: where the time goes, per engine and plate size; what rounds and long shots cost."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rotomem.config import Settings
    from rotomem.demo import DemoShot
    from rotomem.propagation.engine import Annotations, Engine, FrameSource, Image, PropagatedFrame

NAME = "benchmark"
SUMMARY = "measure phases, rounds of annotation, or long and large shots on this machine"
EXAMPLES = """examples:
  rotomem benchmark                                        720x480 and 1920x1080, every engine
  rotomem benchmark --engines warp --sizes 1920x1080 --frames 24 --json benchmark.json
  rotomem benchmark rounds                                 the published way against ours, round by round
  rotomem benchmark rounds --quick
  rotomem benchmark long                                   peak memory at 200 and 2,000 frames, and in 4K

phases: each row runs in a process of its own on the demo's shot with its first and last frame annotated, from EXR
files to EXR mattes. xmem runs the weights that a job would run; xmem-published runs the published configuration with
random weights: the same work, worthless mattes. rounds and long say in their tables what they run.
"""
RANDOM_WEIGHTS = "random"
PUBLISHED = "xmem-published"
"""Engine ``xmem`` as it runs weights without the flow cue: working, long-term and sensory memory, passes both ways."""

ENGINES = f"warp,xmem,{PUBLISHED}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", choices=["phases", "rounds", "long"], default="phases")
    parser.add_argument("--engines", default=ENGINES, help="phases, long: comma-separated")
    parser.add_argument("--sizes", default="720x480,1920x1080", help="phases: comma-separated plate sizes, pixels")
    parser.add_argument("--size", help="rounds: plate size (default: 432x240)")
    parser.add_argument("--frames", type=_count, help="length of the shot (default: phases 8, rounds 20)")
    parser.add_argument("--lengths", default="200,2000", help="long: comma-separated lengths of shots")
    parser.add_argument("--candidates", type=_count, help="rounds: frames to suggest from (default: 100)")
    parser.add_argument("--objects", type=_count, default=1, help="rounds: objects in the shot")
    parser.add_argument("--cuda-frames", type=_count, default=120, help="rounds: length of the shot on a GPU")
    parser.add_argument("--quick", action="store_true", help="rounds, long: small and short, to see that it runs")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 to 100000")
    return int(text)


def run(options: argparse.Namespace) -> int:
    from rotomem.commands import benchmark_long, benchmark_rounds

    options.device = options.settings.device
    kinds: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "phases": _run_phases,
        "rounds": benchmark_rounds.run,
        "long": benchmark_long.run,
    }
    report = kinds[options.kind](options)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 0


def _run_phases(options: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from rotomem.commands.sizes import parse_size

    sizes = [parse_size(text) for text in options.sizes.split(",")]
    engines = options.engines.split(",")
    frames = options.frames or 8
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(sizes) * len(engines), unit="row", leave=False) as bar:
        for size in sizes:
            with tempfile.TemporaryDirectory(prefix="rotomem-benchmark-") as folder:
                shot = in_fresh_process(_render, Path(folder), frames, size)
                for engine in engines:
                    bar.set_description(f"{engine} {size[0]}x{size[1]}")
                    rows.append(in_fresh_process(measure, engine, shot, Path(folder), options.settings))
                    bar.update()
    report = {"machine": machine(options.settings.device), "frames": frames, "rows": rows}
    print(format_table(report))
    return report


def in_fresh_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Return ``function(*arguments)``, called in a process of its own."""
    # Spawned, so that nothing is inherited and the peak memory is the function's own.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _render(folder: Path, frames: int, size: tuple[int, int]) -> DemoShot:
    from rotomem.demo import render_demo_shot

    return render_demo_shot(folder / "shot", frames=frames, width=size[0], height=size[1])


def measure(engine_name: str, shot: DemoShot, folder: Path, settings: Settings) -> dict[str, Any]:
    """Propagate ``shot`` into ``folder`` and return the figures; for a process of its own."""
    from rotomem.session import PlateReference, PropagationTask, ShotAnnotation, propagate_shot

    hero = shot.objects[0]
    frames = shot.last - shot.first + 1
    task = PropagationTask(
        plate=PlateReference(first=shot.first, last=shot.last, pattern=shot.plate_pattern),
        annotations=tuple(
            ShotAnnotation(frame, hero, shapes=shot.shapes[frame][hero]) for frame in (shot.first, shot.last)
        ),
        objects=(hero,),
        first=shot.first,
        last=shot.last,
        output_pattern=str(folder / "mattes" / "m.%04d.exr"),
    )
    engine = _TimedEngine(_engine(engine_name, settings))
    started = time.perf_counter()
    propagate_shot(task, on_matte=lambda _: None, on_progress=lambda _: None, cancelled=lambda: False, engine=engine)
    seconds = time.perf_counter() - started
    phases = {phase: 1000 * total / frames for phase, total in engine.seconds.items()}
    return {
        "engine": engine_name,
        "weights": engine.weights_sha256,
        "width": shot.width,
        "height": shot.height,
        "milliseconds_per_frame": {**phases, "other": 1000 * seconds / frames - sum(phases.values())},
        "frames_per_second": frames / seconds,
        "peak_memory_mb": peak_memory_mb(),
    }


def _engine(name: str, settings: Settings) -> Engine:
    from rotomem.propagation import make_engine

    if name != PUBLISHED:
        return make_engine(name, device=settings.device, weights="", weights_dir=settings.weights_dir)
    from rotomem.propagation.xmem_engine import XMemEngine
    from rotomem.vos import Network, NetworkConfig

    return XMemEngine(Network(NetworkConfig()), weights_sha256=RANDOM_WEIGHTS, device=settings.device)


class _TimedEngine:
    """Adds up what an engine reports by phase, and the plate's reading and the matte's writing around it."""

    def __init__(self, engine: Engine) -> None:
        self.name = engine.name
        self.weights_sha256 = engine.weights_sha256
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._engine = engine

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
        timed = _TimedSource(source, self.seconds)
        for result in self._engine.propagate(timed, annotations, objects, frames, cancelled=cancelled, focus=focus):
            for phase, seconds in result.timings_s.items():
                self.seconds[phase] += seconds
            # The consumer writes the matte before it asks for the next one.
            started = time.perf_counter()
            yield result
            self.seconds["write"] += time.perf_counter() - started


class _TimedSource:
    def __init__(self, source: FrameSource, seconds: defaultdict[str, float]) -> None:
        self.size = source.size
        self._source = source
        self._seconds = seconds

    def image(self, frame: int) -> Image:
        started = time.perf_counter()
        try:
            return self._source.image(frame)
        finally:
            self._seconds["read"] += time.perf_counter() - started


def peak_memory_mb() -> float:
    """Return this process's peak resident memory in MB, 0 where the system does not tell."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def machine(device: str) -> str:
    """Return what the figures were measured on, in one line."""
    import torch

    name = platform.processor() or platform.machine()
    if sys.platform == "linux":
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() and device != "cpu" else "no GPU"
    return f"{name}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}, {torch.get_num_threads()} threads"


def format_table(report: dict[str, Any]) -> str:
    """Lay the rows out: phases in milliseconds per frame."""
    phases = list(dict.fromkeys(phase for row in report["rows"] for phase in row["milliseconds_per_frame"]))
    header = ["engine", "plate", *phases, "frames/s", "peak MB"]
    lines = [
        [
            row["engine"] + (" (random weights)" if row["weights"] == RANDOM_WEIGHTS else ""),
            f"{row['width']}x{row['height']}",
            *(f"{row['milliseconds_per_frame'].get(phase, 0.0):.0f}" for phase in phases),
            f"{row['frames_per_second']:.2f}",
            f"{row['peak_memory_mb']:.0f}",
        ]
        for row in report["rows"]
    ]
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    body = "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in [header, *lines]
    )
    return f"{report['machine']}; {report['frames']} frames; milliseconds per frame by phase\n{body}"
