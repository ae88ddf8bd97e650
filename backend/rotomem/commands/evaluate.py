"""``rotomem evaluate``: J, F and J&F of each engine on clips with ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path

from rotomem.commands.progress import tell
from rotomem.errors import SettingError

NAME = "evaluate"
SUMMARY = "measure engines on clips with ground truth: J, F and J&F per clip and overall"
EXAMPLES = """examples:
  rotomem evaluate --clips ../shared/clips/davis_train_360p
  rotomem evaluate --clips CLIPS --engines warp --annotations 3 --only bear,boat --json scores.json

A clip is a folder with frames/ and masks/ (images of the same names; a mask is above half grey where the object is).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips")
    parser.add_argument("--engines", help="comma-separated (default: copy, warp, and xmem where weights are installed)")
    parser.add_argument(
        "--annotations", default="3,5,10", help="comma-separated numbers of evenly spaced annotated frames"
    )
    parser.add_argument("--only", help="comma-separated names of clips (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="clips at once, one process each")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--json", type=Path, help="also write the scores to this file")


def run(options: argparse.Namespace) -> int:
    import json

    from tqdm import tqdm

    from rotomem.training.evaluation import evaluate_clips, format_table, to_json

    try:
        counts = [int(text) for text in options.annotations.split(",")]
    except ValueError:
        raise SettingError(f"--annotations {options.annotations!r} must be whole numbers, such as 3,5,10") from None
    weights_dir = options.settings.weights_dir
    installed = any(weights_dir.glob("*.safetensors"))
    engines = options.engines.split(",") if options.engines else ["copy", "warp", *["xmem"] * installed]
    with tqdm(unit="clip", leave=False, delay=0.5) as bar:
        report = evaluate_clips(
            options.clips,
            engines=engines,
            counts=counts,
            only=options.only.split(",") if options.only else None,
            jobs=options.jobs,
            weights_dir=weights_dir,
            device=options.settings.device,
            on_progress=tell(bar),
        )
    print(format_table(report))
    if options.json is not None:
        options.json.write_text(json.dumps(to_json(report), indent=1), encoding="utf-8")
    return 0
