"""Which thing that moves is the object that is drawn, looked for on the frames around the drawing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from moving_scene import MovingScene, Square
from rotomem.propagation.classical_motion import MotionProposal, ProposedObject
from rotomem.propagation.classical_motion.regions import PackedMask
from rotomem.propagation.classical_motion.tracks import Sighting, Track
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.motion_exemplars import Exemplar, find_exemplars
from rotomem.propagation.motion_matching import drawn_nearby, mask_iou, match_drawing

FRAMES = range(26)
DRAWN = 4
SCENE = MovingScene([Square((20, 40), (4, 1), side=48)], pan=(1, 0))
Shape = Callable[[int], np.ndarray]


def truth(frame: int) -> np.ndarray:
    return SCENE.truth(frame, 0)


def left_third(frame: int) -> np.ndarray:
    mask = truth(frame).copy()
    mask[:, int(np.nonzero(mask)[1].min()) + 16 :] = False
    return mask


def twice_as_wide(frame: int) -> np.ndarray:
    mask = truth(frame)
    return mask | np.roll(mask, 48, axis=1)


@pytest.fixture(scope="module")
def flow() -> PlateFlow:
    return PlateFlow(SCENE)


def shown_as(shape: Shape, **others: Shape) -> ProposedObject:
    """A thing that moves, of this shape but for frames such as ``f4``."""
    track = Track()
    for frame in FRAMES:
        mask = others.get(f"f{frame}", shape)(frame)
        track.see(frame, Sighting(PackedMask.pack(mask), 0.9, 1.0, float(mask.sum())))
    return ProposedObject(track, 1.0)


def exemplars(flow: PlateFlow, *moving: ProposedObject, drawn: int = DRAWN) -> list[Exemplar]:
    proposal = MotionProposal(FRAMES, 1, {}, moving)
    return find_exemplars(SCENE, flow, [proposal], ["hero"], {drawn: {"hero": truth(drawn).astype(np.float32)}})


def test_what_is_drawn_is_known_on_the_frames_around_it_and_no_farther(flow: PlateFlow) -> None:
    known = drawn_nearby(flow, FRAMES, {12: {"hero": truth(12).astype(np.float32)}}, "hero")
    assert set(range(8, 17)) <= set(known) <= set(range(2, 23))
    assert all(mask_iou(mask, truth(frame)) > 0.8 for frame, mask in known.items())
    assert drawn_nearby(flow, FRAMES, {12: {"hero": truth(12).astype(np.float32)}}, "car") == {}
    assert drawn_nearby(flow, FRAMES, {12: {"hero": np.zeros((160, 240), np.float32)}}, "hero") == {}
    cut = drawn_nearby(flow, range(10, 20), {12: {"hero": truth(12).astype(np.float32)}}, "hero")
    assert min(cut) == 10, "nothing is carried over a cut"


def test_flow_that_does_not_come_back_ends_it() -> None:
    class Flicker(MovingScene):
        def image(self, frame: int) -> np.ndarray:
            return MovingScene(seed=frame).image(0)

    assert list(drawn_nearby(PlateFlow(Flicker()), FRAMES, {12: {"hero": truth(12).astype(np.float32)}}, "hero")) == [
        12
    ]


def test_an_object_of_which_motion_shows_a_part_on_the_drawn_frame_is_found_around_it(flow: PlateFlow) -> None:
    assert mask_iou(left_third(DRAWN), truth(DRAWN)) < 0.5
    found = exemplars(flow, shown_as(truth, f4=left_third))
    assert len(found) >= 2
    for exemplar in found:
        assert mask_iou(exemplar.mattes["hero"] > 0.5, truth(exemplar.frame)) > 0.8


@pytest.mark.parametrize("shape", [left_third, twice_as_wide])
def test_a_part_of_the_object_and_what_contains_it_are_not_taken(flow: PlateFlow, shape: Shape) -> None:
    assert exemplars(flow, shown_as(shape)) == []
    assert exemplars(flow, shown_as(shape, f4=truth)) == [], "a single frame shows by chance what it shows"


def test_frames_on_which_motion_shows_less_than_elsewhere_are_left_out(flow: PlateFlow) -> None:
    small = {f"f{frame}": left_third for frame in (9, *range(16, 26))}  # one where the drawing is known, and beyond
    found = exemplars(flow, shown_as(truth, **small))
    assert found
    assert all(exemplar.frame < 16 and exemplar.frame != 9 for exemplar in found)


def test_the_weight_is_no_more_than_the_error_that_was_measured_leaves(flow: PlateFlow) -> None:
    def wider(frame: int) -> np.ndarray:
        return truth(frame) | np.roll(truth(frame), 16, axis=1)

    drawn = drawn_nearby(flow, FRAMES, {DRAWN: {"hero": truth(DRAWN).astype(np.float32)}}, "hero")
    for shape in (truth, wider):
        match = match_drawing(SCENE, flow, shown_as(shape), drawn, least_confidence=0.3)
        assert match is not None
        found = exemplars(flow, shown_as(shape))
        assert found
        assert all(exemplar.weight == pytest.approx(min(0.9, 1 - match.error)) for exemplar in found)
    assert match.error > 0.1


def test_an_object_lost_and_found_again_has_exemplars_of_both(flow: PlateFlow) -> None:
    early, late = shown_as(truth), shown_as(truth)
    for frame in FRAMES:
        (late if frame < 12 else early).track.sightings.pop(frame)
    drawn = {frame: {"hero": truth(frame).astype(np.float32)} for frame in (2, 20)}
    found = find_exemplars(SCENE, flow, [MotionProposal(FRAMES, 1, {}, (early, late))], ["hero"], drawn)
    assert min(exemplar.frame for exemplar in found) < 12 <= max(exemplar.frame for exemplar in found)
