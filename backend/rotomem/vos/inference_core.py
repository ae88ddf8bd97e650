"""One pass over a shot: frame after frame in, probabilities out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from rotomem.errors import AnnotationError, AnnotationSizeError, PlateSizeError
from rotomem.vos.aggregate import aggregate
from rotomem.vos.config import MemoryConfig
from rotomem.vos.feature_cache import FeatureCache
from rotomem.vos.fingerprint import network_fingerprint
from rotomem.vos.memory_bank import MemoryBank
from rotomem.vos.network import FrameFeatures, Network
from rotomem.vos.padding import Padding
from rotomem.vos.permanent_memory import PermanentEntry, PermanentMemory

REPLACED_WITHIN = 2
"""An annotated frame takes the place of entries of lower rank so near to it."""
PHASES = ("encode_key", "memory_read", "decode", "encode_value")


class InferenceCore:
    """Steps through frames in whatever direction they are handed over.

    Args:
        network: in evaluation mode, on the device on which to run.
        config: of the memories.
        num_objects: K; :meth:`add_object` makes more.
        permanent: share another pass's annotated frames, and with them its objects; see :meth:`branch`.
        features: keep encoded frames for later passes; without it none are kept.
        autocast: run convolutions in this type. Similarity and sensory memory stay in float32.
        time_device: wait for the device at each phase's end, so that ``timings_s`` is true on CUDA.

    Attributes:
        timings_s: seconds per phase of the last call: encode_key, memory_read, decode, encode_value.
    """

    def __init__(
        self,
        network: Network,
        config: MemoryConfig | None = None,
        num_objects: int = 1,
        *,
        permanent: PermanentMemory | None = None,
        features: FeatureCache | None = None,
        autocast: torch.dtype | None = None,
        time_device: bool = False,
    ) -> None:
        self.network = network.eval()
        self.config = config or MemoryConfig()
        # By identity: a permanent memory without entries yet is shared all the same.
        permanent = PermanentMemory(num_objects) if permanent is None else permanent
        self.memory = MemoryBank(self.config, permanent)
        self.timings_s = dict.fromkeys(PHASES, 0.0)
        self._features = features
        self._source = "" if features is None else _arithmetic(network, autocast)
        self._autocast = autocast
        self._time_device = time_device
        self._device = next(network.parameters()).device
        self._image_size: tuple[int, int] | None = None
        self._hidden: Tensor | None = None
        self._steps = 0
        self._last_memorised = 0

    @property
    def num_objects(self) -> int:
        """K, the same in every pass over the same annotated frames."""
        return self.memory.permanent.elements.object_count

    def branch(self) -> InferenceCore:
        """Return another pass over the same annotated frames, with temporary memory of its own.

        An object added to one of the passes is an object of them all.
        """
        return InferenceCore(
            self.network,
            self.config,
            self.num_objects,
            permanent=self.memory.permanent,
            features=self._features,
            autocast=self._autocast,
            time_device=self._time_device,
        )

    @torch.inference_mode()
    def memorize(
        self, frame: int, image: Tensor, masks: Tensor, known: Sequence[bool] | None = None, *, weight: float = 1.0
    ) -> None:
        """Put an annotated frame into permanent memory, or replace it there.

        What an artist has drawn takes the place of entries of lower rank on the frames beside it.

        Args:
            image: (3, H, W), normalised.
            masks: (K, H, W) in [0, 1].
            known: for each object, whether ``masks`` says anything of it; all by default. An object never reads from
                frames on which it is unknown.
            weight: of the entry, in (0, 1]; see :class:`PermanentEntry`.

        Raises:
            AnnotationError: masks of a wrong size, count or range.
            PlateSizeError: an image of another size than the frames before.
            SettingError: a weight outside (0, 1].
        """
        self._reset_timings()
        masks, known_objects = self._check_masks(frame, image, masks, known)
        self._remember(frame, self._prepare(frame, image), masks, known_objects, weight)

    def forget(self, frame: int) -> None:
        """Remove an annotated frame from permanent memory; raises ``AnnotationError`` if it is not there."""
        if frame not in self.memory.permanent:
            raise AnnotationError(
                f"frame {frame} is not among the annotated frames {sorted(self.memory.permanent.frames)}; "
                f"there is nothing to forget"
            )
        with torch.inference_mode():
            self.memory.permanent.forget(frame)

    @torch.inference_mode()
    def step(
        self,
        frame: int,
        image: Tensor,
        masks: Tensor | None = None,
        *,
        known: Sequence[bool] | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return probabilities (K+1, H, W), background first, of the next frame of this pass.

        Args:
            image: (3, H, W), normalised.
            masks: (K, H, W) in [0, 1] if the frame is annotated. They are the result, through the aggregation; they
                enter permanent memory if they are not there yet or differ.
            known: as in :meth:`memorize`; unknown objects are segmented.
            last: the pass ends here, so that nothing need be memorised.

        Raises:
            AnnotationError: nothing is annotated yet, or bad masks.
            PlateSizeError: an image of another size than the frames before.
        """
        self._reset_timings()
        self.memory.follow_permanent_objects()
        padded = self._prepare(frame, image)
        if masks is not None:
            masks, known_objects = self._check_masks(frame, image, masks, known)
            probability = self._step_annotated(frame, padded, masks, known_objects, last)
        else:
            probability = self._step_propagated(frame, padded, last)
        self._steps += 1
        return self._padding.remove(probability)[0]

    def add_object(self) -> int:
        """Make room for one more object, in whatever state the memories are; returns its index."""
        with torch.inference_mode():
            self.memory.permanent.add_object()
            self.memory.follow_permanent_objects()
        return self.num_objects - 1

    def clear_temporary(self) -> None:
        """Begin another pass: forget all but the annotated frames."""
        self.memory.clear_temporary()
        self._hidden = None
        self._steps = self._last_memorised = 0

    @property
    def _padding(self) -> Padding:
        assert self._image_size is not None  # set by _prepare, before anything is padded
        return Padding.to_stride(*self._image_size)

    def _step_propagated(self, frame: int, image: Tensor, last: bool) -> Tensor:
        memorise = not last and self._steps - self._last_memorised >= self.config.mem_every
        features = self._encode_key(frame, image)
        masks, hidden = self._segment(
            frame, image, features, range(self.num_objects), update_hidden=not memorise and not last
        )
        probability = aggregate(masks)
        if memorise:
            readable = [self.memory.knows(index) for index in range(self.num_objects)]
            value = self._encode_value(image, features, probability[:, 1:], readable)
            with self._timed("encode_value"):
                hidden = self._reinforce(value, hidden, readable)
                self.memory.add(features, value, readable)
            self._last_memorised = self._steps
        self._hidden = hidden
        return probability

    def _step_annotated(self, frame: int, image: Tensor, masks: Tensor, known: tuple[bool, ...], last: bool) -> Tensor:
        permanent = self.memory.permanent
        entry = permanent[frame] if frame in permanent else None
        if entry is None or entry.known != known or not torch.equal(entry.masks, masks):
            self._remember(frame, image, masks, known)
        padded = self._padding.add(masks)[None]
        hidden = self._hidden_state(image)
        unknown = [index for index, flag in enumerate(known) if not flag]
        if unknown:
            features = self._encode_key(frame, image)
            segmented, hidden = self._segment(frame, image, features, unknown, update_hidden=not last)
            padded[:, unknown] = segmented[:, unknown]
        if not last:
            with self._timed("encode_value"):
                self._hidden = self._reinforce(permanent.value_of(frame), hidden, known)
            self._last_memorised = self._steps
        return aggregate(padded)

    def _segment(
        self, frame: int, image: Tensor, features: FrameFeatures, objects: Sequence[int], *, update_hidden: bool
    ) -> tuple[Tensor, Tensor]:
        """Return masks (1, K, H, W) before aggregation and sensory memory; only ``objects`` are filled in and updated.

        An object that no memory knows yet is nowhere.
        """
        hidden = self._hidden_state(features.key)
        readable = [index for index in objects if self.memory.knows(index)]
        height, width = (16 * size for size in features.key.shape[-2:])
        masks = features.key.new_zeros(1, self.num_objects, height, width)
        if not readable:
            if len(self.memory.permanent) == 0:
                raise AnnotationError(f"frame {frame} cannot be segmented: no frame is annotated; annotate one first")
            return masks, hidden
        with self._timed("memory_read"):
            readout = self.memory.read(features, readable)
        if features.finer is None:
            with self._timed("encode_key"), self._mixed_precision():
                finer = None if self._features is None else self._features.find_finer(frame, image, self._source)
                features.finer = finer or self.network.encode_finer(image)
        if self._device.type == "cuda":
            # What the decoder returned before has been copied by now.
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        with self._timed("decode"), self._mixed_precision():
            logits, updated = self.network.decode(features, readout, hidden[:, readable], update_hidden=update_hidden)
            masks[:, readable] = logits.sigmoid()
            hidden = hidden.clone()
            hidden[:, readable] = updated
        if self._features is not None:
            self._features.keep(frame, image, features, self._source)  # grown by the decoder's image part
        return masks, hidden

    def _remember(self, frame: int, image: Tensor, masks: Tensor, known: tuple[bool, ...], weight: float = 1.0) -> None:
        features = self._encode_key(frame, image)
        probability = aggregate(self._padding.add(masks)[None])
        value = self._encode_value(image, features, probability[:, 1:], known)
        self.memory.permanent.put(frame, PermanentEntry(masks, known, weight), features, value)
        if weight == 1:
            self.memory.permanent.forget_undrawn(frame, within=REPLACED_WITHIN)

    def _encode_key(self, frame: int, image: Tensor) -> FrameFeatures:
        with self._timed("encode_key"), self._mixed_precision():
            features = None if self._features is None else self._features.find(frame, image, self._source)
            if features is None:
                features = self.network.encode_key(image)
                if self._features is not None:
                    self._features.keep(frame, image, features, self._source)
            return features

    def _encode_value(self, image: Tensor, features: FrameFeatures, masks: Tensor, objects: Sequence[bool]) -> Tensor:
        """Return (1, K, Cv, h, w); zeros for an object whose flag in ``objects`` is False."""
        with self._timed("encode_value"), self._mixed_precision():
            chosen = [index for index, flag in enumerate(objects) if flag]
            others = masks.sum(dim=1, keepdim=True) - masks
            encoded = self.network.encode_value(image, features, masks[:, chosen], others[:, chosen])
            if len(chosen) == self.num_objects:
                return encoded
            value = encoded.new_zeros(1, self.num_objects, *encoded.shape[2:])
            value[:, chosen] = encoded
            return value

    def _reinforce(self, value: Tensor, hidden: Tensor, objects: Sequence[bool]) -> Tensor:
        """Return sensory memory with the deep update of the objects whose flag is True."""
        with self._mixed_precision():
            updated = self.network.reinforce_hidden(value, hidden)
        chosen = torch.tensor(objects, device=hidden.device)[None, :, None, None, None]
        return torch.where(chosen, updated, hidden)

    def _hidden_state(self, like: Tensor) -> Tensor:
        """Return sensory memory, zeros at first, also for objects that joined since the frame before."""
        if self._hidden is None:
            assert self._image_size is not None  # set by _prepare
            height, width = self._padding.size_of(*self._image_size)
            shape = (1, self.num_objects, self.network.config.hidden_dim, height // 16, width // 16)
            self._hidden = torch.zeros(shape, device=like.device)
        joined = self.num_objects - self._hidden.shape[1]
        if joined:
            self._hidden = torch.cat([self._hidden, self._hidden.new_zeros(1, joined, *self._hidden.shape[2:])], dim=1)
        return self._hidden

    def _prepare(self, frame: int, image: Tensor) -> Tensor:
        """Return the image on the device, padded, (1, 3, H, W)."""
        size = (image.shape[-2], image.shape[-1])
        if image.ndim != 3 or image.shape[0] != 3:
            raise PlateSizeError(f"frame {frame} has shape {tuple(image.shape)}; give 3 channels, height, width")
        if self._image_size not in (None, size):
            raise PlateSizeError(f"frame {frame} is {size} pixels high and wide, the frames before {self._image_size}")
        self._image_size = size
        return self._padding.add(image.to(self._device, torch.float32))[None]

    def _check_masks(
        self, frame: int, image: Tensor, masks: Tensor, known: Sequence[bool] | None
    ) -> tuple[Tensor, tuple[bool, ...]]:
        expected = (self.num_objects, *image.shape[-2:])
        if tuple(masks.shape) != expected:
            raise AnnotationSizeError(
                f"the masks of frame {frame} have shape {tuple(masks.shape)}; {expected} is needed "
                f"(objects, height, width of the image)"
            )
        flags = (True,) * self.num_objects if known is None else tuple(bool(flag) for flag in known)
        if len(flags) != self.num_objects or not any(flags):
            raise AnnotationError(
                f"frame {frame} must state for {self.num_objects} objects which are known, at least one"
            )
        masks = masks.to(self._device, torch.float32)
        if not bool(((masks >= 0) & (masks <= 1)).all()):
            raise AnnotationError(f"the masks of frame {frame} leave [0, 1] or hold NaN; scale or repair them first")
        chosen = torch.tensor(flags, device=self._device)[:, None, None]
        return masks * chosen, flags

    def _reset_timings(self) -> None:
        self.timings_s = dict.fromkeys(PHASES, 0.0)

    def _mixed_precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, dtype=self._autocast, enabled=self._autocast is not None)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            if self._time_device and self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self.timings_s[phase] += time.perf_counter() - start


def _arithmetic(network: Network, autocast: torch.dtype | None) -> str:
    """Return a name for what decides a frame's features beside its image: weights, device and precision."""
    device = next(network.parameters()).device.type
    precision = str(autocast or torch.float32).removeprefix("torch.")
    return f"{network_fingerprint(network)}-{device}-{precision}"
