"""The stretches of a frame range between the annotations of each object."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rotomem.errors import AnnotationError, AnnotationSizeError
from rotomem.propagation.engine import Annotations


@dataclass(frozen=True)
class Gap:
    """Frames without annotations, for the objects whose nearest annotated frames they share.

    Args:
        left: nearest annotated frame before the gap, None where there is none.
        right: likewise after it; at least one of the two is there.
        frames: wanted frames between them, ascending, not empty.
        objects: names.
    """

    left: int | None
    right: int | None
    frames: range
    objects: tuple[str, ...]


def annotated_frames_by_object(
    annotations: Annotations, objects: Sequence[str], size: tuple[int, int]
) -> dict[str, list[int]]:
    """List the frames on which each object is annotated, ascending, and check the mattes.

    Args:
        size: (height, width) of the plate.

    Raises:
        AnnotationError: an object is annotated nowhere.
        AnnotationSizeError: a matte of another size than the plate.
    """
    by_object: dict[str, list[int]] = {name: [] for name in objects}
    for frame in sorted(annotations):
        for name in objects:
            matte = annotations[frame].get(name)
            if matte is None:
                continue
            if matte.shape != size:
                raise AnnotationSizeError(
                    f"frame {frame}: the matte of {name!r} is {matte.shape[-1]}x{matte.shape[0]} but the plate is "
                    f"{size[1]}x{size[0]}; render it at the plate's size"
                )
            by_object[name].append(frame)
    for name, frames in by_object.items():
        if not frames:
            raise AnnotationError(f"object {name!r} is annotated on no frame; draw it on at least one frame")
    return by_object


def split_gaps(annotated: dict[str, list[int]], frames: Sequence[int]) -> list[Gap]:
    """Split the range into gaps, in the order of their first frame.

    Args:
        annotated: frames of each object, ascending, at least one; those outside ``frames`` bound gaps all the same.
        frames: ascending, contiguous.
    """
    if not frames:
        return []
    shared: dict[tuple[int | None, int | None], list[str]] = {}
    for name, keys in annotated.items():
        for left, right in zip([None, *keys], [*keys, None], strict=True):
            shared.setdefault((left, right), []).append(name)
    gaps = []
    for (left, right), names in shared.items():
        first = frames[0] if left is None else max(frames[0], left + 1)
        last = frames[-1] if right is None else min(frames[-1], right - 1)
        if first <= last:
            gaps.append(Gap(left, right, range(first, last + 1), tuple(names)))
    return sorted(gaps, key=lambda gap: (gap.frames[0], gap.frames[-1]))


def frames_passed(annotated: Mapping[str, Sequence[int]], frame: int) -> int:
    """Return how many frames the longest pass goes over that ``frame`` needs; 0 where every object is annotated.

    Args:
        annotated: frames of each object, ascending, at least one.
    """
    longest = 0
    for keys in annotated.values():
        left, right = bisect_right(keys, frame) - 1, bisect_left(keys, frame)
        if left >= right:
            continue  # annotated here
        bounds = [keys[at] if 0 <= at < len(keys) else frame for at in (left, right)]
        longest = max(longest, bounds[1] - bounds[0])
    return longest


def distance_from(frames: range, focus: int) -> int:
    """Return how many frames ``focus`` lies outside of ``frames``, 0 inside."""
    return max(frames[0] - focus, focus - frames[-1], 0)


def nearest(frames: Sequence[int], frame: int) -> int:
    """Return the member of ascending, non-empty ``frames`` nearest to ``frame``; of two, the earlier one."""
    return min(frames, key=lambda candidate: (abs(candidate - frame), candidate))
