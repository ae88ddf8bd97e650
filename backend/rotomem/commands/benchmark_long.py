"""``rotomem benchmark long``: peak memory over the length of a shot, and with ten objects in 4K."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from rotomem.commands.benchmark import PUBLISHED, peak_memory_mb
from rotomem.commands.benchmark_shot import MovingSource, random_network, table

if TYPE_CHECKING:
    from rotomem.propagation.engine import Annotations, Engine

SMALL = (128, 72)
LARGE = (3840, 2160)
LARGE_FRAMES = 6
LARGE_OBJECTS = 10
ANNOTATED_EVERY = 100
CACHE_BYTES = 1 << 26
FLOW_CACHE_BYTES = 1 << 22
"""Of encoded frames, and of the plate at flow's size with its flow: small, so that both lengths fill them, and the
longer shot cannot hide its growth behind a cache that is not full yet."""


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure each case in a process of its own, print the table, and return the figures."""
    from rotomem.commands.benchmark import in_fresh_process, machine

    lengths = [20, 60] if options.quick else [int(text) for text in options.lengths.split(",")]
    engines = options.engines.split(",")
    cases = [(engine, length, *SMALL, 1) for engine in engines for length in lengths]
    if not options.quick:
        cases += [(engine, LARGE_FRAMES, *LARGE, LARGE_OBJECTS) for engine in engines]
    rows = [in_fresh_process(measure, *case) for case in cases]
    report = {"machine": machine("cpu"), "feature_cache_mb": CACHE_BYTES / 1e6, "rows": rows}
    shown = [
        {
            "engine": row["engine"],
            "plate": f"{row['width']}x{row['height']}",
            "objects": row["objects"],
            "frames": row["frames"],
            "peak MB": f"{row['peak_memory_mb']:.0f}",
            "before the shot MB": f"{row['memory_before_mb']:.0f}",
            "frames/s": f"{row['frames_per_second']:.1f}",
        }
        for row in rows
    ]
    print(
        f"{report['machine']}; xmem: the weights that Rotomem ships, tuned to the shot; {PUBLISHED}: light "
        f"configuration, random weights, {CACHE_BYTES >> 20} MiB of features; {FLOW_CACHE_BYTES >> 20} MiB of flow"
    )
    print(table(shown))
    return report


def measure(engine_name: str, frames: int, width: int, height: int, objects: int) -> dict[str, Any]:
    """Propagate a made-up shot, dropping each result at once, as a writer would; for a process of its own."""
    from rotomem.propagation import flow

    flow.CACHE_BYTES = FLOW_CACHE_BYTES  # of this process alone, which makes nothing else
    source = MovingSource(width, height)
    names = [f"object{index}" for index in range(objects)]
    drawn = sorted({*range(0, frames, ANNOTATED_EVERY), frames - 1})
    annotations: Annotations = {f: {name: source.matte(f, i, objects) for i, name in enumerate(names)} for f in drawn}
    engine = _engine(engine_name)
    before = peak_memory_mb()
    started = time.perf_counter()
    count = sum(1 for _ in engine.propagate(source, annotations, names, range(frames), cancelled=lambda: False))
    seconds = time.perf_counter() - started
    return {
        "engine": engine_name,
        "width": width,
        "height": height,
        "objects": objects,
        "frames": count,
        "memory_before_mb": before,
        "peak_memory_mb": peak_memory_mb(),
        "frames_per_second": count / seconds,
    }


def _engine(name: str) -> Engine:
    from pathlib import Path

    from rotomem.propagation import make_engine

    if name != PUBLISHED:
        return make_engine(name, weights_dir=Path("no weights but those shipped"), device="cpu")
    import dataclasses

    from rotomem.propagation.xmem_engine import XMemEngine, XMemSettings
    from rotomem.vos import NetworkConfig

    config = dataclasses.replace(NetworkConfig.light(), prior_channels=0)
    settings = XMemSettings(feature_cache_bytes=CACHE_BYTES, image_cache_bytes=CACHE_BYTES)
    return XMemEngine(random_network(config), weights_sha256="random", device="cpu", settings=settings)
