"""The motion networks' mattes, stage by stage, for measuring."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rotomem.engine_names import SHIPPED_WEIGHTS
from rotomem.matte import snap_edges
from rotomem.motion import segment_flow, working_size
from rotomem.motion.correction import assign_pixels
from rotomem.propagation.classical_motion.evidence import choose_gap
from rotomem.propagation.engine import Image
from rotomem.propagation.flow import PlateFlow, resize_area
from rotomem.propagation.motion_networks import CORRECTOR, FLOW, SELECTOR, find_motion_weights, load_motion_networks
from rotomem.propagation.network_motion import shot_flows
from rotomem.propagation.network_proposal import find_masks
from rotomem.training.footage import Footage
from rotomem.training.metrics import Mask
from rotomem.training.motion_evaluation import main_mattes, propose_in

FLOW_MASKS, CORRECTED, ADAPTED = "flow masks", "linked, corrected", "linked, adapted"
MAIN_SHARE = 0.25
"""Objects at least this large, against the largest, are what the clip is about."""
SNAP_PX = 1.5
"""Of the networks' size: as far off as the edge of their masks may lie."""


class NetworkProposer:
    """Gives the flow-predicted masks as they come, the corrected ones, and those of a corrector adapted to the clip.

    What is corrected is what a job corrects (``propagation.network_proposal.find_masks``); ours are linked first.

    Args:
        folder: of the networks' weights; see ``propagation.motion_networks``.
        adapt_steps: of adaptation; 0 for none.
    """

    def __init__(self, folder: Path, *, key_weights: Path = SHIPPED_WEIGHTS, adapt_steps: int = 0) -> None:
        self._networks = load_motion_networks(folder, key_weights=key_weights)
        self._adapt_steps = adapt_steps
        self.names = (FLOW_MASKS, CORRECTED, *([ADAPTED] if adapt_steps else []))
        self.sha256 = hashlib.sha256((networks_sha256(folder) + str(adapt_steps)).encode()).hexdigest()

    def __call__(self, clip: Footage, longer_side_px: int) -> dict[str, tuple[Mask, float]]:
        """Return mattes (T, H, W) and seconds by stage; each stage begins with the plate, flow and all."""
        results = {}
        for name, steps in zip(self.names, (None, 0, self._adapt_steps), strict=False):
            started = time.monotonic()
            plate = PlateFlow(clip, longer_side_px=longer_side_px)
            mattes = self._flow_masks(clip, plate) if steps is None else self._corrected(clip, plate, steps)
            results[name] = (mattes, time.monotonic() - started)
        return results

    def _flow_masks(self, clip: Footage, plate: PlateFlow) -> Mask:
        frames = range(len(clip.truth))
        size = working_size(*plate.size, area=self._networks.area)
        flows = shot_flows(plate, frames, size, gap=choose_gap(plate, frames))
        return _plate_mattes(clip, segment_flow(flows, self._networks, size))

    def _corrected(self, clip: Footage, plate: PlateFlow, adapt_steps: int) -> Mask:
        proposal = propose_in(clip, plate)
        found = find_masks(plate, proposal, self._networks, adapt_steps=adapt_steps) if proposal.objects else None
        if found is None:
            return main_mattes(proposal, clip)
        return _plate_mattes(clip, found.masks)


def networks_sha256(folder: Path) -> str:
    """Return the SHA-256 of the three networks' files in a folder."""
    files = [find_motion_weights(folder, name) for name in (FLOW, SELECTOR, CORRECTOR)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path is not None)).hexdigest()


def _plate_mattes(clip: Footage, probabilities: Tensor) -> Mask:
    """Return (T, H, W) at the plate's size: the union of the main objects (T, K, h, w), edges on the plate's."""
    masks = assign_pixels(probabilities)
    areas = masks.sum(dim=(0, 2, 3))
    main = areas >= MAIN_SHARE * areas.max()
    union = torch.where(main[:, None, None], probabilities, 0).amax(dim=1).numpy()
    plate_px = max(1.0, clip.size[1] / union.shape[2])
    mattes = []
    for frame, small in enumerate(union):
        matte: Image = np.clip(resize_area(small, clip.size), 0, 1)
        snapped = snap_edges(
            matte,
            clip.image(frame),
            radius_px=max(1, round(SNAP_PX * plate_px)),
            subsample=max(1, round(plate_px / 3)),
        )
        mattes.append(snapped > 0.5)
    return np.stack(mattes)
