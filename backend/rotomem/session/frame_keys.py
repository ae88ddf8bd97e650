"""The network's keys of a plate's frames, kept on disk between calls."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rotomem.config import Settings
from rotomem.plates import PlateSource
from rotomem.propagation.network_frames import NetworkImages, network_size
from rotomem.propagation.xmem_engine import choose_device
from rotomem.vos import choose_weights, load_network
from rotomem.vos.padding import Padding

log = logging.getLogger(__name__)

PROCESSING_SIZE = 480
CACHE_BYTES = 1 << 31
"""Kept on disk: about 2400 frames of 16:9 at 480 lines, 0.9 MB each."""


class KeyReader:
    """Keys, shrinkages and selections by frame.

    A kept frame is found by its plate file's path, time and size, the colourspace, the weights and the processing size.

    Args:
        source: the plate.
        colourspace: that ``source`` was told; another one means other keys.
        weights: name of installed weights, or a path; empty takes the first installed ones, else those shipped. The
            flow cue that some weights ask for enters the decoder alone, so that these give keys like any others.
        weights_dir: where weights are installed; None takes the setting's.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        processing_size: shorter side, pixels; 0 is ``PROCESSING_SIZE``.
        cache_dir: None keeps nothing.

    Raises:
        WeightsError: none there, or damaged.
        SettingError: no such device.
    """

    def __init__(
        self,
        source: PlateSource,
        *,
        colourspace: str = "auto",
        weights: str = "",
        weights_dir: Path | None = None,
        device: str = "auto",
        processing_size: int = 0,
        cache_dir: Path | None = None,
    ) -> None:
        self._source, self._colourspace = source, colourspace
        self._processing_size = processing_size or PROCESSING_SIZE
        self.size = network_size(*source.size, self._processing_size)
        self._device = choose_device(device)
        path = choose_weights(
            weights_dir or Settings.load().weights_dir,
            weights,
            user="scoring likeness",
            otherwise="choose scoring auto",
        )
        loaded = load_network(path)
        self._network = loaded.network.to(self._device).eval()
        self._sha256 = loaded.sha256
        self._images = NetworkImages(source, self._processing_size, self._device, max_bytes=0)
        self._cache_dir = cache_dir
        self.encoded = 0

    def read(self, frame: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return key (C, h, w), shrinkage (1, h, w) and selection (C, h, w), float32; raises ``PlateError``."""
        path = self._cached_path(frame)
        kept = _load(path) if path else None
        if kept is None:
            kept = self._encode(frame)
            if path:
                _keep(path, kept)
        return kept["key"], kept["shrinkage"], kept["selection"]

    def _encode(self, frame: int) -> dict[str, Tensor]:
        image = self._images[frame][None]
        with torch.inference_mode():
            features = self._network.encode_key(Padding.to_stride(*self.size).add(image))
        self.encoded += 1
        parts = {"key": features.key, "shrinkage": features.shrinkage, "selection": features.selection}
        return {name: tensor[0].float().cpu().clone() for name, tensor in parts.items()}

    def _cached_path(self, frame: int) -> Path | None:
        if self._cache_dir is None:
            return None
        file = self._source.path(frame)
        try:
            status = file.stat()
        except OSError:
            return None  # reading the frame says what is wrong
        parts = file.resolve(), frame, status.st_mtime_ns, status.st_size, self._colourspace, self._processing_size
        identity = " ".join(map(str, parts))
        name = hashlib.sha256(f"{self._sha256} {identity}".encode()).hexdigest()
        return self._cache_dir / f"{name[:32]}.safetensors"


def prune_keys(cache_dir: Path, max_bytes: int = CACHE_BYTES) -> None:
    """Delete the keys that were used longest ago, until the rest fit."""
    files = [(path, path.stat()) for path in cache_dir.glob("*.safetensors")]
    excess = sum(status.st_size for _, status in files) - max_bytes
    for path, status in sorted(files, key=lambda file: file[1].st_mtime_ns):
        if excess <= 0:
            return
        path.unlink(missing_ok=True)
        excess -= status.st_size


def _load(path: Path) -> dict[str, Tensor] | None:
    """Return kept keys; damaged ones count as not there."""
    if not path.is_file():
        return None
    try:
        kept = load_file(path)
        os.utime(path)
    except (OSError, safetensors.SafetensorError) as error:
        log.warning("kept keys %s cannot be used (%s); they are made again", path, error)
        return None
    return kept if {"key", "shrinkage", "selection"} <= kept.keys() else None


def _keep(path: Path, parts: dict[str, Tensor]) -> None:
    """Keep keys; a full disk costs time later and nothing else."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(parts, partial)
        partial.replace(path)
    except (OSError, safetensors.SafetensorError) as error:
        log.warning("keys cannot be kept in %s: %s", path.parent, error)
        with contextlib.suppress(OSError):
            partial.unlink()
