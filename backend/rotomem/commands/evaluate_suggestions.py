"""``rotomem evaluate-suggestions``: J&F after k suggested frames, against frames chosen without looking."""

from __future__ import annotations

import argparse
from pathlib import Path

from rotomem.commands.progress import tell

NAME = "evaluate-suggestions"
SUMMARY = "measure ways of choosing frames to draw, on clips with ground truth: J&F after 1 to 8 frames"
EXAMPLES = """examples:
  rotomem evaluate-suggestions --clips ../shared/clips/davis_train_360p --step 2 --scale 0.5 --log runs.jsonl
  rotomem evaluate-suggestions --clips CLIPS --only bear,boat --methods uniform,need --json s.json --plot s.png

Stop it at any time: what is in --log is not made again. uniform knows k beforehand; bisection halves the largest gap.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips, as for rotomem evaluate")
    parser.add_argument("--only", help="comma-separated names of clips (default: all)")
    parser.add_argument("--engine", default="warp", help="warp, copy or xmem")
    parser.add_argument("--methods", help="comma-separated (default: all)")
    parser.add_argument("--most", type=int, default=8, help="up to this many drawn frames")
    parser.add_argument("--step", type=int, default=1, help="take every STEP-th frame")
    parser.add_argument("--scale", type=float, default=1.0, help="of the frames' size")
    parser.add_argument("--log", type=Path, default=Path("suggestion-runs.jsonl"), help="propagations made so far")
    parser.add_argument("--weights", default="", help="for xmem: installed weights by name, or a file")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--json", type=Path, help="also write the scores to this file")
    parser.add_argument("--plot", type=Path, help="also draw the curves into this image")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from rotomem.propagation import make_engine
    from rotomem.training.footage import find_clips
    from rotomem.training.suggestion_benchmark import METHODS, format_scores, measure_suggestions, write_scores
    from rotomem.training.suggestion_plot import plot_scores

    settings = options.settings
    engine = make_engine(
        options.engine, weights_dir=settings.weights_dir, device=settings.device, weights=options.weights
    )
    clips = find_clips(options.clips, options.only.split(",") if options.only else None)
    with tqdm(unit="curve", leave=False, delay=0.5) as bar:
        scores = measure_suggestions(
            clips,
            engine,
            options.log,
            methods=options.methods.split(",") if options.methods else METHODS,
            most_drawn=options.most,
            step=options.step,
            scale=options.scale,
            on_progress=tell(bar),
        )
    print(format_scores(scores))
    if options.json:
        write_scores(scores, options.json)
    if options.plot:
        plot_scores(scores, options.plot)
    return 0
