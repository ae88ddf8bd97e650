"""``rotomem propagate``: mattes for one shot, here or on a daemon."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.commands.progress import ProgressLines, tell_phase
from rotomem.commands.stopping import StopRequest
from rotomem.errors import SettingError

if TYPE_CHECKING:
    from rotomem.session import PropagationTask, ShotAnnotation

NAME = "propagate"
SUMMARY = "propagate annotations over a plate and write a matte per frame"
EXAMPLES = """examples:
  rotomem propagate --plate 'sh010.%04d.exr' --shapes hero.json --output 'matte/hero.%04d.exr'
  rotomem propagate --plate 'sh010.####.exr' --alpha 1001=a.png --alpha 1024:car=b.exr --output 'm.%04d.exr'
  rotomem propagate --plate 'sh010.%04d.jpg' --alphas 'roto.%04d.png' --annotated 1001,1020x --output 'm.%04d.exr'

An annotation is FRAME=FILE or FRAME:OBJECT=FILE; without a name the object is called matte. Write a negative frame
with =, as in --alpha=-1=a.png.
--shapes takes the JSON of `rotomem demo` (backend/docs/shapes.md describes it).
"""
DEFAULT_OBJECT = "matte"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plate", required=True, help="pattern of the plate: p.%%04d.exr, p.####.exr or one file")
    parser.add_argument("--shapes", type=Path, action="append", default=[], help="JSON file of roto shapes per frame")
    parser.add_argument(
        "--alpha", action="append", default=[], metavar="FRAME[:OBJECT]=FILE", help="an annotated frame"
    )
    parser.add_argument("--alphas", metavar="PATTERN", help="pattern of annotation images, for --annotated")
    parser.add_argument(
        "--annotated", metavar="FRAMES", help="frames of --alphas that are annotations, as 1001,1010-1012"
    )
    parser.add_argument("--absent", action="append", default=[], metavar="FRAME[:OBJECT]", help="not in this frame")
    parser.add_argument("--output", required=True, help="pattern of the mattes to write: hero.%%04d.exr")
    parser.add_argument("--range", dest="frame_range", metavar="FIRST-LAST", help="frames to make (default: the plate)")
    parser.add_argument("--handles", type=int, default=0, help="further frames on both sides")
    parser.add_argument("--engine", default="auto", help="auto, xmem, warp or copy")
    parser.add_argument("--weights", default="", help="installed weights by name, or a file")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--colourspace", default="auto", help="of the plate: an OpenColorIO name, or auto")
    parser.add_argument("--no-refine-edges", action="store_true", help="leave edges as the engine makes them")
    parser.add_argument(
        "--focus",
        type=int,
        metavar="FRAME",
        help="make this frame's stretch of the shot first, its neighbours as previews before the network is tuned",
    )
    parser.add_argument(
        "--confidence", action="store_true", help="write a layer `confidence` into each matte: 1 is certain"
    )
    parser.add_argument(
        "--size", type=int, default=0, help="shorter side at which the network works, pixels (default: the engine's)"
    )
    parser.add_argument(
        "--no-tune",
        action="store_true",
        help="do not tune the network to the shot; auto is then warp, which is better than our own weights untuned",
    )
    parser.add_argument(
        "--motion",
        default="off",
        choices=["off", "errors", "correct", "exemplars", "all"],
        help="second opinion from motion: write a layer `motion_error`, also correct there, or remember exemplars",
    )
    parser.add_argument("--progress", choices=["bar", "lines", "none"], default="bar", help="lines suit a render farm")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from rotomem.session import MatteWritten, Progress, propagate_shot

    task = build_task(options)
    stop = StopRequest()
    bar = tqdm(total=None, unit="frame", disable=options.progress != "bar")
    draw, lines = tell_phase(bar), ProgressLines()

    def show(progress: Progress) -> None:
        draw(progress)
        if options.progress == "lines":
            lines.show(0, progress)

    def ignore(_: MatteWritten) -> None:
        pass

    with bar, stop:
        summary = propagate_shot(task, on_matte=ignore, on_progress=show, cancelled=stop.requested)
    for warning in summary.warnings:
        print(f"rotomem: {warning}", file=sys.stderr)
    weights = f", weights {summary.weights_sha256[:12]}" if summary.weights_sha256 else ""
    worst = max(summary.seams, key=lambda seam: seam.excess, default=None)
    if worst is not None and worst.usual is not None:
        print(
            f"largest seam, between {worst.annotated} and {worst.neighbour}: {100 * worst.jump:.1f} % of the matte's "
            f"area changes beyond the plate's motion, where {100 * worst.usual:.1f} % is usual"
        )
    print(
        f"{len(summary.frames)} mattes by engine {summary.engine}{weights} in {summary.seconds:.1f} s "
        f"({len(summary.frames) / max(summary.seconds, 1e-9):.2f} frames/s): {options.output}"
    )
    return 0


def build_task(options: argparse.Namespace) -> PropagationTask:
    """Turn the arguments into a task; raises ``RotomemError`` naming the flag that is wrong."""
    from rotomem.plates import FramePattern, parse_frame_range
    from rotomem.session import PlateReference, PropagationTask

    annotations = _annotations(options)
    on_disk = FramePattern.parse(options.plate).frames_on_disk()
    wanted = parse_frame_range(options.frame_range) if options.frame_range else on_disk
    if wanted and wanted != list(range(wanted[0], wanted[-1] + 1)) and options.frame_range:
        raise SettingError(f"--range {options.frame_range} has gaps; mattes are made for FIRST-LAST, every frame")
    known = [*on_disk, *wanted] or [annotation.frame for annotation in annotations] or [0]
    return PropagationTask(
        plate=PlateReference(pattern=options.plate, first=min(known), last=max(known), colourspace=options.colourspace),
        annotations=tuple(annotations),
        objects=tuple(dict.fromkeys(annotation.object_name for annotation in annotations)),
        first=min(wanted or known),
        last=max(wanted or known),
        output_pattern=options.output,
        handles=options.handles,
        engine=options.engine,
        device=options.settings.device,
        weights=options.weights,
        weights_dir=options.settings.weights_dir,
        refine_edges=not options.no_refine_edges,
        focus=options.focus,
        confidence=options.confidence,
        processing_size=options.size,
        tune=not options.no_tune,
        motion=options.motion,
    )


def _annotations(options: argparse.Namespace) -> list[ShotAnnotation]:
    from rotomem.plates import FramePattern, parse_frame_range
    from rotomem.session import ShotAnnotation, read_shape_file

    annotations = [annotation for path in options.shapes for annotation in read_shape_file(path)]
    for text in options.alpha:
        place, separator, file = text.partition("=")
        if not separator or not file:
            raise SettingError(f"--alpha {text!r} must be FRAME=FILE or FRAME:OBJECT=FILE")
        frame, name = _frame_and_object(place, "--alpha")
        annotations.append(ShotAnnotation(frame=frame, object_name=name, alpha=Path(file)))
    if bool(options.alphas) != bool(options.annotated):
        raise SettingError("--alphas PATTERN and --annotated FRAMES go together")
    if options.alphas:
        pattern = FramePattern.parse(options.alphas)
        for frame in parse_frame_range(options.annotated):
            annotations.append(ShotAnnotation(frame=frame, object_name=DEFAULT_OBJECT, alpha=pattern.path(frame)))
    for text in options.absent:
        frame, name = _frame_and_object(text, "--absent")
        annotations.append(ShotAnnotation(frame=frame, object_name=name, absent=True))
    return annotations


def _frame_and_object(text: str, flag: str) -> tuple[int, str]:
    frame, _, name = text.partition(":")
    try:
        return int(frame), name or DEFAULT_OBJECT
    except ValueError:
        raise SettingError(f"{flag} {text!r}: {frame!r} is not a frame number") from None
