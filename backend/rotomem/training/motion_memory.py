"""How much memory the motion networks need on a long clip: each one's peak, in a process of its own.

Networks of the published sizes with weights at random, on frames and masks at random: memory depends on shapes alone.
Each is called as the pipeline calls it, on the CPU and without gradients.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from rotomem.motion import Corrector, DinoConfig, DinoFeatures, FlowSegmenter, MotionNetworks, Selector
from rotomem.motion.correction import correct_masks
from rotomem.motion.pipeline import EXEMPLARS, FRAMES_AT_ONCE, segment_flow
from rotomem.motion.selector import choose_exemplars, exemplar_scores
from rotomem.training.motion_evaluation import tell

PARTS = ("flow", "features", "selector", "corrector")
MEGABYTE = 1e6


@dataclass(frozen=True)
class PeakMemory:
    """Of one part's process.

    Args:
        before_mb: its peak with the weights and the clip loaded, in units of 1e6 bytes, as the next.
        peak_mb: its peak after the part has run.
        seconds: that it ran.
    """

    before_mb: float
    peak_mb: float
    seconds: float


def measure_part(part: str, *, frames: int, height: int, width: int, objects: int) -> PeakMemory:
    """Run one of ``PARTS`` in a new process, since a process's peak never falls.

    Raises:
        subprocess.CalledProcessError: it failed, for instance for want of memory.
    """
    sizes = [str(value) for value in (frames, height, width, objects)]
    command = [sys.executable, "-m", "rotomem.training.motion_memory", "--part", part, "--sizes", *sizes]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    before, peak, seconds = (float(number) for number in printed.split())
    return PeakMemory(before, peak, seconds)


@torch.no_grad()
def run_here(part: str, frames: int, height: int, width: int, objects: int) -> PeakMemory:
    """Run one of ``PARTS`` in this process, which must be a new one."""
    work = _prepare(part, frames, height, width, objects)
    before = _peak_mb()
    started = time.monotonic()
    work()
    return PeakMemory(before, _peak_mb(), time.monotonic() - started)


def _prepare(part: str, frames: int, height: int, width: int, objects: int) -> Callable[[], object]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(frames, 3, height, width, generator=generator)
    masks = (torch.rand(frames, objects, height, width, generator=generator) > 0.5).float()
    if part == "flow":
        segmenter = FlowSegmenter().eval()
        networks = MotionNetworks(segmenter, Selector(), Corrector(), torch.nn.Identity(), torch.nn.Identity())
        flow = torch.randn(frames, 2, height, width, generator=generator)
        return lambda: segment_flow((flow, -flow), networks, (height, width))
    if part == "features":
        coarse, fine = DinoFeatures(DinoConfig.vits16()).eval(), DinoFeatures(DinoConfig.vits8()).eval()
        return lambda: [(coarse(piece), fine(piece)) for piece in torch.split(images, FRAMES_AT_ONCE)]
    if part == "selector":
        selector = Selector().eval()
        features = torch.randn(frames, height // 16, width // 16, selector.config.feature_dim, generator=generator)
        return lambda: selector(images[None], masks[None], features[None])
    corrector = Corrector().eval()
    features = torch.randn(frames, height // 8, width // 8, corrector.config.feature_dim, generator=generator)
    scores = exemplar_scores(torch.rand(frames, objects, generator=generator))
    exemplars = choose_exemplars(scores, EXEMPLARS)
    return lambda: correct_masks(corrector, images, masks, features, scores, exemplars)


def _peak_mb() -> float:
    """Return the peak of this process's resident memory.

    On Linux that of its program: ``getrusage`` counts what the process was before it began to run this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / MEGABYTE
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def main() -> None:
    """``python -m rotomem.training.motion_memory``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--height", type=int, default=128, help="of the networks' frames; default: %(default)s")
    parser.add_argument("--width", type=int, default=224, help="default: %(default)s")
    parser.add_argument("--objects", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--part", choices=PARTS, help="only this one")
    parser.add_argument("--sizes", type=int, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sizes:
        found = run_here(options.part, *options.sizes)
        tell(f"{found.before_mb} {found.peak_mb} {found.seconds}")
        return
    for part in [options.part] if options.part else PARTS:
        found = measure_part(
            part, frames=options.frames, height=options.height, width=options.width, objects=options.objects
        )
        added = found.peak_mb - found.before_mb
        tell(
            f"{part:10} peak {found.peak_mb:6.0f} MB, of which {added:6.0f} MB while it ran {options.frames} frames; "
            f"{found.seconds:6.1f} s"
        )


if __name__ == "__main__":
    main()
