"""The ``xmem`` engine: XMem++ over a frame range, from both sides of each gap between annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rotomem.errors import AnnotationError, AnnotationSizeError, SettingError, WeightsMismatchError
from rotomem.propagation.engine import Annotations, FrameSource, Image, PropagatedFrame
from rotomem.propagation.network_frames import NetworkImages, network_masks, plate_mattes
from rotomem.propagation.object_groups import group_disjoint
from rotomem.propagation.pass_blending import HeldPass, blend_passes, forward_weight
from rotomem.vos import FeatureCache, InferenceCore, MemoryConfig, Network, load_network

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
        self._network = network.to(self.device).eval()
        self._features = FeatureCache(self.settings.feature_cache_bytes)

    @classmethod
    def from_weights(cls, path: Path, *, device: str = "auto", settings: XMemSettings | None = None) -> XMemEngine:
        """Load a weights file; raises ``WeightsError``."""
        loaded = load_network(path)
        return cls(loaded.network, weights_sha256=loaded.sha256, device=device, settings=settings)

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
        """Yield annotated frames first, then gap by gap; see ``Engine.propagate``.

        ``focus`` changes no order here: temporary memory is carried on from one gap to the next.

        Raises:
            AnnotationError: nothing, or one of ``objects`` nowhere, is annotated; a matte of another size than the
                plate.
        """
        _check_annotations(annotations, objects, source.size)
        if not frames:
            return
        shot = _Shot(self, source, annotations, list(objects), frames)
        yield from shot.load_annotations(cancelled)
        for gap in shot.gaps():
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


@dataclass(frozen=True)
class _Gap:
    """Frames to fill, with the fully annotated frames at its ends, if it has such."""

    frames: range
    before: int | None
    after: int | None


@dataclass
class _Group:
    """Objects that compete for pixels, with their memory."""

    objects: list[int]
    forward: InferenceCore
    backward: InferenceCore


class _Shot:
    """One propagation: the memories of its object groups, and what each frame cost."""

    def __init__(
        self,
        engine: XMemEngine,
        source: FrameSource,
        annotations: Annotations,
        objects: list[str],
        frames: Sequence[int],
    ) -> None:
        self._device = engine.device
        self._plate_size = source.size
        self._annotations = {
            frame: {name: matte for name, matte in mattes.items() if name in objects}
            for frame, mattes in sorted(annotations.items())
        }
        self._objects = objects
        self._frames = frames
        self._annotated = [[frame for frame, mattes in self._annotations.items() if name in mattes] for name in objects]
        settings = engine.settings
        self._images = NetworkImages(
            source, settings.processing_size, engine.device, max_bytes=settings.image_cache_bytes
        )
        self._groups = []
        for members in group_disjoint(self._annotations, objects):
            core = engine.new_core(len(members), len(frames))
            self._groups.append(_Group(members, forward=core, backward=core.branch()))
        self._seconds: dict[int, Counter[str]] = {}

    def load_annotations(self, cancelled: Callable[[], bool]) -> Iterator[PropagatedFrame]:
        """Put every annotated frame into permanent memory; yield those that need nothing else."""
        for frame in self._annotations:
            if cancelled():
                return
            for group in self._groups:
                masks, known = self._masks_on(frame, group)
                if any(known):
                    group.forward.memorize(frame, self._images[frame], masks, known)
                    self._count(frame, group.forward)
            if frame in self._frames and self._is_full(frame):
                size = self._images.size
                empty = torch.zeros(len(self._objects), *size)
                yield self._result(frame, empty, torch.ones_like(empty))

    def gaps(self) -> list[_Gap]:
        """Cut the range at the frames on which every object is annotated."""
        first, last = self._frames[0], self._frames[-1]
        cuts = [frame for frame in self._annotations if self._is_full(frame) and first <= frame <= last]
        starts: list[int | None] = [None, *cuts]
        ends: list[int | None] = [*cuts, None]
        gaps = []
        for before, after in zip(starts, ends, strict=True):
            frames = range(first if before is None else before + 1, last + 1 if after is None else after)
            gaps.append(_Gap(frames, before, after))
        return [gap for gap in gaps if gap.frames]

    def fill(self, gap: _Gap, cancelled: Callable[[], bool]) -> Iterator[PropagatedFrame]:
        """Segment a gap from each side that has annotations, and yield each frame once it is final."""
        forward_first, forward_last = gap.frames[0], gap.frames[-1]
        from_left = any(annotated[0] <= forward_last for annotated in self._annotated)
        from_right = any(annotated[-1] >= forward_first for annotated in self._annotated)
        if not from_right:
            for frame, masks in self._run_forward(gap, cancelled):
                yield self._finish(frame, masks, masks)
            return
        backward = self._run_backward(gap, cancelled)
        if not from_left:
            for frame, masks in backward:
                yield self._finish(frame, masks, masks)
            return
        held = HeldPass(gap.frames, (len(self._objects), *self._images.size))
        for frame, masks in backward:
            held.put(frame, masks)
        for frame, masks in self._run_forward(gap, cancelled):
            yield self._finish(frame, masks, held.get(frame, self._device))

    def _run_forward(self, gap: _Gap, cancelled: Callable[[], bool]) -> Iterator[tuple[int, Tensor]]:
        """Step through the gap, carrying temporary memory on from the gap before."""
        frames = [gap.before] if gap.before is not None else []
        cores = [group.forward for group in self._groups]
        return self._run([*frames, *gap.frames], gap.frames, cores, self._frames[-1], cancelled)

    def _run_backward(self, gap: _Gap, cancelled: Callable[[], bool]) -> Iterator[tuple[int, Tensor]]:
        """Step through the gap from its end, with fresh temporary memory."""
        for group in self._groups:
            group.backward.clear_temporary()
        frames = [gap.after] if gap.after is not None else []
        cores = [group.backward for group in self._groups]
        return self._run([*frames, *reversed(gap.frames)], gap.frames, cores, gap.frames[0], cancelled)

    def _run(
        self,
        frames: Sequence[int],
        wanted: range,
        cores: Sequence[InferenceCore],
        end: int,
        cancelled: Callable[[], bool],
    ) -> Iterator[tuple[int, Tensor]]:
        """Step through ``frames``; yield the ``wanted`` with masks (K, h, w) of all objects. ``end`` ends the pass."""
        for frame in frames:
            if cancelled():
                return
            masks = torch.empty(len(self._objects), *self._images.size, device=self._device)
            for group, core in zip(self._groups, cores, strict=True):
                given, known = self._masks_on(frame, group)
                if any(known):
                    probability = core.step(frame, self._images[frame], given, known=known, last=frame == end)
                else:
                    probability = core.step(frame, self._images[frame], last=frame == end)
                masks[group.objects] = probability[1:]
                self._count(frame, core)
            if frame in wanted:
                yield frame, masks

    def _finish(self, frame: int, forward: Tensor, backward: Tensor) -> PropagatedFrame:
        weights = [forward_weight(frame, annotated) for annotated in self._annotated]
        masks, confidence = blend_passes(forward, backward, torch.tensor(weights, device=forward.device))
        return self._result(frame, masks, confidence)

    def _result(self, frame: int, masks: Tensor, confidence: Tensor) -> PropagatedFrame:
        """Bring masks and confidence (K, h, w) to plate size; the artist's own mattes take their places."""
        mattes = plate_mattes(masks, self._plate_size)
        confidence = confidence.clone()
        given = self._annotations.get(frame, {})
        for index, name in enumerate(self._objects):
            if name in given:
                mattes[index] = given[name]
                confidence[index] = 1
        return PropagatedFrame(
            frame=frame,
            mattes=mattes,
            confidence=plate_mattes(confidence.amin(dim=0, keepdim=True), self._plate_size)[0],
            annotated=bool(given),
            timings_s=dict(self._seconds.pop(frame, Counter())),
        )

    def _masks_on(self, frame: int, group: _Group) -> tuple[Tensor, list[bool]]:
        """Return (K, h, w) of the group's objects, zeros where unknown, and which are known."""
        given = self._annotations.get(frame, {})
        names = [self._objects[index] for index in group.objects]
        known = [name in given for name in names]
        if not any(known):
            return torch.empty(0), known
        nothing = np.zeros(self._plate_size, np.float32)
        mattes: Image = np.stack([given.get(name, nothing) for name in names])
        return network_masks(mattes, self._images.size), known

    def _is_full(self, frame: int) -> bool:
        return len(self._annotations.get(frame, {})) == len(self._objects)

    def _count(self, frame: int, core: InferenceCore) -> None:
        self._seconds.setdefault(frame, Counter()).update(core.timings_s)


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` is CUDA where there is one. Raises ``SettingError``."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"{name!r} is not a device; give auto, cpu, cuda or cuda:1") from error
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
