"""All that is decided about a batch of shots before a pixel is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rotomem.training.synthetic import camera, lighting
from rotomem.training.synthetic.camera import Recording, sample_recording
from rotomem.training.synthetic.cast import SLOTS, Cast, LayerIndex, Slot, layers_of, order_layers, sample_cast, select
from rotomem.training.synthetic.compositor import Placement
from rotomem.training.synthetic.draws import Draws, Floats, Integers
from rotomem.training.synthetic.lighting import Lighting, sample_lighting
from rotomem.training.synthetic.motion import canonical_scale, fastest_motion, place_layers
from rotomem.training.synthetic.timing import Timing, sample_timing
from rotomem.training.synthetic.warp import Deformation, build_tables, sample_deformation

_SMEAR_PER_SAMPLE_PX = 1.6
"""Motion during the shutter that one sample may stand for; beyond it, ghosts would show instead of a smear."""
_VISIBLE_SMEAR_PX = 0.7


@dataclass(frozen=True)
class ShotFormat:
    """What a batch of shots is to be: T, H, W in pixels, K, shutter samples J (odd), difficulty 0 to 1, no effects."""

    frames: int
    height: int
    width: int
    targets: int
    samples: int
    difficulty: float
    plain: bool
    movers: bool = False
    sprite_size: float = 1.0

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


@dataclass(frozen=True)
class Scene:
    """B shots with N layers in all.

    Attributes:
        deformation: of the N layers.
        defocus_px, softness_px: (N,), blur of the surface and width of the edge in pixels.
    """

    draws: Draws
    format: ShotFormat
    cast: Cast
    layers: LayerIndex
    timing: Timing
    lighting: Lighting
    recording: Recording
    deformation: Deformation
    defocus_px: Floats
    softness_px: Floats


def plan_scene(draws: Draws, shot_format: ShotFormat) -> Scene:
    """Decide everything about one shot per seed."""
    frames, difficulty = shot_format.frames, shot_format.difficulty
    cast = sample_cast(
        draws, difficulty, shot_format.targets, movers=shot_format.movers, sprite_size=shot_format.sprite_size
    )
    light, recording = sample_lighting(draws, frames, difficulty), sample_recording(draws, frames, difficulty)
    if shot_format.plain:
        light, recording = lighting.without_effects(light), camera.without_effects(recording)
    layers, timing = order_layers(cast), sample_timing(draws, frames, difficulty)
    lines = shot_format.height / 128
    blur = np.zeros((draws.count, SLOTS))
    blur[:, [Slot.BACKGROUND, Slot.OCCLUDER]] = recording.defocus_px * lines
    defocus_px = blur[layers.shot, layers.slot]
    fuzz = draws.chance("edge.fuzzy", 0.3, (SLOTS,)) * draws.uniform("edge.fuzz", 0.0, 3.0, (SLOTS,)) * lines
    return Scene(
        draws=draws,
        format=shot_format,
        cast=cast,
        layers=layers,
        timing=timing,
        lighting=light,
        recording=recording,
        deformation=select(sample_deformation(draws, timing.stride, difficulty), (layers.shot, layers.slot)),
        defocus_px=defocus_px,
        softness_px=1.0 + fuzz[layers.shot, layers.slot] + 2.5 * defocus_px,
    )


def open_shutter(scene: Scene) -> Floats:
    """Frames (B,) that each shot's shutter is open: 0 where no smear would show, short where one would tear."""
    aspect, height = scene.format.aspect, scene.format.height
    homographies = place_layers(
        scene.draws, scene.cast, scene.timing, aspect=aspect, difficulty=scene.format.difficulty
    )
    speed_px = fastest_motion(homographies, scene.cast.active, aspect=aspect) * height / 2
    longest = _SMEAR_PER_SAMPLE_PX * scene.format.samples / np.maximum(speed_px, 1e-6)
    shutter = np.minimum(scene.recording.shutter, longest)
    return np.where(shutter * speed_px < _VISIBLE_SMEAR_PX, 0.0, shutter)


def place_scene(scene: Scene, shots: Integers, timing: Timing, device: torch.device) -> Placement:
    """Where the layers of some shots are at each moment of ``timing``, which is of these shots."""
    layers, rows = layers_of(scene.layers, shots)
    homographies = place_layers(
        scene.draws.only(shots),
        select(scene.cast, shots),
        timing,
        aspect=scene.format.aspect,
        difficulty=scene.format.difficulty,
    )[layers.shot, layers.slot].reshape(len(rows), -1, 3, 3)
    clock = timing.clock[layers.shot].reshape(len(rows), -1)
    samples = timing.clock.shape[-1]
    whole = (scene.layers.shot[rows], scene.layers.slot[rows])

    def move(values: Floats) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=device)

    table = build_tables(
        move(np.asarray(np.linalg.inv(homographies), np.float64)),
        select(scene.deformation, rows),
        move(clock),
        height=scene.format.height,
        width=scene.format.width,
    )
    return Placement(
        table=table,
        scale_px=move(canonical_scale(homographies) * scene.format.height / 2),
        softness_px=move(scene.softness_px[rows]),
        gain=move(np.repeat(scene.lighting.layer_gain[whole], samples, 1)),
        shadow=scene.lighting.shadow[whole],
        share=scene.cast.share[whole],
        samples=samples,
    )
