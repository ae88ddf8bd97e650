"""How good mattes from motion alone are: J, F and T on footage with truth, at 0 annotated frames.

Protocol, as usual for unsupervised segmentation: one matte per frame, of what the shot is about, against the union of
the truth's objects. It is the union of the objects that the method itself ranks first (``main_objects``: those at
least a quarter as strong as the strongest), chosen without a look at the truth. Every frame counts; clips are averaged
alike. A clip in which the method finds nothing gets empty mattes.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from rotomem.engine_names import SHIPPED_WEIGHTS
from rotomem.errors import SettingError
from rotomem.motion import FlowSegmenter
from rotomem.propagation.classical_motion import MotionProposal, propose_objects
from rotomem.propagation.engine import Image
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_networks import load_segmenter
from rotomem.propagation.segmenter_proposal import segmenter_proposal
from rotomem.session.motion_task import FLOW_SIDE_PX
from rotomem.training.footage import Footage, FootageSource, HeldOutShot, find_clips
from rotomem.training.matte_samples import sampled_frames, save_samples
from rotomem.training.measurement_log import MeasurementLog
from rotomem.training.metrics import Mask, boundary_f, region_j, temporal_stability
from rotomem.training.scores import ClipScore, Condition, EvaluationReport, format_table

CLASSICAL, SEGMENTED = "classical", "flow segmenter"
MEASUREMENTS = "motion.jsonl"
SAMPLES_FOLDER = "mattes"

Proposer = Callable[[Footage, int], Mapping[str, tuple[Mask, float]]]
"""Footage and the flow's longer side to mattes (T, H, W) and seconds, by name."""


def measure_proposals(
    footage: Sequence[FootageSource],
    *,
    out: Path,
    longer_side_px: int = FLOW_SIDE_PX,
    proposers: Mapping[tuple[str, ...], Proposer] | None = None,
    weights_sha256: Mapping[str, str] | None = None,
    on_score: Callable[[ClipScore], None] = lambda score: None,
) -> EvaluationReport:
    """Measure proposals on each piece of footage that ``out`` does not hold yet.

    Args:
        longer_side_px: of the flow.
        proposers: by the names of what they give; the classical one alone unless given.
        weights_sha256: of what a name's mattes are made with, where that has weights.
        on_score: told each new measurement.

    Raises:
        OutputUnwritableError: ``out`` cannot be written.
    """
    proposers = proposers or {(CLASSICAL,): classical_mattes}
    weights = weights_sha256 or {}
    log = MeasurementLog(out / MEASUREMENTS)
    scores = []
    for source in footage:
        for names, proposer in proposers.items():
            fingerprint = f"{source.fingerprint}@{longer_side_px}"
            conditions = {
                name: Condition(
                    set=source.set, clip=source.name, engine=name, annotations=0, weights_sha256=weights.get(name, "")
                )
                for name in names
            }
            found = {name: log.find(condition, fingerprint) for name, condition in conditions.items()}
            if not all(found.values()):
                clip = source.open()
                for name, (mattes, seconds) in proposer(clip, longer_side_px).items():
                    score = score_unions(conditions[name], mattes, clip, seconds=seconds)
                    save_samples(out / SAMPLES_FOLDER, conditions[name], mattes[sampled_frames([], len(mattes))])
                    log.add(score, fingerprint)
                    on_score(score)
                    found[name] = score
            scores += [score for score in found.values() if score is not None]
    return EvaluationReport(tuple(scores))


def classical_mattes(clip: Footage, longer_side_px: int) -> dict[str, tuple[Mask, float]]:
    """Return (T, H, W): the clip's main objects, from motion alone."""
    started = time.monotonic()
    mattes = main_mattes(propose_in(clip, PlateFlow(clip, longer_side_px=longer_side_px)), clip)
    return {CLASSICAL: (mattes, time.monotonic() - started)}


def propose_in(clip: Footage, flow: PlateFlow, segmenter: FlowSegmenter | None = None) -> MotionProposal:
    """Return what moves in a clip: what the segmenter sees, or by classical means without one."""
    frames = range(len(clip.truth))
    proposal = propose_objects(flow, frames, plate_px=max(clip.size) / max(flow.size), step=lambda: None)
    return proposal if segmenter is None else segmenter_proposal(flow, proposal, segmenter)


class SegmenterProposer:
    """Gives mattes of what a flow segmenter alone sees, linked over time as the classical proposal's are.

    Args:
        path: of the segmenter's weights.
    """

    def __init__(self, path: Path) -> None:
        self._segmenter = load_segmenter(path)
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()

    def __call__(self, clip: Footage, longer_side_px: int) -> dict[str, tuple[Mask, float]]:
        """Return (T, H, W), as ``classical_mattes``; the seconds are those of both."""
        started = time.monotonic()
        flow = PlateFlow(clip, longer_side_px=longer_side_px)
        mattes = main_mattes(propose_in(clip, flow, self._segmenter), clip)
        return {SEGMENTED: (mattes, time.monotonic() - started)}


def main_mattes(proposal: MotionProposal, clip: Footage) -> Mask:
    """Return (T, H, W): what is seen of any of the main objects."""
    return np.stack([_main_matte(proposal, frame, clip.image(frame)) > 0.5 for frame in range(len(clip.truth))])


def _main_matte(proposal: MotionProposal, frame: int, image: Image) -> Image:
    mattes = [found.matte(frame, image) for found in proposal.main_objects()]
    return np.max(mattes, axis=0) if mattes else np.zeros(image.shape[:2], np.float32)


def score_unions(condition: Condition, mattes: Mask, clip: Footage, *, seconds: float) -> ClipScore:
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
    parser = argparse.ArgumentParser(description="J, F and T of mattes from motion alone, at 0 annotated frames.")
    parser.add_argument("--clips", type=Path, help="folder of clips; see `rotomem evaluate --help`")
    parser.add_argument("--only", help="comma-separated names of clips")
    parser.add_argument("--draw", type=int, metavar="N", help="only so many of the clips, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1, help="of --draw")
    parser.add_argument("--synthetic", type=int, default=0, metavar="N", help="held-out synthetic shots")
    parser.add_argument("--flow-size", type=int, default=FLOW_SIDE_PX, help="longer side of the flow, pixels")
    parser.add_argument("--segmenter", type=Path, help="measure these weights of a flow segmenter too, by itself")
    parser.add_argument("--networks", type=Path, help="measure the motion networks in this folder too")
    parser.add_argument(
        "--key-weights", type=Path, default=SHIPPED_WEIGHTS, help="of the key encoder that they see with"
    )
    parser.add_argument("--adapt-steps", type=int, default=0, help="measure per-shot adaptation too, of so many steps")
    parser.add_argument("--out", type=Path, required=True, help="keeps every measurement; the same command goes on")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else None
    footage: list[FootageSource] = list(find_clips(options.clips, only)) if options.clips else []
    if options.draw is not None:
        footage = draw_footage(footage, options.draw, seed=options.seed)
    footage += [HeldOutShot(index) for index in range(options.synthetic)]
    proposers: dict[tuple[str, ...], Proposer] = {(CLASSICAL,): classical_mattes}
    weights: dict[str, str] = {}
    if options.segmenter:
        segmented = SegmenterProposer(options.segmenter)
        proposers[(SEGMENTED,)] = segmented
        weights[SEGMENTED] = segmented.sha256
    if options.networks:
        from rotomem.training.network_proposals import NetworkProposer

        networks = NetworkProposer(options.networks, key_weights=options.key_weights, adapt_steps=options.adapt_steps)
        proposers[networks.names] = networks
        weights |= dict.fromkeys(networks.names, networks.sha256)
    report = measure_proposals(
        footage,
        out=options.out,
        longer_side_px=options.flow_size,
        proposers=proposers,
        weights_sha256=weights,
        on_score=lambda score: show(score),
    )
    tell(format_table(report))


def draw_footage(footage: Sequence[FootageSource], count: int, *, seed: int) -> list[FootageSource]:
    """Return ``count`` of the clips, drawn by a seed, in their order. Raises ``SettingError`` if there are fewer."""
    if not 0 < count <= len(footage):
        raise SettingError(f"{count} clips cannot be drawn from {len(footage)}; give --draw 1 to {len(footage)}")
    chosen = random.Random(seed).sample(range(len(footage)), count)
    return [footage[index] for index in sorted(chosen)]


def show(score: ClipScore) -> None:
    """Print one measurement."""
    condition = score.condition
    tell(
        f"{condition.clip:24} {condition.engine:12} J {score.j:.3f} F {score.f:.3f} T {score.t:.3f} "
        f"{score.seconds:6.1f} s"
    )


def tell(text: str) -> None:
    """Print at once, also into a file."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
