"""What suggestions are made from, checked once where it enters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rotomem.errors import SettingError


@dataclass(frozen=True)
class KeyedShot:
    """T frames as the network addresses them.

    Args:
        keys: (T, C, h, w).
        shrinkages: (T, 1, h, w).
        selections: (T, C, h, w).
        unions: (T, H, W) in [0, 1], what any of the objects covers.
    """

    keys: Tensor
    shrinkages: Tensor
    selections: Tensor
    unions: Tensor


def check_keys(keys: Tensor, shrinkages: Tensor, selections: Tensor, masks: Tensor) -> KeyedShot:
    """Return the four with the masks' union; raises ``SettingError`` where they do not fit together."""
    if keys.ndim != 4 or 0 in keys.shape:
        raise SettingError(f"keys have shape {_shape(keys)}; give frames, channels, height, width, none of them 0")
    frames, channels, *grid = keys.shape
    for name, tensor, expected in (
        ("shrinkages", shrinkages, (frames, 1, *grid)),
        ("selections", selections, (frames, channels, *grid)),
    ):
        if tuple(tensor.shape) != expected:
            raise SettingError(f"{name} have shape {_shape(tensor)}; with keys of {_shape(keys)} give {expected}")
    for name, tensor in (("keys", keys), ("shrinkages", shrinkages), ("selections", selections)):
        check_finite(name, tensor)
    return KeyedShot(keys, shrinkages, selections, check_masks(masks, frames).to(keys.device))


def check_masks(masks: Tensor, frames: int) -> Tensor:
    """Return the union (T, H, W) of masks (T, K, H, W) or (T, H, W); raises ``SettingError``."""
    if masks.ndim not in (3, 4) or len(masks) != frames or 0 in masks.shape:
        raise SettingError(f"masks have shape {_shape(masks)}; give {frames} frames, objects, height, width")
    check_finite("masks", masks)
    if masks.min() < 0 or masks.max() > 1:
        raise SettingError("masks have values outside [0, 1]; scale them first")
    return masks.amax(dim=1) if masks.ndim == 4 else masks


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity, which would win or lose every comparison."""
    finite = torch.isfinite(tensor).flatten(1).all(dim=1)
    if not finite.all():
        raise SettingError(f"the {name} of frame {int(torch.argmin(finite.int()))} hold NaN or infinity; repair them")


def check_annotated(annotated: Sequence[int], total: int) -> list[int]:
    """Return the indices, each once, in their order; raises ``SettingError``."""
    for frame in annotated:
        if not 0 <= frame < total:
            raise SettingError(f"annotated frame {frame} is not among the {total} frames; give 0 to {total - 1}")
    return list(dict.fromkeys(int(frame) for frame in annotated))


def check_count(count: int) -> None:
    """Refuse less than one suggestion."""
    if count < 1:
        raise SettingError(f"the number of suggestions is {count}; give 1 or more")


def check_share(name: str, value: float) -> None:
    """Refuse a share outside [0, 1], NaN included."""
    if not 0 <= value <= 1:
        raise SettingError(f"{name} is {value}; give 0 to 1")


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
