"""What moves in a plate, found by classical means: flow, the camera's own motion, and what is left over.

The stages, in order: ``cuts`` splits a plate into shots; ``camera`` fits the camera's motion to flow; ``evidence``
measures what moves against it, in units of the flow's noise, and adds that up along flow; ``regions`` cuts it into
connected regions; ``tracks`` links those over time; ``proposal`` runs them all.
"""

from __future__ import annotations

from rotomem.propagation.classical_motion.camera import CameraMotion, overall_motion
from rotomem.propagation.classical_motion.cuts import find_cuts, split_at_cuts
from rotomem.propagation.classical_motion.proposal import MotionProposal, ProposedObject, propose_objects

__all__ = [
    "CameraMotion",
    "MotionProposal",
    "ProposedObject",
    "find_cuts",
    "overall_motion",
    "propose_objects",
    "split_at_cuts",
]
