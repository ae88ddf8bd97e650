"""Frames per second on a CUDA GPU, and what half precision changes; printed only where there is one."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from rotomem.commands.benchmark_shot import moving_shot

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from rotomem.vos import Network

WIDTH, HEIGHT, GOAL = 854, 480, 150.0
WARM_UP = 12
"""Frames in which kernels are chosen and compiled."""


def measure_cuda(network: Network, options: argparse.Namespace) -> dict[str, Any] | None:
    """Measure the first pass over a shot with the full configuration and print the figures; None without a GPU."""
    import torch

    if not torch.cuda.is_available() or options.device == "cpu":
        return None
    from rotomem.vos.cuda import accelerate_for_cuda

    device = torch.device("cuda")
    images, masks = moving_shot(options.cuda_frames, WIDTH, HEIGHT, 1)
    images, masks = images.to(device), masks.to(device)
    network = network.to(device)
    exact, _ = _play(network, images, masks, None)
    accelerate_for_cuda(network)
    _play(network, images[:WARM_UP], masks[:WARM_UP], torch.float16)
    half, seconds = _play(network, images, masks, torch.float16)
    figures = {
        "device": torch.cuda.get_device_name(device),
        "width": WIDTH,
        "height": HEIGHT,
        "frames": len(images),
        "frames_per_second": (len(images) - 1) / seconds,
        "goal": GOAL,
        "largest_difference_to_float32": float((half - exact).abs().max()),
        "mean_difference_to_float32": float((half - exact).abs().mean()),
        "peak_memory_mb": torch.cuda.max_memory_allocated(device) / 1e6,
    }
    print(
        f"{figures['device']}: {figures['frames_per_second']:.0f} frames/s at {WIDTH}x{HEIGHT} in half precision (goal "
        f"{GOAL:.0f}); to float32 at most {figures['largest_difference_to_float32']:.1e}, on average "
        f"{figures['mean_difference_to_float32']:.1e}; peak {figures['peak_memory_mb']:.0f} MB"
    )
    return figures


def _play(network: Network, images: Tensor, masks: Tensor, autocast: torch.dtype | None) -> tuple[Tensor, float]:
    """Return probabilities (T - 1, 2, H, W), on the host, of the frames after the annotated first, and the seconds."""
    import torch

    from rotomem.vos import InferenceCore

    core = InferenceCore(network, num_objects=1, autocast=autocast)
    core.memorize(0, images[0], masks[0])
    torch.cuda.synchronize()
    started = time.perf_counter()
    results = [core.step(frame, images[frame]).half() for frame in range(1, len(images))]
    torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return torch.stack([result.cpu() for result in results]).float(), seconds
