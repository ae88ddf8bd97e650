"""Footage with its truth that engines are measured on: clips on disk, and synthetic shots held out from training."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from rotomem.errors import PlateMissingError, PlateSizeError, PlateUnreadableError, SettingError
from rotomem.propagation import Image
from rotomem.training.metrics import Mask

CLIPS, SYNTHETIC = "clips", "synthetic"
"""The two sets of footage; they are never averaged together."""
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})

EVALUATION_SEED = (1 << 40) + (1 << 20)
"""Synthetic shots from here on: beyond training's seeds, and beyond those that the trainer validates on."""
SEEDS_PER_SHOT = 64


class Footage(Protocol):
    """Frames and their truth, by position; satisfies ``FrameSource``."""

    @property
    def name(self) -> str: ...

    @property
    def truth(self) -> Image:
        """(T, K, H, W) in [0, 1]."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""

    def image(self, frame: int) -> Image:
        """Return (H, W, 3) RGB in [0, 1]."""


class FootageSource(Protocol):
    """Where footage comes from; small, and travels between processes."""

    @property
    def set(self) -> str:
        """CLIPS or SYNTHETIC."""

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str:
        """Tells footage of the same name apart."""

    def open(self) -> Footage:
        """Load or make it."""


@dataclass(frozen=True)
class Clip:
    """A clip on disk, with one object.

    Args:
        frame_files: 8-bit display-encoded images.
        masks: (T, H, W).
    """

    name: str
    frame_files: tuple[Path, ...]
    masks: Mask

    @property
    def truth(self) -> Image:
        """(T, 1, H, W), 0 or 1."""
        return self.masks[:, None].astype(np.float32)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.masks.shape[1], self.masks.shape[2]

    def image(self, frame: int) -> Image:
        """Return (H, W, 3) RGB in [0, 1].

        Raises:
            PlateUnreadableError: not an image.
            PlateSizeError: of another size than the clip's masks.
        """
        path = self.frame_files[frame]
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            raise PlateUnreadableError(f"clip {self.name}: {path} is not an image; restore it or leave the clip out")
        if pixels.shape[:2] != self.size:
            raise PlateSizeError(
                f"clip {self.name}: {path} is {pixels.shape[1]}x{pixels.shape[0]} but its mask is "
                f"{self.size[1]}x{self.size[0]}; they must be alike"
            )
        return np.asarray(pixels[..., ::-1], dtype=np.float32) / np.float32(255.0)


def load_clip(folder: Path) -> Clip:
    """Open a folder with ``frames/`` and ``masks/``, images of the same names; a mask counts above half grey.

    Raises:
        PlateMissingError: no frames, or a frame without a mask.
        PlateUnreadableError: a mask that is not an image.
        PlateSizeError: masks of different sizes.
    """
    frame_files = image_files(folder / "frames")
    mask_files = {path.stem: path for path in image_files(folder / "masks")}
    if not frame_files:
        raise PlateMissingError(f"clip {folder.name}: there are no images in {folder / 'frames'}; put its frames there")
    masks: list[Mask] = []
    for path in frame_files:
        if path.stem not in mask_files:
            raise PlateMissingError(f"clip {folder.name}: frame {path.name} has no mask in {folder / 'masks'}; add it")
        mask = cv2.imread(str(mask_files[path.stem]), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise PlateUnreadableError(
                f"clip {folder.name}: {mask_files[path.stem]} is not an image; restore it or leave the clip out"
            )
        if masks and mask.shape != masks[0].shape:
            raise PlateSizeError(
                f"clip {folder.name}: mask {path.stem} has another size than the first; make them alike"
            )
        masks.append(np.asarray(mask > 127))
    return Clip(folder.name, tuple(frame_files), np.stack(masks))


@dataclass(frozen=True)
class ClipFolder:
    """A clip's folder, not read yet."""

    folder: Path

    @property
    def set(self) -> str:
        return CLIPS

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def fingerprint(self) -> str:
        """A hash of the files' names and sizes: the same wherever the folder lies, another one at another scale."""
        files = [*image_files(self.folder / "frames"), *image_files(self.folder / "masks")]
        listing = "\n".join(f"{path.parent.name}/{path.name} {path.stat().st_size}" for path in files)
        return hashlib.sha256(listing.encode()).hexdigest()[:16]

    def open(self) -> Clip:
        return load_clip(self.folder)


def find_clips(clips_dir: Path, only: Sequence[str] | None = None) -> list[ClipFolder]:
    """Return the clips of a folder by name, or those of ``only`` in its order.

    Raises:
        SettingError: no clips at all, or no such one.
    """
    present = sorted(path for path in clips_dir.glob("*") if (path / "frames").is_dir())
    if not present:
        raise SettingError(f"there are no clips in {clips_dir}; a clip is a folder with frames/ and masks/")
    if only is None:
        return [ClipFolder(path) for path in present]
    by_name = {path.name: path for path in present}
    for name in only:
        if name not in by_name:
            raise SettingError(f"there is no clip {name!r} in {clips_dir}; there are {', '.join(by_name)}")
    return [ClipFolder(by_name[name]) for name in only]


@dataclass(frozen=True)
class SyntheticClip:
    """A synthetic shot.

    Args:
        images: (T, H, W, 3) RGB in [0, 1].
        truth: (T, K, H, W) in [0, 1], soft.
    """

    name: str
    images: Image
    truth: Image

    @property
    def size(self) -> tuple[int, int]:
        """(height, width), pixels."""
        return self.images.shape[1], self.images.shape[2]

    def image(self, frame: int) -> Image:
        """Return (H, W, 3) RGB in [0, 1]."""
        return np.asarray(self.images[frame])


@dataclass(frozen=True)
class HeldOutShot:
    """A synthetic shot that no training sees, made when it is opened.

    Its objects are the targets that its first frame shows, so that one annotated frame can tell about each of them and
    every number of annotations is measured on the same objects. A seed whose first frame shows none gives way to the
    next one.

    Args:
        index: 0 for the first shot.
        frames, height, width: of the shot.
        targets: at most as many objects.
    """

    index: int
    frames: int = 24
    height: int = 240
    width: int = 432
    targets: int = 2

    @property
    def set(self) -> str:
        return SYNTHETIC

    @property
    def name(self) -> str:
        return f"synthetic-{self.index:03d}"

    @property
    def fingerprint(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}x{self.targets}@{self._first_seed}"

    @property
    def _first_seed(self) -> int:
        return EVALUATION_SEED + self.index * SEEDS_PER_SHOT

    def open(self) -> SyntheticClip:
        from rotomem.training.synthetic import generate_batch

        for seed in range(self._first_seed, self._first_seed + SEEDS_PER_SHOT):
            shot = generate_batch(
                [seed], frames=self.frames, height=self.height, width=self.width, targets=self.targets
            )
            shown = shot.present[0, 0]
            if shown.any():
                break
        images: Image = shot.rgb[0].movedim(1, -1).contiguous().numpy()
        return SyntheticClip(self.name, images, shot.alpha_modal[0, :, shown].contiguous().numpy())


def image_files(folder: Path) -> list[Path]:
    """Return a folder's images in the order of their names; none if it is not there."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
