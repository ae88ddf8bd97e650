"""The card that lies beside trained weights: what they were made of, how, and what they score."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from rotomem import __version__
from rotomem.vos.checkpoint import Configuration

NETWORK = "XMem++ with prior cue"
MEASURED = "Mean J on held-out synthetic shots (9 frames of 128 x 128, the first and last annotated)"


@dataclass(frozen=True)
class Provenance:
    """Where weights come from.

    Args:
        command: that trained them.
        textures: the photographs' folder, or empty for procedural textures alone.
        scores: by name, held-out J.
        network: what it is; measured: on what the scores were measured.
        sha256: of the weights file.
    """

    command: str
    config: Configuration
    parameters: int
    seed: int
    steps: int
    minutes: float
    video_consistency: bool
    textures: str
    hardware: str
    sha256: str
    scores: Mapping[str, float]
    network: str = NETWORK
    measured: str = MEASURED


def describe_hardware(device: str) -> str:
    """Processor, cores, GPU and versions, in one line."""
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else "no GPU"
    machine = f"{platform.machine()} {platform.system()}"
    return f"{machine}, {os.cpu_count()} cores, {gpu}, torch {torch.__version__}, Python {platform.python_version()}"


def write_model_card(path: Path, provenance: Provenance) -> None:
    """Write the card as Markdown, and beside it the same as JSON."""
    photographs = (
        f"photographs from `{provenance.textures}` as surface textures"
        if provenance.textures
        else "procedural textures alone"
    )
    masking = "on" if provenance.video_consistency else "off"
    scores = "\n".join(f"| {name} | {value:.4f} |" for name, value in provenance.scores.items())
    text = f"""# Weights of Rotomem {__version__}

| | |
| --- | --- |
| network | {provenance.network}, {provenance.parameters:,} parameters |
| data | video synthesised by `rotomem.training.synthetic` from its seeds; {photographs}; no footage, no other weights |
| seed | {provenance.seed} |
| steps | {provenance.steps:,} |
| time | {provenance.minutes:.1f} minutes |
| hardware | {provenance.hardware} |
| Masked Video Consistency | {masking} |
| command | `{provenance.command}` |
| licence | Apache-2.0, as the project |
| SHA-256 | `{provenance.sha256}` |

{provenance.measured}, from the same command:

| what | J |
| --- | --- |
{scores}

Figures on real clips: `rotomem evaluate`; see `backend/docs/training.md`.

Configuration: `{provenance.config.to_json()}`
"""
    path.write_text(text, encoding="utf-8")
    fields = {**provenance.__dict__, "config": json.loads(provenance.config.to_json())}
    path.with_suffix(".json").write_text(json.dumps(fields, indent=1, default=str) + "\n", encoding="utf-8")
