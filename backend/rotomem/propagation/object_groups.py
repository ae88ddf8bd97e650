"""Which objects compete for pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rotomem.propagation.engine import Annotations

OVERLAP = 0.1
"""Objects that share more than this part of the smaller one's area are segmented apart from each other."""


def group_disjoint(annotations: Annotations, objects: Sequence[str]) -> list[list[int]]:
    """Group objects so that none overlaps another of its group on an annotated frame.

    The network lets the objects of a group compete for each pixel, which helps it to tell neighbours apart but would
    halve the mattes of a person and of the arm that is part of the person.
    """
    groups: list[list[int]] = []
    for index, name in enumerate(objects):
        for group in groups:
            if not any(_overlap(annotations, name, objects[other]) for other in group):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def _overlap(annotations: Annotations, one: str, other: str) -> bool:
    for mattes in annotations.values():
        if one in mattes and other in mattes:
            smaller = min(mattes[one].sum(), mattes[other].sum())
            if np.minimum(mattes[one], mattes[other]).sum() > OVERLAP * smaller:
                return True
    return False
