"""Self-supervised adaptation of trained motion networks to a folder of shots without any truth (section 3.4.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from rotomem.errors import PlateMissingError, PlateSizeError, PlateUnreadableError, SettingError
from rotomem.motion import MotionNetworks, look_at, stack_flow, working_size
from rotomem.motion.adaptation import AdaptationShot, adapt_corrector, adapt_segmenter
from rotomem.motion.correction import assign_pixels
from rotomem.motion.selector import exemplar_scores
from rotomem.propagation.classical_motion import propose_objects
from rotomem.propagation.engine import Image
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_networks import CORRECTOR, FLOW
from rotomem.propagation.network_motion import shot_flows, shot_images
from rotomem.propagation.network_proposal import find_masks
from rotomem.session.motion_task import FLOW_SIDE_PX
from rotomem.training.footage import image_files
from rotomem.vos import save_weights

OTHER_GAP = 2
"""The segmenter learns from flow of another gap than it is used with, as in the paper."""
ADAPTABLE = (FLOW, CORRECTOR)


@dataclass(frozen=True)
class FrameFolder:
    """A shot's frames in a folder, 8-bit display-encoded images in the order of their names."""

    files: tuple[Path, ...]
    size: tuple[int, int]

    def image(self, frame: int) -> Image:
        """Return (H, W, 3) RGB in [0, 1]. Raises ``PlateUnreadableError``, ``PlateSizeError``."""
        pixels = _read(self.files[frame])
        if pixels.shape[:2] != self.size:
            raise PlateSizeError(f"{self.files[frame]} has another size than the first frame; make them alike")
        return np.asarray(pixels[..., ::-1], dtype=np.float32) / np.float32(255)


def open_shots(folder: Path) -> list[FrameFolder]:
    """Return the shots of a folder: each of its own folders with images, in it or in its ``frames``.

    Raises:
        PlateMissingError: there is none.
        PlateUnreadableError: a first frame that is not an image.
    """
    shots = []
    for inner in sorted(path for path in folder.glob("*") if path.is_dir()):
        files = image_files(inner / "frames") or image_files(inner)
        if files:
            height, width = _read(files[0]).shape[:2]
            shots.append(FrameFolder(tuple(files), (height, width)))
    if not shots:
        raise PlateMissingError(f"{folder} has no folders with images in them; give a folder with one folder a shot")
    return shots


def adapt_networks(
    what: str,
    shots: Sequence[FrameFolder],
    networks: MotionNetworks,
    out: Path,
    *,
    steps: int,
    seed: int = 0,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> list[FrameFolder]:
    """Adapt the flow segmenter or the corrector to shots, and write its weights to ``out``.

    Returns:
        The shots that were left out, since no moving object is found in them.

    Raises:
        SettingError: another network, or no moving object is found in any of the shots.
        OutputUnwritableError: ``out`` cannot be written.
    """
    if what not in ADAPTABLE:
        raise SettingError(f"the {what} is not adapted to shots, only {' and '.join(ADAPTABLE)} are")
    count = 0

    def tell(loss: float) -> None:
        nonlocal count
        count += 1
        on_step(count, loss)

    looks = [_look(shot, networks) for shot in shots]
    seen = [look for look in looks if look is not None]
    if not seen:
        raise SettingError(f"no moving object is found in the {len(shots)} shots; give shots in which one moves")
    adapted: torch.nn.Module
    if what == CORRECTOR:
        adapted = adapt_corrector(
            networks.corrector,
            [shot for shot, _ in seen],
            steps=steps,
            rate=networks.adaptation_rate,
            seed=seed,
            step=tell,
        )
    else:
        pairs = [(flow, assign_pixels(shot.corrected)) for shot, flow in seen]
        adapted = adapt_segmenter(
            networks.segmenter, pairs, steps=steps, rate=networks.adaptation_rate, seed=seed, step=tell
        )
    config = networks.corrector.config if what == CORRECTOR else networks.segmenter.config
    save_weights({name: tensor.half() for name, tensor in adapted.state_dict().items()}, out, config)
    return [shot for shot, look in zip(shots, looks, strict=True) if look is None]


def _look(shot: FrameFolder, networks: MotionNetworks) -> tuple[AdaptationShot, Tensor] | None:
    """Return what the networks make of a shot, by DIS flow, and its flow of another gap; None if they find nothing."""
    plate = PlateFlow(shot, longer_side_px=FLOW_SIDE_PX)
    frames = range(len(shot.files))
    proposal = propose_objects(plate, frames, plate_px=max(shot.size) / max(plate.size), step=lambda: None)
    found = find_masks(plate, proposal, networks) if proposal.objects else None
    if found is None:
        return None
    size = working_size(*plate.size, area=networks.area)
    appearance = look_at(shot_images(plate, frames, size), networks, size)
    flow = stack_flow(*shot_flows(plate, frames, size, gap=OTHER_GAP), size)
    scores = exemplar_scores(found.flow_error)
    return AdaptationShot(
        appearance.images, appearance.fine, found.flow_masks, found.masks, scores, found.exemplars
    ), flow


def _read(path: Path) -> Image:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise PlateUnreadableError(f"{path} is not an image; restore it or take it out of the folder")
    return np.asarray(pixels)
