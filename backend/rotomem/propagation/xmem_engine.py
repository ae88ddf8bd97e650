"""The ``xmem`` engine: XMem++ over a frame range, from both sides of each gap between annotations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from rotomem.errors import AnnotationError, AnnotationSizeError, SettingError, WeightsMismatchError
from rotomem.propagation.engine import Annotations, FrameSource, PropagatedFrame
from rotomem.propagation.feature_folder import FeatureFolder
from rotomem.propagation.motion_exemplars import Exemplar
from rotomem.propagation.network_frames import NetworkImages
from rotomem.propagation.xmem_shot import XMemShot
from rotomem.vos import DiskTier, FeatureCache, InferenceCore, MemoryConfig, Network, accelerate_for_cuda, load_network

SMALLEST_SIDE = 16


@dataclass(frozen=True)
class XMemSettings:
    """How the engine runs.

    Args:
        processing_size: shorter side at which the network works, pixels; smaller plates are never enlarged.
        memory: of the network.
        half_precision: run convolutions in float16 on CUDA; similarity stays in float32.
        feature_cache_bytes: encoded frames kept for the second direction and for the next round of annotation. At
            854 x 480, 2 GiB hold the keys of 100 frames, and the finer features of the latest 19; 6 GiB hold all
            of 100 frames.
        image_cache_bytes: resized frames kept, likewise.
        time_device: wait for the device after each phase, so that a benchmark's times are true on CUDA.
    """

    processing_size: int = 480
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    half_precision: bool = True
    feature_cache_bytes: int = 1 << 31
    image_cache_bytes: int = 1 << 28
    time_device: bool = False

    def __post_init__(self) -> None:
        if self.processing_size < SMALLEST_SIDE:
            raise SettingError(f"processing size is {self.processing_size}; give at least {SMALLEST_SIDE} pixels")


class XMemEngine:
    """Satisfies ``Engine``. One instance may serve many shots; it keeps encoded frames between them.

    Args:
        network: loaded weights; moved to ``device``.
        weights_sha256: of the file that they came from.
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        WeightsMismatchError: weights that need the flow cue.
        SettingError: no such device.

    Attributes:
        exemplars: of the next shot: entries of lower rank beside what is annotated.
    """

    name = "xmem"

    def __init__(
        self, network: Network, *, weights_sha256: str, device: str = "auto", settings: XMemSettings | None = None
    ) -> None:
        if network.config.prior_channels:
            raise WeightsMismatchError(
                f"weights {weights_sha256[:12]} need the flow cue (prior_channels is not 0), which engine xmem of this "
                f"version does not give; choose weights trained without it, or engine warp"
            )
        self.weights_sha256 = weights_sha256
        self.settings = settings or XMemSettings()
        self.device = choose_device(device)
        self._network = accelerate_for_cuda(network.to(self.device).eval())
        self._features = FeatureCache(self.settings.feature_cache_bytes)
        self._feature_folder: FeatureFolder | None = None
        self.exemplars: Sequence[Exemplar] = ()

    @classmethod
    def from_weights(cls, path: Path, *, device: str = "auto", settings: XMemSettings | None = None) -> XMemEngine:
        """Load a weights file; raises ``WeightsError``."""
        loaded = load_network(path)
        return cls(loaded.network, weights_sha256=loaded.sha256, device=device, settings=settings)

    @property
    def feature_folder(self) -> FeatureFolder | None:
        """Where encoded frames outlive memory and the process; another shot's folder empties memory.

        On a GPU it is left alone: to encode a frame there takes less time than to read what was encoded.
        """
        return self._feature_folder

    @feature_folder.setter
    def feature_folder(self, folder: FeatureFolder | None) -> None:
        if folder != self._feature_folder:
            on_disk = folder is not None and self.device.type == "cpu"
            disk = DiskTier(folder.path, folder.max_bytes) if folder is not None and on_disk else None
            self._features = FeatureCache(self.settings.feature_cache_bytes, disk)
        self._feature_folder = folder

    def propagate(
        self,
        source: FrameSource,
        annotations: Annotations,
        objects: Sequence[str],
        frames: Sequence[int],
        *,
        cancelled: Callable[[], bool],
        focus: int | None = None,
    ) -> Iterator[PropagatedFrame]:
        """Yield annotated frames first, then gap by gap, the nearest to ``focus`` first; see ``Engine.propagate``.

        A frame's result depends on the annotations and on the frames up to the annotated ones around it, not on
        ``frames`` or ``focus``: each pass begins at an annotated frame, with no memory of other gaps.

        Raises:
            AnnotationError: nothing, or one of ``objects`` nowhere, is annotated; a matte of another size than the
                plate.
        """
        _check_annotations(annotations, objects, source.size)
        if not frames:
            return
        images = NetworkImages(
            source, self.settings.processing_size, self.device, max_bytes=self.settings.image_cache_bytes
        )
        shot = XMemShot(images, source.size, annotations, objects, frames, new_core=self.new_core)
        yield from shot.load_annotations(cancelled)
        shot.load_exemplars(self.exemplars, cancelled)
        for gap in shot.gaps(focus):
            yield from shot.fill(gap, cancelled)

    def new_core(self, object_count: int, frame_count: int) -> InferenceCore:
        """Return an empty memory over the engine's network and cached frames."""
        half = self.settings.half_precision and self.device.type == "cuda"
        return InferenceCore(
            self._network,
            self.settings.memory.for_shot(frame_count),
            object_count,
            features=self._features,
            autocast=torch.float16 if half else None,
            time_device=self.settings.time_device,
        )


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one. Raises ``SettingError``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"{name!r} is not a device; give auto, cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise SettingError(f"the network runs on no {device.type!r}; give auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingError(f"device {name} is not there; this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def _check_annotations(annotations: Annotations, objects: Sequence[str], size: tuple[int, int]) -> None:
    if not any(annotations.values()):
        raise AnnotationError("no frame is annotated; draw at least one frame and propagate again")
    for name in objects:
        if not any(name in mattes for mattes in annotations.values()):
            raise AnnotationError(f"object {name!r} is annotated on no frame; draw it on at least one or remove it")
    for frame, mattes in annotations.items():
        for name, matte in mattes.items():
            if matte.shape != size:
                raise AnnotationSizeError(
                    f"the matte of {name!r} on frame {frame} is {matte.shape[1]} x {matte.shape[0]} pixels, "
                    f"the plate {size[1]} x {size[0]}; give it in the plate's size"
                )
