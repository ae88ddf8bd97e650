"""What motion has to say on a propagation: exemplars for its memory, and a critic of its mattes."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rotomem.errors import CancelledError
from rotomem.motion import MotionNetworks
from rotomem.plates import PlateSource
from rotomem.propagation.classical_motion import MotionProposal, find_cuts, propose_objects, split_at_cuts
from rotomem.propagation.criticised_engine import CriticisedEngine
from rotomem.propagation.engine import Annotations, Engine
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_critic import Critic, NetworkCritic, ProposalCritic
from rotomem.propagation.motion_exemplars import TakesExemplars, find_exemplars
from rotomem.propagation.network_proposal import network_proposal
from rotomem.propagation.segmenter_proposal import segmenter_proposal
from rotomem.session.motion_models import find_networks, find_segmenter
from rotomem.session.motion_task import FLOW_SIDE_PX
from rotomem.session.shot import PropagationTask

log = logging.getLogger(__name__)


def second_opinion(
    task: PropagationTask,
    source: PlateSource,
    engine: Engine,
    annotations: Annotations,
    *,
    tell: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> Engine:
    """Return the engine that does what ``task.motion`` asks for; ``engine`` itself where that is nothing.

    Args:
        tell: hears the phase.

    Raises:
        CancelledError: asked to stop.
    """
    if isinstance(engine, TakesExemplars):
        engine.exemplars = ()
    if task.motion == "off":
        return engine
    judged = task.motion != "exemplars"
    remembers: TakesExemplars | None = None
    if task.motion in ("exemplars", "all"):
        remembers = engine if isinstance(engine, TakesExemplars) else None
        if remembers is None:
            log.warning("engine %s has no memory, so that exemplars from motion are of no use to it", engine.name)
    if remembers is None and not judged:
        return engine
    tell("finding motion")
    flow = PlateFlow(source, longer_side_px=FLOW_SIDE_PX)
    networks = find_networks(task)
    proposals = []
    if remembers is not None or networks is None:
        proposals = propose_shots(task, source, flow, annotations, networks, cancelled=cancelled)
    if remembers is not None:
        remembers.exemplars = find_exemplars(source, flow, proposals, task.objects, annotations, cancelled=cancelled)
        log.info("exemplars from motion: frames %s", [exemplar.frame for exemplar in remembers.exemplars])
    if not judged:
        return engine
    critic: Critic = ProposalCritic(proposals) if networks is None else NetworkCritic(flow, networks)
    return CriticisedEngine(engine, critic, flow, correct=task.motion in ("correct", "all"))


def propose_shots(
    task: PropagationTask,
    source: PlateSource,
    flow: PlateFlow,
    annotations: Annotations,
    networks: MotionNetworks | None,
    *,
    cancelled: Callable[[], bool],
) -> list[MotionProposal]:
    """Return what moves, shot by shot, over all frames that the task needs, by what ``rotomem motion`` finds it with.

    Args:
        networks: all three, where they are installed; if not, the flow segmenter is asked.

    Raises:
        CancelledError: asked to stop.
        WeightsError: the flow segmenter cannot be loaded.
    """
    segmenter = None
    if networks is None:
        segmenter, _ = find_segmenter(task, without="no second opinion (--motion off)") or (None, "")
    named = [*annotations, max(task.plate.first, task.first - task.handles)]
    frames = range(min(named), max(*annotations, min(task.plate.last, task.last + task.handles)) + 1)

    def step() -> None:
        if cancelled():
            raise CancelledError("cancelled before the first frame; nothing was changed")

    plate_px = max(source.size) / max(flow.size)
    shots = split_at_cuts(frames, find_cuts(source, frames, step=step))
    proposals = [propose_objects(flow, shot, plate_px=plate_px, step=step) for shot in shots]
    if networks is not None:
        return [network_proposal(flow, proposal, networks, cancelled=cancelled) for proposal in proposals]
    if segmenter is None:
        return proposals
    return [segmenter_proposal(flow, proposal, segmenter, cancelled=cancelled) for proposal in proposals]
