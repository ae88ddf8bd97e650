"""``rotomem motion``: mattes of what moves, without any annotation."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.commands.stopping import StopRequest
from rotomem.errors import OutputUnwritableError, SettingError

if TYPE_CHECKING:
    from rotomem.session.motion import MotionSummary
    from rotomem.session.motion_task import MotionTask

NAME = "motion"
SUMMARY = "find what moves in a plate and write a matte per frame, without any annotation"
EXAMPLES = """examples:
  rotomem motion --plate 'sh010.%04d.exr' --output 'matte/motion.%04d.exr'
  rotomem motion --plate 'sh010.####.exr' --objects 1 --range 1001-1040 --output 'm.%04d.exr' --json diagnosis.json

The layers are object1, the one that moves most, object2 and so on; the alpha is their union. The plate is split where
it has cuts; object1 of one shot has nothing to do with object1 of the next. Where nothing moves against the camera,
that is said and the mattes are empty. A frame's confidence is in its metadata and in --json.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plate", required=True, help="pattern of the plate: p.%%04d.exr, p.####.exr or one file")
    parser.add_argument("--output", required=True, help="pattern of the mattes to write: motion.%%04d.exr")
    parser.add_argument("--objects", type=int, default=3, metavar="N", help="at most so many objects, one layer each")
    parser.add_argument("--range", dest="frame_range", metavar="FIRST-LAST", help="frames to make (default: the plate)")
    parser.add_argument("--flow", default="auto", help="dis, raft, or auto: raft where weights and torchvision are")
    parser.add_argument("--flow-size", type=int, default=320, help="longer side at which flow is computed, pixels")
    parser.add_argument(
        "--engine", default="motion", help="motion: its own masks; auto, xmem or warp: propagate the best of them"
    )
    parser.add_argument("--weights", default="", help="for the engine: installed weights by name, or a file")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights, RAFT's among them")
    parser.add_argument("--device", help="for networks: auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--colourspace", default="auto", help="of the plate: an OpenColorIO name, or auto")
    parser.add_argument("--no-refine-edges", action="store_true", help="leave edges as the flow makes them")
    parser.add_argument(
        "--no-sam", action="store_true", help="do not ask segment-anything, though its weights are there"
    )
    parser.add_argument("--classical", action="store_true", help="leave out the flow segmenter and motion networks")
    parser.add_argument("--crf", action="store_true", help="edges by a dense CRF (pip install 'rotomem[crf]'); slow")
    parser.add_argument("--json", metavar="FILE", help="write the diagnosis to this file; - prints it instead")
    parser.add_argument("--progress", choices=["bar", "lines", "none"], default="bar", help="lines suit a render farm")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from rotomem.session.motion import propose_shot
    from rotomem.session.shot import MatteWritten, Progress

    task = build_task(options)
    stop = StopRequest()
    bar = tqdm(total=None, unit="step", disable=options.progress != "bar")
    told = -1

    def show(progress: Progress) -> None:
        nonlocal told
        bar.total = progress.total
        bar.set_description(progress.phase, refresh=False)
        bar.update(progress.done - bar.n)
        percent = 100 * progress.done // max(progress.total, 1)
        if options.progress == "lines" and percent > told:
            told = percent
            print(f"Progress: {percent}%", flush=True)

    def ignore(_: MatteWritten) -> None:
        pass

    with bar, stop:
        summary = propose_shot(task, on_matte=ignore, on_progress=show, cancelled=stop.requested)
    if options.json:
        _tell(options.json, json.dumps(summary.to_json(), indent=1))
    if options.json != "-":
        print(describe(summary, options.output))
    return 0


def build_task(options: argparse.Namespace) -> MotionTask:
    """Turn the arguments into a task; raises ``RotomemError`` naming the flag that is wrong."""
    from rotomem.plates import FramePattern, parse_frame_range
    from rotomem.session.motion_task import MotionTask
    from rotomem.session.shot import PlateReference

    on_disk = FramePattern.parse(options.plate).frames_on_disk()
    wanted = parse_frame_range(options.frame_range) if options.frame_range else on_disk
    if not wanted:
        raise SettingError(f"the plate {options.plate} has no frame on disk; mend --plate")
    if options.frame_range and wanted != list(range(wanted[0], wanted[-1] + 1)):
        raise SettingError(f"--range {options.frame_range} has gaps; mattes are made for FIRST-LAST, every frame")
    known = [*on_disk, *wanted]
    return MotionTask(
        plate=PlateReference(pattern=options.plate, first=min(known), last=max(known), colourspace=options.colourspace),
        first=min(wanted),
        last=max(wanted),
        output_pattern=options.output,
        objects=tuple(f"object{number}" for number in range(1, options.objects + 1)),
        flow=options.flow,
        flow_side_px=options.flow_size,
        device=options.settings.device,
        engine=options.engine,
        weights=options.weights,
        weights_dir=options.settings.weights_dir,
        refine_edges=not options.no_refine_edges,
        networks=not options.classical,
        sam=not options.no_sam,
        crf=options.crf,
    )


def describe(summary: MotionSummary, output: str) -> str:
    """Say shot by shot what was found."""
    lines = list(summary.sentences())
    frames = sum(len(shot.frames) for shot in summary.shots)
    speed = f"{summary.seconds:.1f} s ({frames / max(summary.seconds, 1e-9):.2f} frames/s), flow {summary.flow}"
    speed += "" if summary.found_by == "classical" else f", objects by the {summary.found_by}"
    if summary.moves:
        lines.append(f"{frames} mattes in {speed}: {output}")
    else:
        lines.append(f"nothing moves: {frames} empty mattes in {speed}: {output}")
    return "\n".join(lines)


def _tell(where: str, text: str) -> None:
    if where == "-":
        print(text)
        return
    try:
        Path(where).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputUnwritableError(f"{where} cannot be written: {error.strerror}") from error
