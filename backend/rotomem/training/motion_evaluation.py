"""How good mattes from motion alone are: J, F and T on footage with truth, at 0 annotated frames.

Protocol, as usual for unsupervised segmentation: one matte per frame, of what the shot is about, against the union of
the truth's objects. It is the union of the objects that the method itself ranks first (``main_objects``: those at
least a quarter as strong as the strongest), chosen without a look at the truth. Every frame counts; clips are averaged
alike. A clip in which the method finds nothing gets empty mattes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rotomem.propagation.classical_motion import MotionProposal, propose_objects
from rotomem.propagation.engine import Image
from rotomem.propagation.flow import LONGER_SIDE_PX, PlateFlow
from rotomem.training.footage import Footage, FootageSource, HeldOutShot, find_clips
from rotomem.training.matte_samples import sampled_frames, save_samples
from rotomem.training.measurement_log import MeasurementLog
from rotomem.training.metrics import Mask, boundary_f, region_j, temporal_stability
from rotomem.training.scores import ClipScore, Condition, EvaluationReport, format_table

ENGINE = "classical"
MEASUREMENTS = "motion.jsonl"
SAMPLES_FOLDER = "mattes"


def measure_proposals(
    footage: Sequence[FootageSource],
    *,
    out: Path,
    longer_side_px: int = LONGER_SIDE_PX,
    on_score: Callable[[ClipScore], None] = lambda score: None,
) -> EvaluationReport:
    """Measure the classical proposal on each piece of footage that ``out`` does not hold yet.

    Args:
        longer_side_px: of the flow.
        on_score: told each new measurement.

    Raises:
        OutputUnwritableError: ``out`` cannot be written.
    """
    log = MeasurementLog(out / MEASUREMENTS)
    scores = []
    for source in footage:
        condition = Condition(set=source.set, clip=source.name, engine=ENGINE, annotations=0)
        fingerprint = f"{source.fingerprint}@{longer_side_px}"
        score = log.find(condition, fingerprint)
        if score is None:
            clip = source.open()
            started = time.monotonic()
            mattes = propose_mattes(clip, longer_side_px=longer_side_px)
            score = score_mattes(condition, mattes, clip, seconds=time.monotonic() - started)
            save_samples(out / SAMPLES_FOLDER, condition, mattes[sampled_frames([], len(mattes))])
            log.add(score, fingerprint)
            on_score(score)
        scores.append(score)
    return EvaluationReport(tuple(scores))


def propose_mattes(clip: Footage, *, longer_side_px: int) -> Mask:
    """Return (T, H, W): the clip's main objects, from motion alone."""
    flow = PlateFlow(clip, longer_side_px=longer_side_px)
    frames = range(len(clip.truth))
    proposal = propose_objects(flow, frames, plate_px=max(clip.size) / max(flow.size), step=lambda: None)
    return np.stack([main_matte(proposal, frame, clip.image(frame)) > 0.5 for frame in frames])


def main_matte(proposal: MotionProposal, frame: int, image: Image) -> Image:
    """Return (H, W): what is seen of any of the main objects."""
    mattes = [found.matte(frame, image) for found in proposal.main_objects()]
    return np.max(mattes, axis=0) if mattes else np.zeros(image.shape[:2], np.float32)


def score_mattes(condition: Condition, mattes: Mask, clip: Footage, *, seconds: float) -> ClipScore:
    """Measure (T, H, W) against the union of the truth's objects."""
    truth = clip.truth.max(axis=1) > 0.5
    pairs = list(zip(mattes, truth, strict=True))
    steps = [
        temporal_stability(mattes[index : index + 2], truth[index : index + 2]) for index in range(len(mattes) - 1)
    ]
    return ClipScore(
        condition=condition,
        frames=len(mattes),
        j=float(np.mean([region_j(ours, theirs) for ours, theirs in pairs])),
        f=float(np.mean([boundary_f(ours, theirs) for ours, theirs in pairs])),
        t=float(np.mean(steps)) if steps else 1.0,
        seconds=seconds,
    )


def main() -> None:
    """``python -m rotomem.training.motion_evaluation --clips CLIPS --out FOLDER``."""
    parser = argparse.ArgumentParser(description="J, F and T of the classical motion proposal, at 0 annotated frames.")
    parser.add_argument("--clips", type=Path, help="folder of clips; see `rotomem evaluate --help`")
    parser.add_argument("--only", help="comma-separated names of clips")
    parser.add_argument("--synthetic", type=int, default=0, metavar="N", help="held-out synthetic shots")
    parser.add_argument("--flow-size", type=int, default=LONGER_SIDE_PX, help="longer side of the flow, pixels")
    parser.add_argument("--out", type=Path, required=True, help="keeps every measurement; the same command goes on")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else None
    footage: list[FootageSource] = list(find_clips(options.clips, only)) if options.clips else []
    footage += [HeldOutShot(index) for index in range(options.synthetic)]
    report = measure_proposals(
        footage, out=options.out, longer_side_px=options.flow_size, on_score=lambda score: _show(score)
    )
    _tell(format_table(report))


def _show(score: ClipScore) -> None:
    _tell(f"{score.condition.clip:24} J {score.j:.3f} F {score.f:.3f} T {score.t:.3f} {score.seconds:6.1f} s")


def _tell(text: str) -> None:
    import sys

    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
