"""``rotomem benchmark rounds``: what a round of annotation costs, the published way and ours, in one run."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rotomem.commands.benchmark_shipped import format_shipped, measure_shipped
from rotomem.commands.benchmark_shot import moving_shot, random_network, table

if TYPE_CHECKING:
    from torch import Tensor

    from rotomem.vos import FrameFeatures, InferenceCore, Network
    from rotomem.vos.plain_core import PlainCore

GOALS = {"first round": 2.0, "second round": 4.0, "suggestion": 20.0}
SUGGESTIONS = 5
ALPHA = 0.5


@dataclass
class _Spent:
    """Wall-clock seconds, and processor seconds of this process, which other programs' load disturbs less."""

    wall_s: float = 0.0
    cpu_s: float = 0.0


@dataclass
class _Path:
    """One way through the rounds: what each cost, and the probabilities that came out."""

    spent: dict[str, _Spent] = field(default_factory=dict)
    first_matte_s: float = 0.0
    results: list[Tensor] = field(default_factory=list)

    def time(self, name: str, work: Callable[[], None]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        self.spent[name] = _Spent(time.perf_counter() - wall, time.process_time() - cpu)


@dataclass(frozen=True)
class _Shot:
    """The work: a shot annotated at both ends, then in the middle too."""

    images: Tensor
    masks: Tensor

    @property
    def length(self) -> int:
        return len(self.images)

    @property
    def added(self) -> int:
        return self.length // 2

    def play(self, core: InferenceCore | PlainCore, annotated: list[int], *, backward: bool) -> list[Tensor]:
        """Return the probabilities of each frame of one pass."""
        core.clear_temporary()
        frames = range(self.length - 1, -1, -1) if backward else range(self.length)
        return [
            core.step(f, self.images[f], self.masks[f] if f in annotated else None, last=f == frames[-1])
            for f in frames
        ]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    from rotomem.commands.benchmark_cuda import measure_cuda
    from rotomem.commands.sizes import parse_size
    from rotomem.vos import NetworkConfig

    width, height = parse_size(options.size or ("160x96" if options.quick else "432x240"))
    length = options.frames or (8 if options.quick else 20)
    candidates = options.candidates or (20 if options.quick else 100)
    network = random_network(NetworkConfig())
    report = measure(network, (width, height), length=length, candidates=candidates, objects=options.objects)
    print(_format(report))
    report["shipped"] = measure_shipped((width, height), length, steps=10 if options.quick else 120)
    print(format_shipped(report["shipped"]))
    report["cuda"] = measure_cuda(network, options)
    return report


def measure(network: Network, size: tuple[int, int], *, length: int, candidates: int, objects: int) -> dict[str, Any]:
    """Go both ways through two rounds and a suggestion; returns the figures.

    Args:
        size: (width, height), pixels.
        length: frames of the shot.
        candidates: frames to suggest from.
    """
    from rotomem.commands.benchmark import machine

    width, height = size
    images, masks = moving_shot(max(length, candidates), width, height, objects)
    shot = _Shot(images[:length], masks[:length])
    plain, ours = _run_plain(network, shot), _run_optimised(network, shot)
    _suggest(network, images[:candidates], masks[:candidates], plain, ours)
    return {
        "machine": machine("cpu"),
        "width": width,
        "height": height,
        "frames": length,
        "candidates": candidates,
        "objects": objects,
        "rows": [_row(name, plain, ours) for name in GOALS],
        "first_matte_ms": {"plain": 1e3 * plain.first_matte_s, "optimised": 1e3 * ours.first_matte_s},
        "largest_difference": _largest_difference(_run_exact(network, shot), ours.results),
        "largest_difference_to_float32_similarity": _largest_difference(plain.results, ours.results),
    }


def _run_plain(network: Network, shot: _Shot) -> _Path:
    """Every round from nothing, as published."""
    from rotomem.vos.plain_core import PlainCore

    path = _Path()
    count = shot.masks.shape[1]

    def round_of(annotated: list[int]) -> None:
        started = time.perf_counter()
        core = PlainCore(network, num_objects=count)
        for frame in annotated:
            core.memorize(frame, shot.images[frame], shot.masks[frame])
        for frame in range(shot.length):
            given = shot.masks[frame] if frame in annotated else None
            path.results.append(core.step(frame, shot.images[frame], given, last=frame == shot.length - 1))
            if frame == shot.added + 1:
                path.first_matte_s = time.perf_counter() - started
        path.results += shot.play(core, annotated, backward=True)

    ends = [0, shot.length - 1]
    path.time("first round", lambda: round_of(ends))
    path.time("second round", lambda: round_of([*ends, shot.added]))
    return path


def _run_exact(network: Network, shot: _Shot) -> list[Tensor]:
    """Return the first pass of the first round, with similarities that rounding does not decide; not timed."""
    from rotomem.vos.plain_core import PlainCore

    core = PlainCore(network, num_objects=shot.masks.shape[1], exact_similarity=True)
    for frame in (0, shot.length - 1):
        core.memorize(frame, shot.images[frame], shot.masks[frame])
    return shot.play(core, [0, shot.length - 1], backward=False)


def _largest_difference(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=False))


def _run_optimised(network: Network, shot: _Shot) -> _Path:
    """The second round begins with the frame beside the new annotation, and encodes that annotation alone."""
    from rotomem.propagation.xmem_engine import XMemSettings
    from rotomem.vos import FeatureCache, InferenceCore

    path = _Path()
    features = FeatureCache(XMemSettings().feature_cache_bytes)
    core = InferenceCore(network, num_objects=shot.masks.shape[1], features=features)
    ends = [0, shot.length - 1]

    def first() -> None:
        for frame in ends:
            core.memorize(frame, shot.images[frame], shot.masks[frame])
        path.results += shot.play(core, ends, backward=False)
        path.results += shot.play(core, ends, backward=True)

    def second() -> None:
        started = time.perf_counter()
        added = shot.added
        core.memorize(added, shot.images[added], shot.masks[added])
        focus = core.branch()
        focus.step(added, shot.images[added], shot.masks[added])
        focus.step(added + 1, shot.images[added + 1])
        path.first_matte_s = time.perf_counter() - started
        annotated = [*ends, added]
        path.results += shot.play(core, annotated, backward=False)
        path.results += shot.play(core, annotated, backward=True)

    path.time("first round", first)
    path.time("second round", second)
    return path


def _suggest(network: Network, images: Tensor, masks: Tensor, plain: _Path, ours: _Path) -> None:
    """Five frames: recomputing keys and every distance for each pick, and from cached keys with running minima."""
    import torch

    from rotomem.suggestion import suggest_frames
    from rotomem.vos.convolution import plain_arithmetic
    from rotomem.vos.padding import Padding

    padding = Padding.to_stride(images.shape[-2], images.shape[-1])
    annotated = [0, len(images) - 1]
    picks: dict[str, list[int]] = {}
    encoded: list[FrameFeatures] = []

    def recompute() -> None:
        with torch.inference_mode(), plain_arithmetic():
            encoded.extend(network.encode_key(padding.add(image)[None]) for image in images)
            for features in encoded:
                features.finer = None
            picks["plain"] = _published_picks(encoded, masks.amax(dim=1), annotated)

    plain.time("suggestion", recompute)
    keys, shrinkages, selections = (
        torch.cat([getattr(features, name) for features in encoded]) for name in ("key", "shrinkage", "selection")
    )

    def from_cache() -> None:
        picks["ours"] = suggest_frames(keys, shrinkages, selections, masks, annotated, SUGGESTIONS, ALPHA)

    ours.time("suggestion", from_cache)
    if picks["plain"] != picks["ours"]:
        print(f"suggestions differ: {picks['plain']} recomputed, {picks['ours']} from cached keys")


def _published_picks(encoded: list[FrameFeatures], unions: Tensor, annotated: list[int]) -> list[int]:
    """Farthest-point selection that computes each frame's distances to all chosen frames anew for every pick."""
    from torch.nn import functional as F

    from rotomem.vos.plain_core import plain_similarity

    composites = []
    for features, union in zip(encoded, unions, strict=True):
        key = features.key[0]
        cells = F.interpolate(union[None, None], size=key.shape[-2:], mode="nearest")[0]
        composites.append((ALPHA * (key * cells) + (1 - ALPHA) * key).flatten(1))

    def similarity(memory: int, query: int) -> Tensor:
        shrinkage, selection = encoded[memory].shrinkage[0].flatten(1), encoded[query].selection[0].flatten(1)
        return plain_similarity(composites[memory], shrinkage, composites[query], selection)

    def distance(chosen: int, frame: int) -> float:
        return float((similarity(chosen, frame) - similarity(frame, chosen)).clamp(min=0).mean())

    taken = list(annotated)
    for _ in range(SUGGESTIONS):
        frames = [frame for frame in range(len(encoded)) if frame not in taken]
        taken.append(max(frames, key=lambda frame: min(distance(chosen, frame) for chosen in taken)))
    return taken[len(annotated) :]


def _row(name: str, plain: _Path, ours: _Path) -> Mapping[str, Any]:
    a, b = plain.spent[name], ours.spent[name]
    return {
        "what": name,
        "plain_s": a.wall_s,
        "optimised_s": b.wall_s,
        "factor": a.wall_s / b.wall_s,
        "factor_in_processor_time": a.cpu_s / b.cpu_s,
        "goal": GOALS[name],
    }


def _format(report: dict[str, Any]) -> str:
    rows = [
        {
            "": row["what"],
            "plain s": f"{row['plain_s']:.2f}",
            "optimised s": f"{row['optimised_s']:.2f}",
            "factor": f"{row['factor']:.1f}",
            "in processor time": f"{row['factor_in_processor_time']:.1f}",
            "goal": f"{row['goal']:.0f}",
        }
        for row in report["rows"]
    ]
    first = report["first_matte_ms"]
    return (
        f"{report['machine']}; {report['width']}x{report['height']}, {report['frames']} frames both ways, "
        f"{SUGGESTIONS} suggestions among {report['candidates']}, {report['objects']} object(s), random weights\n"
        f"{table(rows)}\n"
        f"first new matte after an annotation: {first['optimised']:.0f} ms (plain: {first['plain']:.0f} ms)\n"
        f"largest difference of probabilities: {report['largest_difference']:.1e} (first pass); "
        f"{report['largest_difference_to_float32_similarity']:.1e} (all passes) where the plain path rounds "
        f"similarities to float32, as published, so that rounding decides near ties"
    )
