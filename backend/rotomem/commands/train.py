"""``rotomem train``: the networks' weights, from synthetic video alone."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.errors import SettingError

if TYPE_CHECKING:
    from rotomem.training.trainer import StepReport
    from rotomem.training.validation import ValidationScores
    from rotomem.training.vos_trainer import TrainingSettings

NAME = "train"
SUMMARY = "train the networks on synthetic video, or look at that video"
EXAMPLES = """examples:
  rotomem train sheet --out sheet.png                      what the generator makes
  rotomem train vos --out runs/vos --minutes 90            on this machine, with a GPU if there is one
  rotomem train vos --out runs/vos --minutes 9 --of 27     one piece of three; the next call goes on from it
  rotomem train flow --out runs/flow --minutes 60          likewise selector and corrector: mattes from motion
  rotomem train corrector --adapt SHOTS --steps 400 --networks runs/motion --out runs/adapted

The folder holds the checkpoint to go on from (state.json and parts of at most 16 MB), weights.safetensors to use,
log.jsonl, curves.png and model_card.md. It is usable after any piece, and after a kill from the last checkpoint on.
"""
SIZES = ("light", "small")
VOS_RATE, MOTION_RATE = 6e-4, 2e-3
MOTION = ("flow", "selector", "corrector")
WHAT = ("vos", *MOTION, "sheet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=WHAT, help="the network to train, or a contact sheet to write")
    parser.add_argument("--out", type=Path, required=True, help="the training's folder; sheet: a PNG")
    parser.add_argument("--minutes", type=float, help="length of this piece")
    parser.add_argument("--of", type=float, metavar="MINUTES", help="length of the whole training (default: one piece)")
    parser.add_argument("--steps", type=int, help="length of the whole training in steps, which makes it reproducible")
    parser.add_argument("--size", choices=SIZES, default="light", help="vos: of the network: 2 or 8 million parameters")
    parser.add_argument("--rate", type=float, help="peak learning rate (default: vos 0.0006, others 0.002)")
    parser.add_argument("--seed", type=int, default=1, help="of weights, clips and chance")
    parser.add_argument("--workers", type=int, help="processes that make clips (default: 1 on a CPU, 0 on a GPU)")
    parser.add_argument("--textures", type=Path, help="folder of photographs (default: procedural textures alone)")
    parser.add_argument(
        "--no-video-consistency",
        dest="video_consistency",
        action="store_false",
        help="vos: never hide tubes of query frames; for ablation",
    )
    parser.add_argument("--adapt", type=Path, metavar="SHOTS", help="flow, corrector: learn from shots without truth")
    parser.add_argument("--networks", type=Path, help="--adapt: folder of the three networks (default: the installed)")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--frames", type=int, default=6, help="sheet: frames of each shot")
    parser.add_argument("--shots", type=int, default=16, help="sheet: how many, from --seed on")


def run(options: argparse.Namespace) -> int:
    if options.what == "sheet":
        return _write_sheet(options)
    if options.what in MOTION:
        from rotomem.commands import train_motion

        return train_motion.run(options)
    if options.adapt:
        raise SettingError("--adapt is for flow and corrector; vos is tuned to a shot while it propagates")
    return _train(options)


def _write_sheet(options: argparse.Namespace) -> int:
    from rotomem.training.synthetic import load_photographs
    from rotomem.training.synthetic.sheet import write_contact_sheet

    photographs = load_photographs(options.textures) if options.textures else None
    seeds = range(options.seed, options.seed + options.shots)
    write_contact_sheet(options.out, seeds, frames=options.frames, photographs=photographs)
    print(f"wrote {options.out}")
    return 0


def _train(options: argparse.Namespace) -> int:
    import torch

    from rotomem.training.curves import draw_curves
    from rotomem.training.model_card import Provenance, describe_hardware, write_model_card
    from rotomem.training.vos_trainer import LOG, WEIGHTS, VosTrainer
    from rotomem.weights_files import expected_sha256

    settings = _training_settings(options)
    if settings.device == "cpu":
        # A second thread gains little on maps this small, and the other core makes clips.
        torch.set_num_threads(options.threads or 1)
    trainer = VosTrainer(settings, options.out)
    if trainer.state.step:
        print(f"going on from step {trainer.state.step}, {trainer.state.minutes:.1f} minutes, {trainer.progress:.0%}")
    reporter = StepPrinter()
    scores = trainer.train(minutes=options.minutes, on_step=reporter.on_step, on_validation=_print_scores)
    draw_curves(options.out / LOG, options.out / "curves.png")
    provenance = Provenance(
        command=shlex.join(["rotomem", *sys.argv[1:]]),
        config=trainer.network.config,
        parameters=sum(weight.numel() for weight in trainer.network.parameters()),
        seed=settings.seed,
        steps=trainer.state.step,
        minutes=trainer.state.minutes,
        video_consistency=settings.video_consistency,
        textures=str(options.textures or ""),
        hardware=describe_hardware(settings.device),
        sha256=expected_sha256(options.out / WEIGHTS),
        scores=scores.__dict__,
    )
    write_model_card(options.out / "model_card.md", provenance)
    print(f"weights: {options.out / WEIGHTS}; {trainer.progress:.0%} of the training is done")
    return 0


def chosen_device(options: argparse.Namespace) -> str:
    """Return ``cpu`` or ``cuda``; ``auto`` takes a GPU where there is one."""
    import torch

    device: str = options.settings.device
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def _training_settings(options: argparse.Namespace) -> TrainingSettings:
    from rotomem.training.schedule import CPU_STAGES, CUDA_STAGES, Horizon
    from rotomem.training.vos_trainer import TrainingSettings
    from rotomem.vos import NetworkConfig

    if options.steps is None and options.minutes is None and options.of is None:
        raise SettingError("train vos needs --minutes, or --steps: how long may it take?")
    minutes = None if options.steps is not None else options.of or options.minutes
    device = chosen_device(options)
    on_gpu = device.startswith("cuda")
    config = NetworkConfig.light() if options.size == "light" else NetworkConfig.small_with_cue()
    return TrainingSettings(
        horizon=Horizon(minutes=minutes, steps=options.steps),
        network=config,
        stages=CUDA_STAGES if on_gpu else CPU_STAGES,
        seed=options.seed,
        device=device,
        peak_rate=options.rate or VOS_RATE,
        video_consistency=options.video_consistency,
        workers=options.workers if options.workers is not None else int(not on_gpu),
        textures=options.textures,
        validate_every_s=120.0 if on_gpu else 300.0,
    )


class StepPrinter:
    """Prints a line for every 50 steps."""

    EVERY = 50

    def __init__(self) -> None:
        self._reports: list[StepReport] = []

    def on_step(self, report: StepReport) -> None:
        self._reports.append(report)
        if len(self._reports) < self.EVERY:
            return
        seconds = sum(each.seconds for each in self._reports)
        waited = sum(each.waited_s for each in self._reports)
        losses = "  ".join(
            f"{name} {sum(each.losses[name] for each in self._reports) / self.EVERY:.3f}" for name in report.losses
        )
        print(
            f"step {report.step}  {report.minutes:.1f} min  {report.progress:.0%}  {report.side} px  {losses}  "
            f"{self.EVERY / seconds:.2f} steps/s, {waited / seconds:.0%} waiting for clips",
            flush=True,
        )
        self._reports.clear()


def _print_scores(scores: ValidationScores) -> None:
    print(
        f"held-out J: network {scores.network:.3f}, memory alone {scores.memory_alone:.3f}, "
        f"carried mattes {scores.carried:.3f}, copied {scores.copied:.3f}",
        flush=True,
    )
