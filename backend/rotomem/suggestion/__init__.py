"""Which frame to draw next. Tensors in, indices, scores and reasons out.

:func:`suggest_frames` and :func:`rank_frames` follow XMem++ (``specs/xmem.md`` section 4) and need the network's keys.
:func:`rank_by_need` reads the signs that any engine's propagation leaves.
"""

from rotomem.suggestion.motion_error import rank_by_motion_error
from rotomem.suggestion.need import DEFAULT_WEIGHTS, SCORINGS, NeedWeights, rank_by_need
from rotomem.suggestion.selection import LEAST_AREA, RankedFrame, Reason, farthest_first, rank_frames, suggest_frames
from rotomem.suggestion.signs import FrameSigns, frame_signs, matte_entropy, pass_disagreement, temporal_instability

__all__ = [
    "DEFAULT_WEIGHTS",
    "LEAST_AREA",
    "SCORINGS",
    "FrameSigns",
    "NeedWeights",
    "RankedFrame",
    "Reason",
    "farthest_first",
    "frame_signs",
    "matte_entropy",
    "pass_disagreement",
    "rank_by_motion_error",
    "rank_by_need",
    "rank_frames",
    "suggest_frames",
    "temporal_instability",
]
