"""What mattes from motion are made from; light enough for the daemon, which only hands it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rotomem.errors import SettingError
from rotomem.plates import check_object_name
from rotomem.session.shot import PlateReference, ShotAnnotation
from rotomem.session.task_checks import check_output

ENGINE = "motion"
LAYERS = ("object1", "object2", "object3")
AUTO, DIS, RAFT = "auto", "dis", "raft"
FLOWS = (AUTO, DIS, RAFT)
MOST_OBJECTS = 64
LEAST_FLOW_SIDE_PX = 96
FLOW_SIDE_PX = 320
"""Longer side: a quarter of the time of twice that; see ``docs/motion-uses.md``."""


@dataclass(frozen=True)
class MotionTask:
    """What mattes from motion are made from, as plain picklable data.

    Args:
        first, last: frames to make, inclusive.
        output_pattern: ``/cache/motion.%04d.exr``; files appear whole or not at all.
        objects: the layers, the first for the object that moves most.
        flow: ``auto`` is RAFT where its weights and torchvision are there, else DIS.
        flow_side_px: longer side at which flow is computed.
        device: for RAFT: ``auto``, ``cpu`` or ``cuda``.
        weights_dir: where weights of RAFT and segment-anything are looked for; None takes the setting's.
        engine: ``motion`` writes the masks that motion shows; an engine's name, or ``auto``, propagates the best of
            them over the shot instead.
        weights: for that engine: name of installed weights, or a path; empty takes its default.
        processing_size: for that engine: shorter side in pixels at which it works; 0 takes its own default.
        refine_edges: snap the mattes' edges to the plate.
        tune: for that engine: tune its network to the shot, where it can.
        networks: let the motion networks find the objects, where the folder ``motion`` in ``weights_dir`` has them,
            else the flow segmenter, installed there or shipped.
        sam: let segment-anything look again at each mask, where ``weights_dir`` has its weights.
        crf: do so by a dense CRF rather than by the guided filter; it takes seconds a frame, and a further package.
        revision: written into each matte's metadata.
        annotations: what the artist has drawn all the same is returned untouched on its frame.
    """

    plate: PlateReference
    first: int
    last: int
    output_pattern: str
    objects: tuple[str, ...] = LAYERS
    flow: str = AUTO
    flow_side_px: int = FLOW_SIDE_PX
    device: str = "auto"
    weights_dir: Path | None = None
    engine: str = ENGINE
    weights: str = ""
    processing_size: int = 0
    refine_edges: bool = True
    tune: bool = True
    crf: bool = False
    sam: bool = True
    networks: bool = True
    revision: int = 0
    annotations: tuple[ShotAnnotation, ...] = ()


def check_motion_task(task: MotionTask) -> None:
    """Refuse what can be seen to be wrong before any file is opened; raises ``SettingError``."""
    plate = task.plate
    for name in task.objects:
        check_object_name(name)
    if task.first > task.last:
        raise SettingError(
            f"the frame range {task.first}-{task.last} is empty; the first frame must not be after the last"
        )
    if task.first < plate.first or task.last > plate.last:
        raise SettingError(
            f"the frame range {task.first}-{task.last} reaches outside the plate, which has frames "
            f"{plate.first}-{plate.last}; shorten the range"
        )
    if task.flow not in FLOWS:
        raise SettingError(f"there is no flow {task.flow!r}; choose one of {', '.join(FLOWS)}")
    if not 1 <= len(task.objects) <= MOST_OBJECTS:
        raise SettingError(f"the number of objects is {len(task.objects)}; give 1 to {MOST_OBJECTS}")
    if task.flow_side_px < LEAST_FLOW_SIDE_PX:
        raise SettingError(f"the flow's longer side is {task.flow_side_px} px; give {LEAST_FLOW_SIDE_PX} or more")
    check_output(task.output_pattern, task.first)
