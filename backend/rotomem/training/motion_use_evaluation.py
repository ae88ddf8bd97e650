"""What each use of motion is worth: J, F and T of propagation with and without it, at 0, 1 and 3 annotated frames.

Protocol as in ``evaluation`` where frames are annotated, and as in ``motion_evaluation`` where none is: there,
exemplars of the main objects are propagated instead. Engines are not tuned to the shot.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import random
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from rotomem.config import Settings
from rotomem.engine_names import SHIPPED_SEGMENTER
from rotomem.propagation import Engine, make_engine
from rotomem.propagation.classical_motion import MotionProposal
from rotomem.propagation.criticised_engine import CriticisedEngine
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_critic import Critic, NetworkCritic, ProposalCritic
from rotomem.propagation.motion_exemplars import (
    Exemplar,
    TakesExemplars,
    find_exemplars,
    propagate_exemplars,
)
from rotomem.propagation.motion_networks import load_motion_networks, load_segmenter
from rotomem.session.motion_task import FLOW_SIDE_PX
from rotomem.training.evaluation import annotated_frames, score_mattes
from rotomem.training.footage import Footage, FootageSource, find_clips
from rotomem.training.matte_samples import sampled_frames, save_samples
from rotomem.training.measurement_log import MeasurementLog
from rotomem.training.metrics import Mask, binarise, region_j
from rotomem.training.motion_evaluation import MEASUREMENTS, SAMPLES_FOLDER, propose_in, score_unions, show, tell
from rotomem.training.network_proposals import networks_sha256
from rotomem.training.scores import ClipScore, Condition, EvaluationReport, format_table

OFF, CORRECT, EXEMPLARS = USES = ("off", "correct", "exemplars")


def measure_uses(
    footage: Sequence[FootageSource],
    engines: Sequence[str],
    uses: Sequence[str],
    counts: Sequence[int],
    *,
    out: Path,
    processing_size: int = 0,
    networks: Path | None = None,
    segmenter: Path | None = None,
) -> EvaluationReport:
    """Measure what ``out`` does not hold yet.

    Args:
        engines: ``warp`` or ``xmem``; exemplars are of use to ``xmem`` alone, and where nothing is annotated.
        uses: of ``USES``.
        counts: numbers of annotated frames.
        processing_size: shorter side at which engines work, pixels; 0 is each one's own.
        networks: folder of the motion networks that are to correct; what moves does, if None.
        segmenter: weights of the flow segmenter that finds what moves; the classical proposal does, if None.

    Raises:
        OutputUnwritableError: ``out`` cannot be written.
    """
    log = MeasurementLog(out / MEASUREMENTS)
    motion = _Motion(networks, segmenter)
    scores = []
    for count, engine_name, use, source in product(counts, engines, uses, footage):
        if (use == EXEMPLARS and engine_name != "xmem" and count) or (use != EXEMPLARS and not count):
            continue
        label, sha256 = motion.label(engine_name, use)
        condition = Condition(set=source.set, clip=source.name, engine=label, annotations=count, weights_sha256=sha256)
        fingerprint = f"{source.fingerprint}@{FLOW_SIDE_PX}/{processing_size}"
        score = log.find(condition, fingerprint)
        if score is None:
            weights_dir = Settings.load().weights_dir
            engine = make_engine(engine_name, weights_dir=weights_dir, tune=False, processing_size=processing_size)
            score = _measure(source.open(), engine, use, condition, out, motion)
            log.add(score, fingerprint)
            show(score)
        scores.append(score)
    return EvaluationReport(tuple(scores))


class _Motion:
    """What finds motion, and what judges mattes by it."""

    def __init__(self, networks: Path | None, segmenter: Path | None) -> None:
        self._networks = load_motion_networks(networks) if networks is not None else None
        self._segmenter = load_segmenter(segmenter) if segmenter is not None else None
        self._networks_sha256 = networks_sha256(networks) if networks is not None else ""
        self._segmenter_sha256 = hashlib.sha256(segmenter.read_bytes()).hexdigest() if segmenter is not None else ""

    def label(self, engine: str, use: str) -> tuple[str, str]:
        """Return what a measurement is called, and the SHA-256 of what motion is found or judged with."""
        if use == OFF:
            return engine, ""
        if use == CORRECT and self._networks is not None:
            return f"{engine} {use} by networks", self._networks_sha256
        if self._segmenter is not None:
            return f"{engine} {use} by segmenter", self._segmenter_sha256
        return f"{engine} {use}", ""

    def propose(self, clip: Footage, flow: PlateFlow) -> MotionProposal:
        return propose_in(clip, flow, self._segmenter)

    def critic(self, clip: Footage, flow: PlateFlow) -> Critic:
        if self._networks is not None:
            return NetworkCritic(flow, self._networks)
        return ProposalCritic([self.propose(clip, flow)])


def _measure(clip: Footage, engine: Engine, use: str, condition: Condition, out: Path, motion: _Motion) -> ClipScore:
    truth = clip.truth
    given = annotated_frames(condition.annotations, len(truth)) if condition.annotations else []
    started = time.monotonic()
    mattes = _with_annotations(clip, engine, use, given, motion) if given else _without_annotation(clip, engine, motion)
    seconds = time.monotonic() - started
    save_samples(out / SAMPLES_FOLDER, condition, np.asarray(mattes[sampled_frames(given, len(mattes))].any(axis=1)))
    if not given:
        return score_unions(condition, np.asarray(mattes.any(axis=1)), clip, seconds=seconds)
    return dataclasses.replace(score_mattes(mattes, binarise(truth), given, condition), seconds=seconds)


def _with_annotations(clip: Footage, engine: Engine, use: str, given: Sequence[int], motion: _Motion) -> Mask:
    names = [f"object_{index + 1}" for index in range(clip.truth.shape[1])]
    annotations = {frame: dict(zip(names, clip.truth[frame], strict=True)) for frame in given}
    flow = PlateFlow(clip, longer_side_px=FLOW_SIDE_PX)
    if use == EXEMPLARS and isinstance(engine, TakesExemplars):
        engine.exemplars = find_exemplars(clip, flow, [motion.propose(clip, flow)], names, annotations)
        tell(describe_exemplars(engine.exemplars, names, clip))
    if use == CORRECT:
        engine = CriticisedEngine(engine, motion.critic(clip, flow), flow, correct=True)
    mattes = np.zeros(clip.truth.shape, dtype=np.bool_)
    for result in engine.propagate(clip, annotations, names, range(len(clip.truth)), cancelled=lambda: False):
        mattes[result.frame] = binarise(result.mattes)
    return mattes


def describe_exemplars(exemplars: Sequence[Exemplar], names: Sequence[str], clip: Footage) -> str:
    """Return a line with each exemplar's frame, its mattes' IoU with the truth, and its weight."""
    told = []
    for exemplar in exemplars:
        truth = binarise(clip.truth[exemplar.frame])
        ious = [region_j(matte > 0.5, truth[names.index(name)]) for name, matte in exemplar.mattes.items()]
        told.append(f"{exemplar.frame} (J {np.mean(ious):.3f}, weight {exemplar.weight:.2f})")
    return f"  exemplars: {', '.join(told) or 'none'}"


def _without_annotation(clip: Footage, engine: Engine, motion: _Motion) -> Mask:
    """Propagate exemplars of the main objects."""
    flow = PlateFlow(clip, longer_side_px=FLOW_SIDE_PX)
    proposal = motion.propose(clip, flow)
    names = [f"object_{index + 1}" for index in range(len(proposal.main_objects()))]
    exemplars = find_exemplars(clip, flow, [proposal], names, {})
    frames = range(len(clip.truth))
    mattes = np.zeros((len(frames), 1, *clip.size), dtype=np.bool_)
    for frame, found, _ in propagate_exemplars(engine, clip, exemplars, frames, cancelled=lambda: False):
        mattes[frame, 0] = np.any([matte > 0.5 for matte in found.values()], axis=0)
    return mattes


def main() -> None:
    """``python -m rotomem.training.motion_use_evaluation --clips CLIPS --out FOLDER``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips; see `rotomem evaluate --help`")
    parser.add_argument("--only", help="comma-separated names of clips")
    parser.add_argument("--sample", type=int, metavar="N", help="N of the clips, drawn with seed 0")
    parser.add_argument("--engines", default="warp", help="comma-separated: warp, xmem")
    parser.add_argument("--uses", default=",".join(USES), help="comma-separated")
    parser.add_argument("--annotations", default="0,1,3", help="comma-separated numbers of annotated frames")
    parser.add_argument(
        "--networks", type=Path, help="folder of the motion networks that correct (default: what moves)"
    )
    parser.add_argument("--segmenter", type=Path, default=SHIPPED_SEGMENTER, help="finds what moves (default: shipped)")
    parser.add_argument("--classical", action="store_true", help="let the classical proposal find what moves")
    parser.add_argument("--size", type=int, default=0, help="shorter side at which engines work (default: their own)")
    parser.add_argument("--out", type=Path, required=True, help="keeps every measurement; the same command goes on")
    options = parser.parse_args()
    footage = list(find_clips(options.clips, options.only.split(",") if options.only else None))
    if options.sample:
        footage = random.Random(0).sample(footage, min(options.sample, len(footage)))
    report = measure_uses(
        footage,
        options.engines.split(","),
        options.uses.split(","),
        [int(count) for count in options.annotations.split(",")],
        out=options.out,
        processing_size=options.size,
        networks=options.networks,
        segmenter=None if options.classical else options.segmenter,
    )
    tell(format_table(report))


if __name__ == "__main__":
    main()
