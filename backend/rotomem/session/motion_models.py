"""What mattes from motion are found with: an estimator of flow, and motion networks where there are any."""

from __future__ import annotations

import hashlib
import logging

from rotomem.config import Settings
from rotomem.engine_names import SHIPPED_SEGMENTER
from rotomem.errors import WeightsCorruptError, WeightsMissingError
from rotomem.motion import FlowSegmenter, MotionNetworks
from rotomem.plates import PlateSource
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_networks import (
    FLOW,
    FOLDER,
    find_motion_weights,
    has_motion_networks,
    load_motion_networks,
    load_segmenter,
)
from rotomem.propagation.raft import RaftEstimator, find_raft_weights
from rotomem.propagation.xmem_engine import choose_device
from rotomem.session.motion_task import AUTO, DIS, RAFT, MotionTask
from rotomem.session.shot import PropagationTask

log = logging.getLogger(__name__)


def make_flow(task: MotionTask, source: PlateSource) -> tuple[str, PlateFlow]:
    """Return the flow's name and the flow."""
    weights = find_raft_weights(task.weights_dir or Settings.load().weights_dir)
    if task.flow == DIS or (task.flow == AUTO and weights is None):
        return DIS, PlateFlow(source, longer_side_px=task.flow_side_px)
    if weights is None:
        raise WeightsMissingError(
            f"the flow raft has no weights in {task.weights_dir}; put torchvision's raft_large or raft_small .pth file "
            "there, or choose --flow dis"
        )
    try:
        estimate = RaftEstimator(weights, device=str(choose_device(task.device)))
    except WeightsMissingError as error:
        if task.flow == RAFT:
            raise
        log.warning("flow by DIS: %s", error)
        return DIS, PlateFlow(source, longer_side_px=task.flow_side_px)
    return RAFT, PlateFlow(source, longer_side_px=task.flow_side_px, estimate=estimate)


def find_networks(task: MotionTask | PropagationTask) -> MotionNetworks | None:
    """Return the motion networks where all three are installed."""
    folder = (task.weights_dir or Settings.load().weights_dir) / FOLDER
    if not has_motion_networks(folder):
        return None
    return load_motion_networks(folder, device=choose_device(task.device))


def find_segmenter(task: MotionTask | PropagationTask, *, without: str) -> tuple[FlowSegmenter, str] | None:
    """Return the flow segmenter, installed or shipped, and its weights' SHA-256, where it is there.

    Args:
        without: option that does without it, for the sentence on a damaged one.

    Raises:
        SettingError: no such device.
        WeightsError: it cannot be loaded.
    """
    folder = (task.weights_dir or Settings.load().weights_dir) / FOLDER
    path = find_motion_weights(folder, FLOW) or SHIPPED_SEGMENTER
    if not path.is_file():
        return None
    try:
        segmenter = load_segmenter(path, device=choose_device(task.device))
    except WeightsCorruptError as error:
        cure = "reinstall rotomem" if path == SHIPPED_SEGMENTER else f"train it again, or take it out of {folder}"
        raise WeightsCorruptError(f"the flow segmenter {path} is damaged; {cure}, or use {without}") from error
    return segmenter, hashlib.sha256(path.read_bytes()).hexdigest()
