"""``rotomem suggest``: which frames of a shot to draw next."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.commands.progress import tell
from rotomem.errors import OutputUnwritableError, SettingError

if TYPE_CHECKING:
    from rotomem.session.shot import PlateReference, Progress
    from rotomem.session.suggest import Suggestion

NAME = "suggest"
SUMMARY = "say which frames to draw next, and why"
EXAMPLES = """examples:
  rotomem suggest --plate 'sh010.%04d.exr' --mattes 'matte/hero.%04d.exr' --annotated 1001,1040
  rotomem suggest --plate 'sh010.%04d.exr' --annotated 1001 --count 8 --json next.json
  rotomem suggest --plate 'sh010.%04d.exr' --mattes 'm.%04d.exr' --annotated 1001 --scoring likeness --weights XMem

--mattes are those of the last propagation; without them frames are spread in time. Scorings:
  auto, need      where drawing takes away most of the error expected; needs no weights
  confidence, disagreement, instability, spread   one sign alone; combined: all four alike
  motion          where motion takes the mattes for wrong; needs mattes made with propagate --motion errors
  likeness        least like the frames drawn, by the network's keys (XMem++); needs weights and the plate
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from rotomem.session.suggest import SCORINGS

    parser.add_argument("--plate", required=True, help="pattern of the plate: p.%%04d.exr, p.####.exr or one file")
    parser.add_argument("--annotated", default="", metavar="FRAMES", help="frames already drawn, as 1001,1010-1012")
    parser.add_argument("--mattes", default="", metavar="PATTERN", help="mattes of the last propagation")
    parser.add_argument("--range", dest="frame_range", metavar="FIRST-LAST", help="frames to choose from")
    parser.add_argument("--count", type=int, default=5, help="how many frames")
    parser.add_argument("--scoring", default="auto", choices=SCORINGS, help="what frames are chosen by")
    parser.add_argument("--alpha", type=float, default=0.5, help="likeness: the object (1) or the whole picture (0)")
    parser.add_argument("--colourspace", default="auto", help="of the plate: an OpenColorIO name, or auto")
    parser.add_argument("--weights", default="", help="likeness: installed weights by name, or a file")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--json", metavar="FILE", help="write the suggestions to this file; - prints them instead")


def run(options: argparse.Namespace) -> int:
    import json

    from tqdm import tqdm

    from rotomem.plates import parse_frame_range
    from rotomem.session.suggest import LIKENESS, SuggestionTask, suggest_shot

    plate = _plate(options)
    wanted = parse_frame_range(options.frame_range) if options.frame_range else [plate.first, plate.last]
    task = SuggestionTask(
        plate=plate,
        annotated=tuple(parse_frame_range(options.annotated)) if options.annotated else (),
        first=min(wanted),
        last=max(wanted),
        matte_pattern=options.mattes,
        count=options.count,
        scoring=options.scoring,
        alpha=options.alpha,
        device=options.settings.device,
        weights=options.weights,
        weights_dir=options.settings.weights_dir,
        cache_dir=options.settings.store_dir / "keys" if options.scoring == LIKENESS else None,
    )
    with tqdm(unit="frame", leave=False, delay=0.5) as bar:
        advance = tell(bar)

        def show(progress: Progress) -> None:
            bar.set_description(progress.phase, refresh=False)
            advance(progress.done, progress.total)

        suggestions = suggest_shot(task, on_progress=show, cancelled=lambda: False)
    text = json.dumps([vars(suggestion) for suggestion in suggestions], indent=1)
    if options.json == "-":
        print(text)
        return 0
    print(format_suggestions(suggestions))
    if options.json:
        try:
            Path(options.json).write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputUnwritableError(f"{options.json} cannot be written: {error.strerror}") from error
    return 0


def format_suggestions(suggestions: tuple[Suggestion, ...]) -> str:
    """Lay suggestions out as a table, best first."""
    if not suggestions:
        return "every frame of the range is drawn already"
    lines = [f"{'frame':>7}  {'score':>8}  reason"]
    return "\n".join([*lines, *(f"{s.frame:>7}  {s.score:>8.4g}  {s.reason}" for s in suggestions)])


def _plate(options: argparse.Namespace) -> PlateReference:
    """Return the plate with the range of its files, extended by what the arguments name."""
    from rotomem.plates import FramePattern, parse_frame_range
    from rotomem.session.shot import PlateReference

    on_disk = FramePattern.parse(options.plate).frames_on_disk()
    named = parse_frame_range(options.frame_range) if options.frame_range else []
    known = [*on_disk, *named]
    if not known:
        raise SettingError(f"the plate {options.plate} has no frame on disk; mend --plate, or give --range")
    return PlateReference(pattern=options.plate, first=min(known), last=max(known), colourspace=options.colourspace)
