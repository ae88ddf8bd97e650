"""A made-up shot in memory, and networks with random weights, for benchmarks: the same work, worthless mattes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from rotomem.propagation.engine import Image
    from rotomem.vos import Network, NetworkConfig

KEY_SPREAD = 8.0


def random_network(config: NetworkConfig) -> Network:
    """Return a network whose signals neither die away nor blow up, as a trained one's do not; the same every time."""
    import torch

    from rotomem.vos import Network

    network = Network(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                tensor.uniform_(1.0, 1.2, generator=generator)
            elif tensor.ndim >= 2:
                tensor.normal_(std=1 / math.sqrt(tensor[0].numel()), generator=generator)
            elif name.endswith("weight"):
                tensor.uniform_(0.4, 0.8, generator=generator)
            else:
                tensor.normal_(std=0.05, generator=generator)
        # Without this all keys are alike, and rounding decides what is read; a trained network's are far apart.
        network.key_proj.key_proj.weight.mul_(KEY_SPREAD)
    return network


def moving_shot(frames: int, width: int, height: int, objects: int) -> tuple[Tensor, Tensor]:
    """Return normalised images (T, 3, H, W) of a texture that pans and changes, and masks (T, K, H, W) of discs."""
    import torch
    from torch.nn import functional as F

    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(2, 3, height // 8 + 2, (width + 2 * frames) // 8 + 2, generator=generator)
    wide = F.interpolate(coarse, size=(height, width + 2 * frames), mode="bilinear")
    wide += 0.3 * torch.randn(wide.shape, generator=generator)
    shares = torch.linspace(0, 1, max(2, frames))[:frames]
    images = torch.stack(
        [
            ((1 - share) * wide[0] + share * wide[1])[:, :, 2 * frame : 2 * frame + width]
            for frame, share in enumerate(shares.tolist())
        ]
    )
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    masks = torch.zeros(frames, objects, height, width)
    radius = 0.3 * min(height, width / objects)
    for frame in range(frames):
        for index in range(objects):
            x = (index + 0.4 + 0.2 * frame / frames) * width / objects
            y = height * (0.45 + 0.1 * math.sin(0.2 * frame))
            masks[frame, index] = (radius - torch.hypot(rows - y, columns - x) + 0.5).clamp(0, 1)
    return images, masks


class MovingSource:
    """A plate that is made when it is read: a texture that pans by two pixels a frame, with discs that stay."""

    def __init__(self, width: int, height: int) -> None:
        import cv2
        import numpy as np

        self.size = (height, width)
        coarse = np.random.default_rng(0).random((height // 8 + 2, width // 8 + 2, 3), np.float32)
        self._texture: Image = np.ascontiguousarray(cv2.resize(coarse, (width, height)), np.float32)

    def image(self, frame: int) -> Image:
        """Return (H, W, 3) in [0, 1]."""
        import numpy as np

        return np.roll(self._texture, 2 * frame, axis=1)

    def matte(self, frame: int, index: int, objects: int) -> Image:
        """Return one object's disc, (H, W) in [0, 1]."""
        import numpy as np

        height, width = self.size
        rows, columns = np.mgrid[:height, :width].astype(np.float32)
        x, radius = (index + 0.5) * width / objects, 0.4 * min(height, width / objects)
        disc: Image = np.clip(radius - np.hypot(rows - height / 2, columns - x - frame % 8), 0, 1)
        return disc


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay rows out under their keys: text to the left, numbers to the right."""
    header = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[str(row.get(name, "")) for name in header] for row in rows]
    widths = [max(len(line[column]) for line in [header, *lines]) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [header, *lines]
    )
