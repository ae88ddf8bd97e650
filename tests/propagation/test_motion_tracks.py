"""Regions of what moves, and regions linked into objects."""

from __future__ import annotations

import numpy as np
import pytest

from rotomem.propagation.classical_motion.regions import Region, find_regions, measure_region
from rotomem.propagation.classical_motion.tracks import GAP_FRAMES, Track, link_regions

SIZE = (120, 200)
EVIDENCE = 10.0


def block(x: int, y: int, side: int = 30) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def region(mask: np.ndarray) -> Region:
    return measure_region(mask, np.where(mask, EVIDENCE, 1.0).astype(np.float32), mask)


def still(_target: int, _source: int) -> np.ndarray:
    return np.zeros((*SIZE, 2), np.float32)


def masks_of(track: Track) -> dict[int, np.ndarray]:
    return {frame: sighting.mask.unpack() for frame, sighting in track.sightings.items()}


def test_a_region_needs_what_moves_for_certain_and_takes_what_moves_likely_with_it() -> None:
    evidence = np.ones(SIZE, np.float32)
    evidence[20:60, 20:60] = 5.0  # likely
    evidence[30:50, 40:60] = 9.0  # certain, beside it
    evidence[80:110, 120:150] = 5.0  # likely alone
    (found,) = find_regions(evidence)
    mask = found.mask.unpack()
    assert mask[35:45, 25:35].all()
    assert not mask[70:].any()
    assert found.contrast == pytest.approx((found.inside - 1) / (found.inside + 1), abs=0.05)


def test_specks_are_dropped_small_holes_filled_and_large_ones_kept() -> None:
    evidence = np.ones(SIZE, np.float32)
    evidence[5:8, 5:8] = 15.0
    evidence[20:80, 20:80] = 10.0
    evidence[30:36, 30:36] = 1.0  # 1 % of it
    evidence[45:73, 45:73] = 1.0  # 22 %
    (found,) = find_regions(evidence)
    mask = found.mask.unpack()
    assert mask[33, 33]
    assert not mask[59, 59]
    assert not mask[6, 6]


def test_the_rim_that_evidence_fades_over_is_not_part_of_a_region() -> None:
    distance = np.maximum(0, np.abs(np.arange(200) - 100) - 30)  # from a bar 61 px wide
    evidence = np.tile(np.maximum(1.0, 14.0 - 3.0 * distance), (120, 1)).astype(np.float32)
    (found,) = find_regions(evidence)
    # 14 / 2 is reached 2.3 px from the bar, the threshold of 3 only after 3.7.
    assert found.mask.unpack()[60].sum() == pytest.approx(61 + 2 * 2, abs=1)


def test_a_region_stays_one_object_along_flow_however_fast() -> None:
    def moves(_target: int, _source: int) -> np.ndarray:
        return np.full((*SIZE, 2), (-12, 0), np.float32)

    frames = range(5, 13)
    (track,) = link_regions(frames, {f: [region(block(12 * (f - 5) + 5, 40, 10))] for f in frames}, moves)
    assert sorted(track.sightings) == list(frames)
    assert track.sightings[9].stability == pytest.approx(1.0)
    assert track.sightings[9].confidence == pytest.approx((EVIDENCE - 1) / (EVIDENCE + 1))


def test_objects_that_touch_for_a_while_stay_apart() -> None:
    left, right = block(30, 40), block(60, 40)
    frames = range(12)
    regions = {f: [region(left | right)] if 5 <= f <= 7 else [region(left), region(right)] for f in frames}
    tracks = link_regions(frames, regions, still)
    assert len(tracks) == 2
    for track in tracks:
        masks = masks_of(track)
        assert all(np.array_equal(masks[f], masks[0]) for f in frames)


def test_parts_of_an_object_come_together_again() -> None:
    whole, parts = block(40, 40, 40), [block(40, 40, 18), block(60, 60, 18)]
    frames = range(10)
    regions = {f: [region(part) for part in parts] if f == 5 else [region(whole)] for f in frames}
    (track,) = link_regions(frames, regions, still)
    assert np.array_equal(masks_of(track)[5], parts[0] | parts[1])


def test_a_gap_is_bridged_without_confidence_and_a_longer_one_ends_the_object() -> None:
    frames = range(30)
    short = {f: [] if 10 <= f < 10 + GAP_FRAMES else [region(block(40, 40))] for f in frames}
    (track,) = link_regions(frames, short, still)
    assert sorted(track.sightings) == list(frames)
    assert track.sightings[12].confidence == 0.0
    assert np.array_equal(masks_of(track)[12], block(40, 40))
    long = {f: [] if 10 <= f < 11 + GAP_FRAMES else [region(block(40, 40))] for f in frames}
    assert [sorted(track.sightings)[0] for track in link_regions(frames, long, still)] == [11 + GAP_FRAMES, 0]


def test_what_is_seen_for_a_moment_is_no_object() -> None:
    frames = range(30)
    regions = {f: [region(block(10, 10))] + ([region(block(120, 60))] if 10 <= f < 14 else []) for f in frames}
    tracks = link_regions(frames, regions, still)
    assert [len(track.sightings) for track in tracks] == [30]


def test_the_object_that_moves_most_comes_first() -> None:
    frames = range(10)
    regions = {f: [region(block(10, 10, 12)), region(block(100, 50, 40))] for f in frames}
    tracks = link_regions(frames, regions, still)
    assert [masks_of(track)[0].sum() for track in tracks] == [1600, 144]


def test_a_shape_that_jumps_about_is_less_certain() -> None:
    frames = range(10)
    regions = {f: [region(block(40, 40, 20 if f % 2 else 40))] for f in frames}
    (track,) = link_regions(frames, regions, still)
    assert track.sightings[5].stability == pytest.approx(0.25)
    assert track.sightings[5].confidence < 0.5 * track.sightings[0].confidence
