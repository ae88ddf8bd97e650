"""One propagation of engine ``xmem``: the memories of its object groups, and the passes through each gap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rotomem.propagation.engine import Annotations, Image, PropagatedFrame
from rotomem.propagation.gaps import distance_from
from rotomem.propagation.motion_exemplars import Exemplar, exemplars_beside
from rotomem.propagation.network_frames import NetworkImages, network_masks, plate_mattes
from rotomem.propagation.object_groups import group_disjoint
from rotomem.propagation.pass_blending import HeldPass, blend_passes, forward_weight
from rotomem.suggestion import pass_disagreement
from rotomem.vos import InferenceCore


@dataclass(frozen=True)
class Gap:
    """Frames to fill between two fully annotated ones, or between one of these and the end of the range.

    Args:
        frames: wanted, ascending, not empty.
        forward: frames that the forward pass steps through, from the annotated frame before the wanted ones; where no
            object is annotated before them, from the first annotated one among them; empty without either.
        backward: likewise from the other side, descending.
    """

    frames: range
    forward: range
    backward: range


@dataclass
class _Group:
    """Objects that compete for pixels, with their memory."""

    objects: list[int]
    core: InferenceCore


class XMemShot:
    """One propagation.

    Args:
        images: of the plate.
        plate_size: (height, width), pixels.
        annotations: read when needed and not copied: they may be many mattes of the plate's size.
        objects: names, each annotated at least once.
        frames: wanted, ascending, contiguous, not empty.
        new_core: makes an empty memory for a number of objects and a number of frames.
    """

    def __init__(
        self,
        images: NetworkImages,
        plate_size: tuple[int, int],
        annotations: Annotations,
        objects: Sequence[str],
        frames: Sequence[int],
        *,
        new_core: Callable[[int, int], InferenceCore],
    ) -> None:
        self._images = images
        self._plate_size = plate_size
        self._annotations = annotations
        self._objects = list(objects)
        self._frames = frames
        self._annotated = [[frame for frame in sorted(annotations) if name in annotations[frame]] for name in objects]
        self._all_annotated = sorted({frame for frames in self._annotated for frame in frames})
        first, last = self._all_annotated[0], self._all_annotated[-1]
        span = max(last, frames[-1]) - min(first, frames[0]) + 1
        self._groups = [
            _Group(members, new_core(len(members), span)) for members in group_disjoint(annotations, objects)
        ]
        self._seconds: dict[int, Counter[str]] = {}

    def load_annotations(self, cancelled: Callable[[], bool]) -> Iterator[PropagatedFrame]:
        """Put every annotated frame into permanent memory; yield those that need nothing else."""
        for frame in self._all_annotated:
            if cancelled():
                return
            for group in self._groups:
                masks, known = self._masks_on(frame, group)
                if any(known):
                    group.core.memorize(frame, self._images[frame], masks, known)
                    self._count(frame, group.core)
            if frame in self._frames and self._is_full(frame):
                empty = torch.zeros(len(self._objects), *self._images.size)
                yield self._result(frame, empty, torch.ones_like(empty), None)

    def load_exemplars(self, exemplars: Sequence[Exemplar], cancelled: Callable[[], bool]) -> None:
        """Put exemplars into permanent memory, at their lower rank."""
        annotated = dict(zip(self._objects, self._annotated, strict=True))
        for exemplar in exemplars_beside(exemplars, annotated):
            for group in self._groups:
                if cancelled():
                    return
                masks, known = self._masks_of(exemplar.mattes, group)
                if any(known):
                    image = self._images[exemplar.frame]
                    group.core.memorize(exemplar.frame, image, masks, known, weight=exemplar.weight)

    def gaps(self, focus: int | None = None) -> list[Gap]:
        """Cut the range at the frames on which every object is annotated; the gap nearest to ``focus`` comes first."""
        full = [frame for frame in self._all_annotated if self._is_full(frame)]
        starts: list[int | None] = [None, *full]
        ends: list[int | None] = [*full, None]
        found = []
        for left, right in zip(starts, ends, strict=True):
            first = self._frames[0] if left is None else max(self._frames[0], left + 1)
            last = self._frames[-1] if right is None else min(self._frames[-1], right - 1)
            if first <= last:
                start = self._all_annotated[0] if left is None else left
                end = self._all_annotated[-1] if right is None else right
                found.append(Gap(range(first, last + 1), range(start, last + 1), range(end, first - 1, -1)))
        return found if focus is None else sorted(found, key=lambda gap: distance_from(gap.frames, focus))

    def fill(self, gap: Gap, cancelled: Callable[[], bool]) -> Iterator[PropagatedFrame]:
        """Segment a gap from each side that has annotations, and yield each frame once it is final."""
        held = HeldPass(gap.frames, (len(self._objects), *self._images.size)) if gap.forward and gap.backward else None
        for frame, masks in self._run(gap.backward, cancelled):
            if held is not None and frame in gap.forward:
                held.put(frame, masks)
            elif frame in gap.frames:
                yield self._finish(frame, masks, masks)
        for frame, masks in self._run(gap.forward, cancelled):
            if frame in gap.frames:
                backward = masks if held is None or frame not in gap.backward else held.get(frame, masks.device)
                yield self._finish(frame, masks, backward)

    def _run(self, frames: range, cancelled: Callable[[], bool]) -> Iterator[tuple[int, Tensor]]:
        """Step through ``frames`` with fresh temporary memory; yield each with masks (K, h, w) of all objects."""
        for group in self._groups:
            group.core.clear_temporary()
        for frame in frames:
            if cancelled():
                return
            image = self._images[frame]
            masks = torch.empty(len(self._objects), *self._images.size, device=image.device)
            for group in self._groups:
                given, known = self._masks_on(frame, group)
                last = frame == frames[-1]
                if any(known):
                    probability = group.core.step(frame, image, given, known=known, last=last)
                else:
                    probability = group.core.step(frame, image, last=last)
                masks[group.objects] = probability[1:]
                self._count(frame, group.core)
            yield frame, masks

    def _finish(self, frame: int, forward: Tensor, backward: Tensor) -> PropagatedFrame:
        weights = [forward_weight(frame, annotated) for annotated in self._annotated]
        masks, confidence = blend_passes(forward, backward, torch.tensor(weights, device=forward.device))
        compared = [index for index, weight in enumerate(weights) if 0 < weight < 1]
        disagreement = float(pass_disagreement(forward[None, compared], backward[None, compared])) if compared else None
        return self._result(frame, masks, confidence, disagreement)

    def _result(self, frame: int, masks: Tensor, confidence: Tensor, disagreement: float | None) -> PropagatedFrame:
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
            annotated=frame in self._all_annotated,
            timings_s=dict(self._seconds.pop(frame, Counter())),
            disagreement=disagreement,
        )

    def _masks_on(self, frame: int, group: _Group) -> tuple[Tensor, list[bool]]:
        """Return (K, h, w) of the group's objects, zeros where unknown, and which are known."""
        return self._masks_of(self._annotations.get(frame, {}), group)

    def _masks_of(self, given: Mapping[str, Image], group: _Group) -> tuple[Tensor, list[bool]]:
        names = [self._objects[index] for index in group.objects]
        known = [name in given for name in names]
        if not any(known):
            return torch.empty(0), known
        masks = torch.zeros(len(names), *self._images.size)
        for index, name in enumerate(names):
            if name in given:
                matte: Image = np.asarray(given[name])[None]
                masks[index] = network_masks(matte, self._images.size)[0]
        return masks, known

    def _is_full(self, frame: int) -> bool:
        return all(name in self._annotations.get(frame, {}) for name in self._objects)

    def _count(self, frame: int, core: InferenceCore) -> None:
        self._seconds.setdefault(frame, Counter()).update(core.timings_s)
