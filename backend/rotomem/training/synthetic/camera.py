"""What a camera and its recording do to a clean picture: focus, curves, grain, JPEG."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rotomem.training.synthetic.draws import Draws, Flags, Floats, Integers
from rotomem.training.synthetic.textures import smooth, to_display

_NOISE_SIDE = 512


@dataclass(frozen=True)
class Recording:
    """How B shots of T frames are recorded.

    Attributes:
        shutter: (B,), frames that the shutter is open; 0: no motion blur.
        focus: (B, T), 0 sharp to 1 blurred.
        defocus_px: (B, 2), standard deviation of the blur at 128 lines of background and occluder.
        log_curve: (B,), steepness of a log encoding; 0: sRGB.
        grade: (B, 3), contrast, gamma, saturation.
        grain: (B,), standard deviation; 0: none.
        coarse: (B,), grain of more than one pixel.
        grain_place: (B, T, 2), where in the noise picture each frame's grain is.
        jpeg_quality: (B,), 1 to 100; 0: no JPEG.
    """

    shutter: Floats
    focus: Floats
    defocus_px: Floats
    log_curve: Floats
    grade: Floats
    grain: Floats
    coarse: Flags
    grain_place: Integers
    jpeg_quality: Floats


def sample_recording(draws: Draws, frames: int, difficulty: float) -> Recording:
    """Recording of every shot; each effect touches some of the shots."""
    often = 0.3 + 0.7 * difficulty
    time = np.linspace(0, 1, frames)
    pull = draws.uniform("focus.pull", -1, 1, (1,)) * (time - draws.uniform("focus.moment", 0, 1, (1,)))
    grade = draws.uniform("grade.amount", -1, 1, (3,)) * np.array([0.25, 0.2, 0.45])
    return Recording(
        shutter=draws.uniform("shutter.open", 0.25, 1.0) * draws.chance("shutter.blurs", 0.5 * often),
        focus=np.clip(np.abs(pull) * 1.6, 0, 1) * draws.chance("focus.pulls", 0.12 * often)[:, None],
        defocus_px=draws.uniform("defocus.radius", 0.3, 2.2, (2,)) * draws.chance("defocus.there", 0.3 * often, (2,)),
        log_curve=draws.log_uniform("curve.steepness", 8, 200) * draws.chance("curve.log", 0.1),
        grade=np.exp(grade * draws.chance("grade.there", 0.6)[:, None]),
        grain=draws.log_uniform("grain.size", 0.004, 0.05) * draws.chance("grain.there", 0.55 * often),
        coarse=draws.chance("grain.coarse", 0.4),
        grain_place=draws.integers("grain.place", 0, _NOISE_SIDE, (frames, 2)),
        jpeg_quality=np.floor(draws.uniform("jpeg.quality", 20, 90)) * draws.chance("jpeg.there", 0.35 * often),
    )


def without_effects(recording: Recording) -> Recording:
    """A perfect camera: no blur of any kind, sRGB, no grain, no JPEG."""
    silent = {name: np.zeros_like(value) for name, value in vars(recording).items()}
    return Recording(**{**silent, "grade": np.ones_like(recording.grade)})


def defocus(picture: Tensor, focus: Floats) -> Tensor:
    """Blur frames of (B, T, C, H, W) by focus (B, T); linear, so picture and mattes stay consistent."""
    chosen = np.flatnonzero(focus.any(1))
    if not len(chosen):
        return picture
    index = torch.as_tensor(chosen, device=picture.device)
    sharp = picture[index].flatten(0, 1)
    blurred, step = sharp, max(1, round(picture.shape[-1] / 128))
    for spacing in (step, 2 * step):
        blurred = smooth(smooth(blurred, spacing, 2), spacing, 3)
    weight = torch.as_tensor(focus[chosen].reshape(-1, 1, 1, 1), dtype=picture.dtype, device=picture.device)
    picture[index] = torch.lerp(sharp, blurred, weight).view(len(chosen), *picture.shape[1:])
    return picture


def record(linear: Tensor, recording: Recording) -> Tensor:
    """Linear light (B, T, 3, H, W) to display values in [0, 1], with curves, grain and JPEG."""
    picture = to_display(linear)
    picture = _apply_log(picture, linear, recording.log_curve)
    picture = _apply_grade(picture, recording.grade).clamp_(0, 1)
    picture = _add_grain(picture, recording)
    coded = np.flatnonzero(recording.jpeg_quality > 0)
    if len(coded):
        index = torch.as_tensor(coded, device=picture.device)
        frames = picture[index].clamp_(0, 1).flatten(0, 1)
        quality = torch.as_tensor(np.repeat(recording.jpeg_quality[coded], picture.shape[1]), device=picture.device)
        picture[index] = compress_jpeg(frames, quality.to(picture.dtype)).view(len(coded), *picture.shape[1:])
    return picture.clamp_(0, 1)


def _apply_log(picture: Tensor, linear: Tensor, steepness: Floats) -> Tensor:
    """Replace some shots by a flat log encoding between 0.1 and 0.9."""
    chosen = np.flatnonzero(steepness > 0)
    if len(chosen):
        index = torch.as_tensor(chosen, device=picture.device)
        steep = torch.as_tensor(steepness[chosen].reshape(-1, 1, 1, 1, 1), dtype=picture.dtype, device=picture.device)
        picture[index] = 0.1 + 0.8 * torch.log1p(steep * linear[index].clamp(0, 1)) / torch.log1p(steep)
    return picture


def _apply_grade(picture: Tensor, grade: Floats) -> Tensor:
    """Contrast around the middle, gamma, saturation, where any is not 1."""
    chosen = np.flatnonzero((grade != 1).any(1))
    if len(chosen):
        index = torch.as_tensor(chosen, device=picture.device)
        values = torch.as_tensor(grade[chosen], dtype=picture.dtype, device=picture.device)
        contrast, gamma, saturation = values[..., None, None, None, None].unbind(1)
        some = ((picture[index] - 0.45) * contrast + 0.45).clamp_(1e-4, 1)
        some = torch.exp(torch.log(some) * gamma)
        picture[index] = torch.lerp(some.mean(2, keepdim=True).expand_as(some), some, saturation)
    return picture


def _add_grain(picture: Tensor, recording: Recording) -> Tensor:
    """Grain, strongest in the mid-tones."""
    chosen = np.flatnonzero(recording.grain > 0)
    if not len(chosen):
        return picture
    device = picture.device
    index = torch.as_tensor(chosen, device=device)
    height, width = picture.shape[-2:]
    place = torch.as_tensor(recording.grain_place[chosen].reshape(-1, 2), device=device)
    rows = (place[:, :1] + torch.arange(height, device=device)) % _NOISE_SIDE
    columns = (place[:, 1:] + torch.arange(width, device=device)) % _NOISE_SIDE
    kind = torch.as_tensor(np.repeat(recording.coarse[chosen], picture.shape[1]).astype(np.int64), device=device)
    noise = _noise_pictures(str(device))[kind[:, None, None], rows[:, :, None], columns[:, None]]
    noise = noise.movedim(-1, 1).reshape(len(chosen), *picture.shape[1:])
    size = torch.as_tensor(recording.grain[chosen], dtype=picture.dtype, device=device)[:, None, None, None, None]
    some = picture[index]
    picture[index] = torch.addcmul(some, noise * size, 0.4 + 2.4 * some * (1 - some))
    return picture


@cache
def _noise_pictures(device: str) -> Tensor:
    """(2, _NOISE_SIDE, _NOISE_SIDE, 3) normal noise, unit variance: fine, and coarse and mostly grey."""
    rng = np.random.default_rng(7)
    coloured, grey = (rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE, channels)) for channels in (3, 1))
    fine = 0.8 * coloured + 0.6 * grey
    coarse = fine + np.roll(fine, 1, 0) + np.roll(fine, 1, 1) + np.roll(fine, (1, 1), (0, 1))
    coarse = coarse + coarse.mean(-1, keepdims=True)
    pictures = np.stack([fine, coarse / coarse.std()])
    return torch.as_tensor(pictures, dtype=torch.float32, device=device)


def compress_jpeg(picture: Tensor, quality: Tensor) -> Tensor:
    """Lose what baseline JPEG with 4:2:0 chroma loses.

    Source: ITU-T T.81 annex K tables, scaled by quality as libjpeg does.

    Args:
        picture: (N, 3, H, W), RGB in [0, 1].
        quality: (N,), 1 to 100.

    Returns:
        (N, 3, H, W), not clamped.
    """
    height, width = picture.shape[-2:]
    padded = F.pad(picture * 255, (0, -width % 16, 0, -height % 16), mode="replicate")
    to_ycc = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=picture.device
    ).to(picture.dtype)
    ycc = torch.einsum("ij,njhw->nihw", to_ycc, padded)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None, None, None, None, None] / 100
    tables = [(_table(rows).to(picture) * scale).round().clamp(min=1) for rows in (_LUMA, _CHROMA)]
    luma = _quantise(ycc[:, :1] - 128, tables[0]) + 128
    chroma = _quantise(F.avg_pool2d(ycc[:, 1:], 2), tables[1])
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    from_ycc = torch.linalg.inv(to_ycc.float()).to(picture.dtype)
    rgb = torch.einsum("ij,njhw->nihw", from_ycc, torch.cat([luma, chroma], 1)) / 255
    return rgb[..., :height, :width]


def _quantise(plane: Tensor, table: Tensor) -> Tensor:
    """Round the 8x8 cosine coefficients of (N, C, H, W) to multiples of the table."""
    count, channels, height, width = plane.shape
    index = torch.arange(8, device=plane.device, dtype=plane.dtype)
    cosine = torch.cos((2 * index + 1) * index[:, None] * (torch.pi / 16)) * 0.5
    cosine[0] *= 0.5**0.5
    blocks = plane.reshape(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    coefficients = cosine @ blocks @ cosine.T
    kept = (coefficients / table).round() * table
    return (cosine.T @ kept @ cosine).transpose(3, 4).reshape(plane.shape)


def _table(rows: str) -> Tensor:
    return torch.tensor([float(value) for value in rows.split()]).reshape(8, 8)


_LUMA = """16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"""
_CHROMA = """17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99"""
