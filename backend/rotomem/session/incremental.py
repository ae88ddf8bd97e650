"""Which frames need not be made again after annotations have changed."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from rotomem.session.shot import ShotAnnotation

_BLOCK_BYTES = 1 << 20

_Drawn = dict[str, dict[int, Hashable]]
"""Object to annotated frame to what stands for the annotation's content."""


def unchanged_frames(
    engine: str,
    objects: Sequence[str],
    before: Iterable[ShotAnnotation],
    after: Iterable[ShotAnnotation],
    frames: Iterable[int],
) -> frozenset[int]:
    """Return those of ``frames`` whose result provably cannot differ, for ``PropagationTask.current``.

    All else must be the same: the plate, the objects and their order, the engine's settings and the range. What each
    engine's frame depends on:

    * ``warp``: for each object that is annotated there, on that annotation; for each other one, on the nearest
      annotated frames on both sides and on which objects share exactly these, since they are carried together.
    * ``copy``: for each object, on its nearest annotation.
    * every other engine: on all annotations, because its memory holds them all.

    Args:
        engine: ``warp``, ``copy``, ``xmem``; of ``auto`` nothing is assumed.
        objects: names, of both rounds.
        before: annotations of the round that made the mattes on disk. Alpha files count by their content, as it is
            now; a file that cannot be read counts as changed.
        after: annotations of the round to come.
    """
    drawn_before, drawn_after = _drawn(objects, before), _drawn(objects, after)
    wanted = frozenset(frames)
    if drawn_before == drawn_after:
        return wanted
    evidence = _EVIDENCE.get(engine)
    if evidence is None or not all([*drawn_before.values(), *drawn_after.values()]):
        return frozenset()
    earlier, later = evidence(drawn_before), evidence(drawn_after)
    return frozenset(frame for frame in wanted if earlier(frame) == later(frame))


def _drawn(objects: Sequence[str], annotations: Iterable[ShotAnnotation]) -> _Drawn:
    drawn: _Drawn = {name: {} for name in objects}
    for annotation in annotations:
        if annotation.object_name in drawn:
            drawn[annotation.object_name][annotation.frame] = _content(annotation)
    return drawn


def _content(annotation: ShotAnnotation) -> Hashable:
    """Return what is equal for two annotations only if they are the same matte."""
    if annotation.absent:
        return "absent"
    if annotation.alpha is None:
        return "shapes", annotation.shapes
    try:
        return "alpha", _sha256(annotation.alpha)
    except OSError:
        return object()  # equal to nothing else


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _warp_evidence(drawn: _Drawn) -> Callable[[int], Hashable]:
    ordered = {name: sorted(annotated) for name, annotated in drawn.items()}

    def evidence(frame: int) -> Hashable:
        bounds: list[Hashable] = []
        for name, annotated in ordered.items():
            # On an annotated frame both are that frame itself.
            left, right = bisect_right(annotated, frame) - 1, bisect_left(annotated, frame)
            for at in (left, right):
                bounds.append((annotated[at], drawn[name][annotated[at]]) if 0 <= at < len(annotated) else None)
        return tuple(bounds)

    return evidence


def _copy_evidence(drawn: _Drawn) -> Callable[[int], Hashable]:
    def evidence(frame: int) -> Hashable:
        # Of two equally near annotations the earlier one is copied.
        chosen = {name: min(annotated, key=lambda at: (abs(at - frame), at)) for name, annotated in drawn.items()}
        return tuple((at, drawn[name][at]) for name, at in chosen.items())

    return evidence


_EVIDENCE = {"warp": _warp_evidence, "copy": _copy_evidence}
