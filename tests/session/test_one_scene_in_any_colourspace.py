"""Scene-linear, ACEScg, log and display plates of one scene give nearly the same mattes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem.plates import encode_srgb, read_alpha
from rotomem.session import PlateReference, PropagationTask, ShotAnnotation, propagate_shot
from rotomem_client.shapes import ControlPoint, Shape

WIDTH, HEIGHT, FRAMES = 128, 96, 6
REC709_TO_ACESCG = np.array(
    [
        [0.6130974024, 0.3395231462, 0.0473794514],
        [0.0701937225, 0.9163538791, 0.0134523985],
        [0.0206155929, 0.1095697729, 0.8698146342],
    ]
)
"""ACES TB-2014-004 (AP1) with the Bradford adaptation from D65."""


def scene(frame: int) -> np.ndarray:
    """(H, W, 3) linear Rec. 709: a blotched disc passes over a blotched ground, with a lamp of 6 in the corner."""
    random = np.random.default_rng(11)
    ground, disc = (cv2.GaussianBlur(random.random((HEIGHT, 2 * WIDTH, 3)), (0, 0), 2.0) for _ in range(2))
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    centre = 36 + 5 * frame
    inside = np.clip(24.5 - np.hypot(x - centre, y - 48), 0, 1)[..., None]
    pixels = inside * (0.1 + 0.5 * disc[:, WIDTH - 5 * frame :][:, :WIDTH]) * [1.0, 0.7, 0.4]
    pixels = pixels + (1 - inside) * (0.3 * ground[:, :WIDTH] ** 2) * [0.4, 0.7, 1.0]
    pixels[4:12, 110:120] = 6.0
    return np.asarray(pixels)


def encode_acescct(linear: np.ndarray) -> np.ndarray:
    """ACES S-2016-001."""
    acescg = linear @ REC709_TO_ACESCG.T
    toe = 10.5402377416545 * acescg + 0.0729055341958355
    return np.where(acescg <= 0.0078125, toe, (np.log2(np.maximum(acescg, 1e-9)) + 9.72) / 17.52)


def propagated(folder: Path, suffix: str, sample: str, colourspace: str, encode: Callable) -> np.ndarray:
    """Write the plate in this encoding, propagate from its first and last frame, and return (FRAMES, H, W)."""
    folder.mkdir()
    for frame in range(FRAMES):
        pixels = np.ascontiguousarray(encode(scene(frame)).astype(np.float32))
        assert oiio.ImageBuf(pixels).write(str(folder / f"p.{frame:04d}.{suffix}"), sample)

    def disc(frame: int) -> tuple[Shape, ...]:
        arm = 24 * 0.5523
        x, y = 36.0 + 5 * frame, 48.0
        points = [(x + 24, y, 0, -arm), (x, y - 24, -arm, 0), (x - 24, y, 0, arm), (x, y + 24, arm, 0)]
        points = [ControlPoint((px, py), (-tx, -ty), (tx, ty)) for px, py, tx, ty in points]
        return (Shape("disc", tuple(points)),)

    task = PropagationTask(
        plate=PlateReference(0, FRAMES - 1, str(folder / f"p.%04d.{suffix}"), colourspace=colourspace),
        annotations=tuple(ShotAnnotation(frame, "disc", shapes=disc(frame)) for frame in (0, FRAMES - 1)),
        objects=("disc",),
        first=0,
        last=FRAMES - 1,
        output_pattern=str(folder / "m.%04d.exr"),
        engine="warp",
    )
    propagate_shot(task, on_matte=lambda _: None, on_progress=lambda _: None, cancelled=lambda: False)
    return np.stack([read_alpha(folder / f"m.{frame:04d}.exr", frame) for frame in range(FRAMES)])


@pytest.fixture(scope="module")
def from_scene_linear(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return propagated(tmp_path_factory.mktemp("linear") / "p", "exr", "half", "auto", lambda v: v)


def test_the_reference_follows_the_disc(from_scene_linear: np.ndarray) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    truth = np.hypot(x - 46, y - 48) < 24
    matte = from_scene_linear[2] > 0.5
    assert (matte & truth).sum() / (matte | truth).sum() > 0.95


@pytest.mark.parametrize(
    ("suffix", "sample", "colourspace", "encode"),
    [
        ("exr", "half", "ACES - ACEScg", lambda linear: linear @ REC709_TO_ACESCG.T),
        ("exr", "half", "acescct", encode_acescct),
        ("png", "uint8", "auto", lambda linear: encode_srgb(np.clip(linear, 0, 1))),
    ],
    ids=["ACEScg", "log", "display"],
)
def test_other_encodings_give_nearly_the_same_mattes(
    from_scene_linear: np.ndarray, tmp_path: Path, suffix: str, sample: str, colourspace: str, encode: Callable
) -> None:
    difference = np.abs(propagated(tmp_path / "p", suffix, sample, colourspace, encode) - from_scene_linear)
    assert difference.mean() < 1e-4  # the log plate read as if it were linear: 4e-4
    assert difference.max() < 0.1
