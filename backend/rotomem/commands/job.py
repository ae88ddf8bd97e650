"""``rotomem job``: a propagation that Nuke exported, without Nuke and its licence."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.commands.progress import ProgressLines
from rotomem.commands.stopping import StopRequest
from rotomem.errors import SettingError

if TYPE_CHECKING:
    from rotomem.session.job_file import JobFile, JobShot

NAME = "job"
SUMMARY = "run or check a job that the Nuke plugin exported, without Nuke and its licence"
EXAMPLES = """examples:
  rotomem job check hero.rotomem.json
  rotomem job run hero.rotomem.json
  rotomem job run hero.rotomem.json --frames 1001-1060 --map Z:/shows=/mnt/shows

The mattes go into the node's cache folder: the node shows them, and so does a blade without the plugin. A second run
keeps those that are current, so an interrupted job goes on where it was. Exit codes as for every command.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    run_it = actions.add_parser("run", help="make the mattes", description="Make the mattes of a job.")
    check_it = actions.add_parser(
        "check", help="say what a job would do, or what is wrong with it", description="Check a job; write nothing."
    )
    for action in (run_it, check_it):
        action.add_argument("job", type=Path, metavar="FILE", help="exported from Nuke")
        action.add_argument("--frames", metavar="FIRST-LAST", help="only these of the job's frames")
        action.add_argument(
            "--map", dest="path_map", metavar="FROM=TO", action="append", default=[], help="a path on this machine"
        )
        action.add_argument("--weights-dir", type=Path, help="folder of installed weights")
        action.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    run_it.add_argument("--remake", action="store_true", help="make also those mattes that are current")


def run(options: argparse.Namespace) -> int:
    job = load_job(options)
    return check_job(job) if options.action == "check" else run_job(job, remake=options.remake)


def load_job(options: argparse.Namespace) -> JobFile:
    """Read the file and apply the flags; raises ``RotomemError`` naming the flag or field that is wrong."""
    from rotomem.plates import parse_frame_range
    from rotomem.session.job_file import read_job_file, recipe_number, with_frames
    from rotomem_client.errors import InvalidValueError
    from rotomem_client.path_map import parse_path_map

    try:
        path_map = parse_path_map(options.path_map)
    except InvalidValueError as error:
        raise SettingError(f"--map: {error}") from error
    job = read_job_file(options.job, path_map=path_map)
    shots = []
    for shot in job.shots:
        here = replace(shot.task, device=options.settings.device, weights_dir=options.settings.weights_dir)
        shots.append(replace(shot, task=replace(here, revision=recipe_number(here))))
    if options.frames:
        frames = parse_frame_range(options.frames)
        if frames != list(range(frames[0], frames[-1] + 1)):
            raise SettingError(f"--frames {options.frames} has gaps; give FIRST-LAST")
        for shot in shots:
            with_frames(shot, range(frames[0], frames[-1] + 1))
        job = replace(job, frames=range(frames[0], frames[-1] + 1))
    return replace(job, shots=tuple(shots))


def run_job(job: JobFile, *, remake: bool) -> int:
    """Make every shot's mattes; prints ``Progress: NN%`` lines, and one sentence at the end of each shot."""
    from rotomem.session import propagate_shot
    from rotomem.session.cache_folder import current_frames, refuse_frozen, write_note
    from rotomem.session.job_file import with_frames
    from rotomem.session.propagate import engine_of

    stop = StopRequest()
    lines = ProgressLines(len(job.shots))
    for index, shot in enumerate(job.shots):
        refuse_frozen(shot)
        engine = engine_of(shot.task)
        current = frozenset() if remake else current_frames(shot, engine)
        part = with_frames(shot, job.frames) if job.frames else shot
        task = replace(part.task, current=current)
        write_note(shot, engine)
        try:
            with stop:
                summary = propagate_shot(
                    task,
                    on_matte=lambda _: None,
                    on_progress=partial(lines.show, index),
                    cancelled=stop.requested,
                    engine=engine,
                )
        finally:
            complete = write_note(shot, engine)
        for warning in summary.warnings:
            print(f"rotomem: {warning}", file=sys.stderr)
        made = len(summary.frames) - len(summary.kept)
        print(
            f"{_called(job, shot)}: {made} mattes made by engine {summary.engine}, {len(summary.kept)} kept, in "
            f"{summary.seconds:.1f} s: {task.output_pattern}"
            + ("" if complete else "; frames outside of --frames are still to be made"),
            flush=True,
        )
    return 0


def check_job(job: JobFile) -> int:
    """Look for whatever would stop the job; prints one line a shot, raises ``RotomemError`` otherwise."""
    import contextlib

    from rotomem.plates import FramePattern, PlateSource, format_frame_range
    from rotomem.session.cache_folder import check_folder, refuse_frozen
    from rotomem.session.job_file import with_frames
    from rotomem.session.task_checks import check_task

    for shot in job.shots:
        task = with_frames(shot, job.frames).task if job.frames else shot.task
        check_task(task)
        refuse_frozen(shot)
        check_folder(shot)
        plate = task.plate
        annotated = sorted({annotation.frame for annotation in task.annotations})
        source = PlateSource(pattern=plate.pattern, first=plate.first, last=plate.last, colourspace=plate.colourspace)
        with contextlib.closing(source):
            source.check_frames(range(min(shot.wanted[0], annotated[0]), max(shot.wanted[-1], annotated[-1]) + 1))
        there = [frame for frame in FramePattern.parse(task.output_pattern).frames_on_disk() if frame in shot.wanted]
        print(
            f"{_called(job, shot)}: frames {task.first}-{task.last} of {plate.pattern}, drawn on "
            f"{format_frame_range(annotated)} ({', '.join(task.objects)}), engine {task.engine}; "
            f"{len(there)} of {len(shot.wanted)} mattes are in {Path(task.output_pattern).parent}"
        )
    return 0


def _called(job: JobFile, shot: JobShot) -> str:
    return f"{job.node} ({shot.view})" if shot.view else job.node
