"""``rotomem train flow|selector|corrector``: the networks that find and correct moving objects."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import Any

from rotomem.commands.train import MOTION_RATE, StepPrinter, chosen_device
from rotomem.errors import SettingError

TITLES = {
    "flow": "mean J on held-out synthetic shots: queries, their union, flow above a pixel",
    "selector": "mean J of two of eight masks: those selected, those best, all of them",
    "corrector": "mean J on held-out synthetic shots: corrected, upsampler without sight, given",
}
ADAPT_STEPS = 400


def run(options: argparse.Namespace) -> int:
    """Train, or adapt where ``--adapt`` is given."""
    return _adapt(options) if options.adapt else _train(options)


def _train(options: argparse.Namespace) -> int:
    import torch

    from rotomem.training.curves import draw_curves, palette_of
    from rotomem.training.model_card import Provenance, describe_hardware, write_model_card
    from rotomem.training.motion_trainer import CPU_SHAPES, CUDA_SHAPES, TRAINERS, MotionTrainingSettings
    from rotomem.training.schedule import Horizon
    from rotomem.training.trainer import LOG, WEIGHTS
    from rotomem.weights_files import expected_sha256

    if options.steps is None and options.minutes is None and options.of is None:
        raise SettingError(f"train {options.what} needs --minutes, or --steps: how long may it take?")
    device = chosen_device(options)
    on_gpu = device.startswith("cuda")
    if not on_gpu:
        torch.set_num_threads(options.threads or 1)
    minutes = None if options.steps is not None else options.of or options.minutes
    settings = MotionTrainingSettings(
        horizon=Horizon(minutes=minutes, steps=options.steps),
        shape=(CUDA_SHAPES if on_gpu else CPU_SHAPES)[options.what],
        seed=options.seed,
        device=device,
        peak_rate=options.rate or MOTION_RATE,
        workers=options.workers if options.workers is not None else int(not on_gpu),
        textures=options.textures,
    )
    trainer: Any = TRAINERS[options.what](settings, options.out)
    if trainer.state.step:
        print(f"going on from step {trainer.state.step}, {trainer.state.minutes:.1f} minutes, {trainer.progress:.0%}")
    printer = StepPrinter()
    losses: list[str] = []

    def on_step(report: Any) -> None:
        losses[:] = report.losses
        printer.on_step(report)

    scores = trainer.train(minutes=options.minutes, on_step=on_step, on_validation=_print_scores)
    draw_curves(
        options.out / LOG,
        options.out / "curves.png",
        losses=palette_of(losses or ["loss"]),
        scores=palette_of(scores.__dict__),
        title=TITLES[options.what],
    )
    provenance = Provenance(
        command=shlex.join(["rotomem", *sys.argv[1:]]),
        config=trainer.config,
        parameters=sum(weight.numel() for weight in trainer.network.parameters()),
        seed=settings.seed,
        steps=trainer.state.step,
        minutes=trainer.state.minutes,
        video_consistency=False,
        textures=str(options.textures or ""),
        hardware=describe_hardware(device),
        sha256=expected_sha256(options.out / WEIGHTS),
        scores=scores.__dict__,
        network=f"motion {options.what}",
        measured=TITLES[options.what][0].upper() + TITLES[options.what][1:],
    )
    write_model_card(options.out / "model_card.md", provenance)
    print(f"weights: {options.out / WEIGHTS}; {trainer.progress:.0%} of the training is done")
    print(f"to use them: copy them with their .sha256 to the weights' folder as motion/{options.what}.safetensors")
    return 0


def _adapt(options: argparse.Namespace) -> int:
    from rotomem.propagation.motion_networks import FOLDER, load_motion_networks
    from rotomem.training.motion_adaptation import ADAPTABLE, adapt_networks, open_shots
    from rotomem.training.trainer import WEIGHTS

    if options.what not in ADAPTABLE:
        raise SettingError(f"the {options.what} is not adapted to shots; --adapt is for {' and '.join(ADAPTABLE)}")
    networks = load_motion_networks(
        options.networks or options.settings.weights_dir / FOLDER, device=chosen_device(options)
    )
    shots = open_shots(options.adapt)
    steps = options.steps or ADAPT_STEPS
    out = options.out / WEIGHTS

    def show(step: int, loss: float) -> None:
        if step % StepPrinter.EVERY == 0 or step == steps:
            print(f"step {step} of {steps}  loss {loss:.3f}", flush=True)

    still = adapt_networks(options.what, shots, networks, out, steps=steps, seed=options.seed, on_step=show)
    for shot in still:
        print(f"left out: no moving object is found in {shot.files[0].parent}")
    print(f"adapted to {len(shots) - len(still)} shots: {out}")
    return 0


def _print_scores(scores: object) -> None:
    figures = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in scores.__dict__.items())
    print(f"held-out J: {figures}", flush=True)
