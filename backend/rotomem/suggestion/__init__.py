"""Which frame to draw next. Tensors in, indices, scores and reasons out.

:func:`suggest_frames` and :func:`rank_frames` follow XMem++ (``specs/xmem.md`` section 4) and need the network's keys.
"""

from rotomem.suggestion.selection import LEAST_AREA, RankedFrame, Reason, farthest_first, rank_frames, suggest_frames

__all__ = [
    "LEAST_AREA",
    "RankedFrame",
    "Reason",
    "farthest_first",
    "rank_frames",
    "suggest_frames",
]
