"""``rotomem report``: one picture of how a shot's mattes are doing."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.errors import SettingError

if TYPE_CHECKING:
    from rotomem.session.report import ReportTask

NAME = "report"
SUMMARY = "write one picture of a shot: drawn frames, confidence, stability, seams and frames to draw next"
EXAMPLES = """examples:
  rotomem report --plate 'sh010.%04d.exr' --mattes 'matte/hero.%04d.exr' --output report.png
  rotomem report --plate 'sh010.%04d.exr' --mattes 'm.%04d.exr' --range 1001-1100 --suggested 1020,1044 --output r.png

Which frames were drawn, and the confidence of the others, is read from the mattes. Frames to draw next are those of
`rotomem suggest`, unless --suggested names them. --suggested none shows none.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plate", required=True, help="pattern of the plate: p.%%04d.exr, p.####.exr or one file")
    parser.add_argument("--mattes", required=True, metavar="PATTERN", help="mattes of a propagation: hero.%%04d.exr")
    parser.add_argument("--output", required=True, type=Path, help="PNG file to write")
    parser.add_argument(
        "--range", dest="frame_range", metavar="FIRST-LAST", help="frames to show (default: the mattes)"
    )
    parser.add_argument("--suggested", metavar="FRAMES", help="frames to draw next, best first; or none")
    parser.add_argument("--count", type=int, default=3, help="how many frames to suggest")
    parser.add_argument("--title", default="", help="heading (default: the mattes' pattern)")
    parser.add_argument("--colourspace", default="auto", help="of the plate: an OpenColorIO name, or auto")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from rotomem.session.report import measure_report
    from rotomem.session.report_picture import write_report
    from rotomem.session.shot import Progress

    if options.output.suffix.lower() != ".png":
        raise SettingError(f"--output {options.output} must end in .png")
    with tqdm(unit="frame", leave=False, delay=0.5) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        report = measure_report(_task(options), on_progress=show, cancelled=lambda: False)
    write_report(options.output, report, title=options.title or Path(options.mattes).name)
    seam = report.worst_seam
    words = f"{len(report.made)} mattes, {len(report.annotated)} drawn"
    if seam is not None:
        words += f"; worst seam {seam.annotated}|{seam.neighbour}: {100 * seam.jump:.1f} % of the matte's area"
    print(f"{words}: {options.output}")
    return 0


def _task(options: argparse.Namespace) -> ReportTask:
    from rotomem.plates import FramePattern, parse_frame_range
    from rotomem.session.report import ReportTask
    from rotomem.session.shot import PlateReference

    plate = FramePattern.parse(options.plate).frames_on_disk()
    if options.frame_range:
        wanted = parse_frame_range(options.frame_range)
    else:
        wanted = FramePattern.parse(options.mattes).frames_on_disk() or plate or [0]
    return ReportTask(
        plate=PlateReference(
            pattern=options.plate,
            first=min([*plate, *wanted]),
            last=max([*plate, *wanted]),
            colourspace=options.colourspace,
        ),
        matte_pattern=options.mattes,
        first=min(wanted),
        last=max(wanted),
        suggested=_suggested(options.suggested),
        suggest=0 if options.suggested else options.count,
    )


def _suggested(text: str | None) -> tuple[int, ...]:
    """Read frames in the order given: it is their rank."""
    if not text or text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"--suggested {text!r} must be frames such as 1020,1044, or none") from None
