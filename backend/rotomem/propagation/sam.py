"""Mattes from prompts by segment-anything: clicks and boxes of an artist, or a rough mask of ours.

Sources: Kirillov et al., "Segment Anything", ICCV 2023; for masks as prompts, the appendix on segment-anything of the
paper on appearance-based refinement of flow-predicted masks: the mask, and about ten points of a grid inside of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from rotomem.errors import SettingError
from rotomem.matte import snap_edges
from rotomem.propagation.engine import Image
from rotomem.propagation.sam_weights import load_sam

Floats = NDArray[np.float32]

GRID_POINTS = 10
SURE_LOGIT = 6.9
"""Log-odds of 0.999: how surely a mask that serves as a prompt is meant."""
EDGE_RADIUS_PX = 8
"""Per 1,024 pixels of the longer side: the network decides at a quarter of those, and edges follow the plate."""
KEPT_FRAMES = 4
"""Encoded frames that are kept: encoding takes seconds, a click on an encoded frame a fraction of one."""


@dataclass(frozen=True)
class PointPrompt:
    """A click at ``x``, ``y``, pixels of the plate, origin top-left; on the object, or on what is not to be it."""

    x: float
    y: float
    inside: bool = True


BoxPrompt = tuple[float, float, float, float]
"""Left, top, right, bottom, pixels of the plate."""


@dataclass(frozen=True)
class Prompted:
    """What the network made of a prompt.

    Args:
        matte: (H, W) in [0, 1], its edges on the plate's.
        score: the network's own guess of its IoU, in [0, 1].
    """

    matte: Floats
    score: float


class SamPrompter:
    """Answers prompts on frames of any size; encodes each frame once.

    Args:
        network: ``segment_anything.modeling.Sam``.
        weights_sha256: of its file.
    """

    def __init__(self, network: Any, *, weights_sha256: str = "", device: str = "cpu") -> None:
        self.weights_sha256 = weights_sha256
        self._device = torch.device(device)
        self._network = network.to(self._device).eval()
        self._side: int = network.image_encoder.img_size
        self._encoded: OrderedDict[Hashable, Tensor] = OrderedDict()

    @classmethod
    def from_weights(cls, path: Path, *, device: str = "cpu") -> SamPrompter:
        """Load a checkpoint; raises ``WeightsError``."""
        network, sha256 = load_sam(path)
        return cls(network, weights_sha256=sha256, device=device)

    def prompt(
        self,
        image: Image,
        *,
        frame: Hashable = None,
        points: Sequence[PointPrompt] = (),
        box: BoxPrompt | None = None,
        refine_edges: bool = True,
    ) -> Prompted:
        """Return the matte of what is clicked on or boxed; of several that fit, the one of the best score.

        Args:
            image: (H, W, 3) sRGB in [0, 1].
            frame: names the image, which is then encoded only once; None names nothing.

        Raises:
            SettingError: neither a point inside nor a box, a point outside the image, an empty box.
        """
        height, width = image.shape[:2]
        check_prompt(points, box, (height, width))
        # One click may mean a part or the whole; more tell which.
        several = len(points) == 1 and box is None
        return self._answer(image, frame, points, box, None, several=several, refine_edges=refine_edges)

    def refine(
        self, image: Image, mask: Floats, *, frame: Hashable = None, refine_edges: bool = True
    ) -> Prompted | None:
        """Return a better matte of what a rough mask (H, W) in [0, 1] shows; None of an empty one."""
        points = grid_points(mask)
        if not points:
            return None
        return self._answer(image, frame, points, None, mask, several=False, refine_edges=refine_edges)

    @torch.inference_mode()
    def _answer(
        self,
        image: Image,
        frame: Hashable,
        points: Sequence[PointPrompt],
        box: BoxPrompt | None,
        mask: Floats | None,
        *,
        several: bool,
        refine_edges: bool,
    ) -> Prompted:
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        small = (int(height * scale + 0.5), int(width * scale + 0.5))
        encoder = self._network.prompt_encoder
        clicks = None
        if points:
            at = torch.tensor([[(point.x * scale, point.y * scale) for point in points]], device=self._device)
            kinds = torch.tensor([[int(point.inside) for point in points]], device=self._device)
            clicks = (at, kinds)
        boxes = None if box is None else torch.tensor([box], device=self._device, dtype=torch.float32) * scale
        masks = None if mask is None else self._mask_prompt(mask, small, encoder.mask_input_size)
        sparse, dense = encoder(points=clicks, boxes=boxes, masks=masks)
        logits, scores = self._network.mask_decoder(
            image_embeddings=self._encode(image, frame, small),
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=several,
        )
        best = int(scores[0].argmax())
        grown = self._network.postprocess_masks(logits[:, best : best + 1], small, (height, width))
        matte = torch.sigmoid(grown[0, 0]).float().cpu().numpy()
        if refine_edges:
            radius = max(2, round(EDGE_RADIUS_PX * max(height, width) / 1024))
            matte = snap_edges(matte, image, radius_px=radius, subsample=max(1, radius // 4))
        return Prompted(np.asarray(matte, dtype=np.float32), float(scores[0, best].clamp(0, 1)))

    def _encode(self, image: Image, frame: Hashable, small: tuple[int, int]) -> Tensor:
        if frame is not None and frame in self._encoded:
            self._encoded.move_to_end(frame)
            return self._encoded[frame]
        shrunk = cv2.resize(image, (small[1], small[0]), interpolation=cv2.INTER_AREA)
        pixels = torch.from_numpy(np.ascontiguousarray(shrunk, dtype=np.float32)).permute(2, 0, 1)[None]
        levels = (pixels.clamp(0, 1) * 255).round().to(self._device)
        encoded: Tensor = self._network.image_encoder(self._network.preprocess(levels))
        if frame is not None:
            self._encoded[frame] = encoded
            while len(self._encoded) > KEPT_FRAMES:
                self._encoded.popitem(last=False)
        return encoded

    def _mask_prompt(self, mask: Floats, small: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Return log-odds (1, 1, h, w) in the prompt's square, whose part beyond the image is outside."""
        share = size[0] / self._side
        height, width = max(1, round(small[0] * share)), max(1, round(small[1] * share))
        given = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None]
        shrunk = F.interpolate(given, size=(height, width), mode="area").clamp(0, 1)
        logits = torch.full((1, 1, *size), -SURE_LOGIT)
        logits[..., :height, :width] = (2 * shrunk - 1) * SURE_LOGIT
        return logits.to(self._device)


def check_prompt(points: Sequence[PointPrompt], box: BoxPrompt | None, size: tuple[int, int]) -> None:
    """Raise ``SettingError`` of a prompt that means nothing on a frame of (height, width)."""
    height, width = size
    if box is None and not any(point.inside for point in points):
        raise SettingError("a prompt needs a point on the object, or a box around it")
    for point in points:
        if not (0 <= point.x < width and 0 <= point.y < height):
            raise SettingError(f"the point {point.x:g},{point.y:g} is outside the plate, which is {width}x{height}")
    if box is not None:
        left, top, right, bottom = box
        if not (left < right and top < bottom and right > 0 and bottom > 0 and left < width and top < height):
            raise SettingError(
                f"the box {left:g},{top:g},{right:g},{bottom:g} holds nothing of the plate, which is {width}x{height}; "
                "give left,top,right,bottom in pixels from the top left"
            )


def grid_points(mask: Floats, count: int = GRID_POINTS) -> list[PointPrompt]:
    """Return about ``count`` points of a uniform grid that lie inside a mask (H, W); its centre where it is thin."""
    inside = mask > 0.5
    area = int(np.count_nonzero(inside))
    if not area:
        return []
    step = max(1.0, float(np.sqrt(area / count)))
    height, width = inside.shape
    rows, columns = np.arange(step / 2, height, step), np.arange(step / 2, width, step)
    grid = [(x, y) for y in rows for x in columns if inside[int(y), int(x)]]
    if not grid:
        padded = np.pad(inside.astype(np.uint8), 1)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        grid = [(float(x), float(y))]
    return [PointPrompt(float(x), float(y)) for x, y in grid]
