"""``rotomem evaluate``: J, F, J&F and T of each engine on footage with ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from rotomem.commands.progress import tell
from rotomem.errors import SettingError

NAME = "evaluate"
SUMMARY = "measure engines on clips with ground truth and on held-out synthetic shots: J, F, J&F and stability"
EXAMPLES = """examples:
  rotomem evaluate --clips ../shared/clips/davis_train_360p --out scores --jobs 2
  rotomem evaluate --clips CLIPS --engines warp --counts 3 --only bear,boat --synthetic 0
  rotomem evaluate --clips CLIPS --engines xmem --weights NAME --counts 3,5 --no-tune --out scores

A clip is a folder with frames/ and masks/ (images of the same names; a mask is above half grey where the object is).
J, F and T are in [0, 1], higher is better; T is temporal stability. Clips and synthetic shots are averaged apart.

With --out, every measurement is kept as soon as it is finished: the same command goes on where it was interrupted, and
clips can be measured in pieces. The folder then gets table.txt, scores.json, plot.png (J&F over the number of annotated
frames) and contact_sheet.png (the three best and the three worst clips). Changed an engine's code? Take a new folder.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=Path, help="folder of clips (default: synthetic shots alone)")
    parser.add_argument("--only", help="comma-separated names of clips (default: all)")
    parser.add_argument("--synthetic", type=int, default=6, metavar="N", help="held-out synthetic shots; 0 for none")
    parser.add_argument("--engines", help="comma-separated (default: copy, warp and, where it has weights, xmem)")
    parser.add_argument(
        "--counts",
        "--annotations",
        dest="counts",
        default="1,3,5,10",
        help="comma-separated numbers of evenly spaced annotated frames",
    )
    parser.add_argument("--weights", default="", help="for xmem: name of installed weights or a file")
    parser.add_argument(
        "--tune", action=argparse.BooleanOptionalAction, default=True, help="for xmem: tune to each shot"
    )
    parser.add_argument("--jobs", type=int, default=1, help="clips at once, one process each")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keep every measurement here, and write table, JSON, plot and sheet"
    )
    parser.add_argument("--sheet-engine", help="whose best and worst clips to show (default: the first but copy)")
    parser.add_argument(
        "--sheet-count", type=int, metavar="N", help="with how many annotated frames (default: 3, else the first)"
    )
    parser.add_argument("--json", type=Path, help="also write the scores to this file")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from rotomem.engine_names import usable_engines
    from rotomem.training.evaluation import EngineSettings, evaluate_footage
    from rotomem.training.evaluation_report import choose_sheet, write_json, write_report
    from rotomem.training.footage import HeldOutShot, find_clips
    from rotomem.training.scores import format_table

    if options.synthetic < 0:
        raise SettingError(f"--synthetic {options.synthetic}: give a number of shots, 0 or more")
    settings = EngineSettings(options.settings.weights_dir, options.settings.device, options.weights, options.tune)
    engines = _names(options.engines) or list(reversed(usable_engines(settings.weights_dir)))
    counts = _counts(options.counts)
    shown_engine, shown_count = choose_sheet(engines, counts, engine=options.sheet_engine, count=options.sheet_count)
    footage = [
        *(find_clips(options.clips, _names(options.only)) if options.clips is not None else ()),
        *(HeldOutShot(index) for index in range(options.synthetic)),
    ]
    with tqdm(unit="clip", leave=False, delay=0.5) as bar:
        report = evaluate_footage(
            footage,
            engines=engines,
            counts=counts,
            settings=settings,
            jobs=options.jobs,
            out=options.out,
            on_progress=tell(bar),
        )
    print(format_table(report))
    if options.json is not None:
        write_json(options.json, report)
    if options.out is not None:
        for path in write_report(options.out, report, footage, sheet_engine=shown_engine, sheet_count=shown_count):
            print(f"wrote {path}")
    return 0


def _counts(text: str) -> list[int]:
    try:
        return list(dict.fromkeys(int(number) for number in text.split(",")))
    except ValueError:
        raise SettingError(f"--counts {text!r} must be whole numbers, such as 1,3,5,10") from None


def _names(text: str | None) -> list[str] | None:
    return [name.strip() for name in text.split(",")] if text else None
