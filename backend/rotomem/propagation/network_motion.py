"""Moving objects of one shot by the motion networks: from the plate's flow to their masks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rotomem.motion import MotionMasks, MotionNetworks, propose, working_size
from rotomem.propagation.flow import PlateFlow, resize_area


def propose_by_networks(
    flow: PlateFlow,
    frames: range,
    networks: MotionNetworks,
    *,
    gap: int = 1,
    objects: int = 3,
    adapt_steps: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> MotionMasks:
    """Find moving objects in one shot without cuts; see :func:`rotomem.motion.propose`, whose T is len(frames).

    Args:
        gap: frames apart at which motion is looked at; ``classical_motion.evidence.choose_gap`` measures it.
    """
    size = working_size(*flow.size, area=networks.area)
    images, flows = shot_tensors(flow, frames, size, gap=gap)
    return propose(
        images,
        flows,
        networks,
        objects=objects,
        adapt_steps=adapt_steps,
        on_progress=on_progress,
        cancelled=cancelled,
    )


def shot_tensors(
    flow: PlateFlow, frames: range, size: tuple[int, int], *, gap: int = 1
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Return frames (T, 3, H, W) in [0, 1], and flow forward and backward (T, 2, H, W), in pixels of that size.

    Only the small tensors are held, so that a long shot takes a few hundred kilobytes a frame. Near the shot's ends,
    where there is no frame ``gap`` away in one direction, that flow is the other one turned round.
    """
    return shot_images(flow, frames, size), shot_flows(flow, frames, size, gap=gap)


def shot_images(
    flow: PlateFlow, frames: range, size: tuple[int, int], *, step: Callable[[], None] = lambda: None
) -> Tensor:
    """Return frames (T, 3, H, W) in [0, 1]; see :func:`shot_tensors`.

    Args:
        step: called before each frame; may raise to stop.
    """
    images = torch.zeros(len(frames), 3, *size)
    for index, frame in enumerate(frames):
        step()
        colours = resize_area(flow.colours(frame).astype(np.float32) / np.float32(255), size)
        images[index] = torch.from_numpy(colours).permute(2, 0, 1)
    return images


def shot_flows(
    flow: PlateFlow, frames: range, size: tuple[int, int], *, gap: int = 1, step: Callable[[], None] = lambda: None
) -> tuple[Tensor, Tensor]:
    """Return flow forward and backward (T, 2, H, W), in pixels of that size; see :func:`shot_tensors`.

    Args:
        step: called before each frame; may raise to stop.
    """
    forward, backward = torch.zeros(2, len(frames), 2, *size)
    apart = min(gap, max(len(frames) - 1, 1))
    for index, frame in enumerate(frames):
        step()
        there = [other for other in (frame + apart, frame - apart) if other in frames]
        there = there or [other for other in (frame + 1, frame - 1) if other in frames]
        for other in there:
            ahead = other > frame
            small = _small_flow(flow, frame, other, size)
            (forward if ahead else backward)[index] = small
            if len(there) == 1:
                (backward if ahead else forward)[index] = -small
    return forward, backward


def _small_flow(flow: PlateFlow, frame: int, other: int, size: tuple[int, int]) -> Tensor:
    """Return (2, H, W) in pixels of ``size``."""
    displacement = resize_area(flow.displacement(frame, other), size)
    scale = torch.tensor([size[1] / flow.size[1], size[0] / flow.size[0]])[:, None, None]
    return torch.from_numpy(displacement).permute(2, 0, 1) * scale
