"""Where something moves, by a small flow segmenter, steadied along flow.

The published segmenter looks at 30 frames at a time and was trained for days. Ours saw four at a time for less than an
hour: its masks come and go, and it gives parts of one thing to several queries. So what it says of a pixel is how
likely anything moves there, and that is averaged along flow, which knows which pixels belong together over time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.motion.flow_input import stack_flow
from rotomem.motion.flow_segmenter import FlowSegmenter
from rotomem.motion.frames import windows
from rotomem.motion.pipeline import FLOW_OVERLAP, FLOW_WINDOW

KEPT = 0.8
"""Of a frame's weight, by the frame between: some nine frames count."""
LEVEL = 0.4
"""An average over time is smaller than what it averages where that comes and goes. Both were chosen on the ten clips
that chose ``warp``'s constants."""


@torch.no_grad()
def steady_motion(
    flows: tuple[Tensor, Tensor],
    segmenter: FlowSegmenter,
    size: tuple[int, int],
    *,
    step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return how likely something moves (T, H, W), in [0, 1]; 1/2 is where its edge is.

    Args:
        flows: forward and backward (T, 2, h, w), pixels of their own size, between neighbouring frames; see
            :func:`rotomem.motion.flow_input.stack_flow`.
        size: H and W, multiples of 16.
        step: called before each window of 30 frames; may raise to stop.
    """
    device = next(segmenter.parameters()).device
    flow = stack_flow(*flows, size)
    total, count = torch.zeros(len(flow), *size), torch.zeros(len(flow), 1, 1)
    for window in windows(len(flow), FLOW_WINDOW, FLOW_OVERLAP):
        step()
        span = slice(window.start, window.stop)
        found = segmenter(flow[None, span].to(device))
        total[span] += found.amodal_logits[0].float().sigmoid().amax(dim=1).cpu()
        count[span] += 1
    steady = average_along(total / count, flow[:, :2], flow[:, 2:])
    return torch.where(steady < LEVEL, steady * (0.5 / LEVEL), 0.5 + (steady - LEVEL) * (0.5 / (1 - LEVEL)))


def average_along(frames: Tensor, forward: Tensor, backward: Tensor, *, kept: float = KEPT) -> Tensor:
    """Return each frame's average with those around it, carried along flow, whose weight falls by ``kept`` a frame.

    Args:
        frames: (T, H, W).
        forward, backward: (T, 2, H, W) pixels, to the next and to the previous frame.
    """
    before = _sums_before(frames, backward, kept)
    after = _sums_before(frames.flip(0), forward.flip(0), kept).flip(0)
    weight = kept * (1 - kept ** torch.arange(len(frames))) / (1 - kept)
    return (before + frames + after) / (1 + weight + weight.flip(0))[:, None, None]


def _sums_before(frames: Tensor, towards: Tensor, kept: float) -> Tensor:
    """Return the weighted sums of the frames before each one; ``towards`` is the flow from it to the one before."""
    sums = [torch.zeros_like(frames[0])]
    for index in range(1, len(frames)):
        sums.append(kept * _read_at(frames[index - 1] + sums[-1], towards[index]))
    return torch.stack(sums)


def _read_at(content: Tensor, displacement: Tensor) -> Tensor:
    """Read (H, W) bilinearly at each pixel plus ``displacement`` (2, H, W); beyond the picture at its edge."""
    height, width = content.shape
    x = torch.arange(width, dtype=content.dtype) + displacement[0]
    y = torch.arange(height, dtype=content.dtype)[:, None] + displacement[1]
    grid = torch.stack([x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1], dim=-1)
    return F.grid_sample(content[None, None], grid[None], padding_mode="border", align_corners=True)[0, 0]
