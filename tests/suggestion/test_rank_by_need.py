"""Frames chosen by what a propagation left behind."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rotomem.errors import SettingError
from rotomem.suggestion import SCORINGS, FrameSigns, NeedWeights, Reason, rank_by_need
from rotomem.suggestion.need import MOST_CANDIDATES, travel

GREEDY = NeedWeights(uncertainty=1)


def make_signs(total: int, **figures: object) -> FrameSigns:
    unknown = np.full(total, np.nan)
    given = {name: np.asarray(values, float) for name, values in figures.items() if name not in ("visible", "lost")}
    visible = np.asarray(figures.get("visible", np.ones(total)), bool)
    lost = np.asarray(figures.get("lost", np.zeros(total)), bool)
    return FrameSigns(
        visible, lost, **{n: given.get(n, unknown) for n in ("uncertainty", "disagreement", "instability")}
    )


def test_travel_adds_up_as_variances_do() -> None:
    # Between 1 and 5: 1*3/4, 2*2/4, 3*1/4; outside, the one distance there is.
    assert travel([1, 5], 8).tolist() == pytest.approx([1, 0, 0.75, 1, 0.75, 0, 1, 2])
    assert travel([], 3).tolist() == [3, 3, 3]


def test_the_score_is_the_share_of_need_that_drawing_takes_away() -> None:
    # All alike (1 each on frames 1..3), drawn at 0 and 4; distances 0.75, 1, 0.75. Drawing 2 leaves 0.5 on 1 and 3:
    # gone are 1/3 + 1 + 1/3 of 3.
    (choice,) = rank_by_need(make_signs(5, uncertainty=[0, 0.2, 0.2, 0.2, 0]), [0, 4], 1, GREEDY)
    assert (choice.index, choice.score) == (2, pytest.approx(5 / 9))


@pytest.mark.parametrize("weights", [GREEDY, SCORINGS["need"]])
def test_the_uncertain_stretch_is_drawn_first(weights: NeedWeights) -> None:
    uncertainty = np.full(41, 0.1)
    uncertainty[25:31] = 0.9
    first = rank_by_need(make_signs(41, uncertainty=uncertainty), [0, 40], 1, weights)[0]
    assert 25 <= first.index <= 30
    assert first.reason is Reason.UNSURE


def test_picks_do_not_cluster_in_the_uncertain_stretch() -> None:
    uncertainty = np.full(41, 0.1)
    uncertainty[18:23] = 0.4
    chosen = sorted(c.index for c in rank_by_need(make_signs(41, uncertainty=uncertainty), [0, 40], 3))
    assert min(b - a for a, b in pairwise(chosen)) >= 5


def test_without_any_sign_frames_are_spread_in_time() -> None:
    chosen = rank_by_need(make_signs(33), [0, 32], 3)
    assert sorted(c.index for c in chosen) == pytest.approx([8, 16, 24], abs=3)
    assert {c.reason for c in chosen} == {Reason.FAR}


def test_looking_ahead_leaves_room_for_the_next_frame() -> None:
    # Alone, frame 3/4 of the way along takes most away; together with a second one the two lie further apart.
    signs = make_signs(41)
    alone = rank_by_need(signs, [0], 1, NeedWeights(distance=1))[0].index
    ahead = rank_by_need(signs, [0], 1, NeedWeights(distance=1, ahead=True))[0].index
    assert alone == 30
    assert ahead in (18, 19, 20, 34, 35, 36)


@pytest.mark.parametrize(
    ("sign", "reason"),
    [
        ("uncertainty", Reason.UNSURE),
        ("disagreement", Reason.PASSES_DISAGREE),
        ("instability", Reason.UNSTEADY),
    ],
)
def test_the_reason_names_the_sign_that_stands_out(sign: str, reason: Reason) -> None:
    figures = {name: np.full(21, 0.2) for name in ("uncertainty", "disagreement", "instability")}
    figures[sign][9:12] = 1.0
    (choice,) = rank_by_need(make_signs(21, **figures), [0, 20], 1, SCORINGS["combined"])
    assert 9 <= choice.index <= 11
    assert choice.reason is reason


def test_frames_without_the_object_come_last() -> None:
    visible = np.ones(9)
    visible[3:] = 0
    chosen = rank_by_need(make_signs(9, uncertainty=np.linspace(0, 1, 9), visible=visible), [0], 4)
    assert [c.index for c in chosen] == [1, 2, 3, 4] or [c.index for c in chosen] == [2, 1, 3, 4]
    assert [c.reason for c in chosen[2:]] == [Reason.NO_OBJECT] * 2


def test_perfect_mattes_still_give_distinct_frames_and_ties_go_to_the_lowest() -> None:
    chosen = rank_by_need(make_signs(4, uncertainty=[0, 0, 0, 0]), [0, 3], 9, GREEDY)
    assert [c.index for c in chosen] == [1, 2]


@pytest.mark.parametrize("scoring", SCORINGS)
def test_no_frame_comes_twice(scoring: str) -> None:
    rng = np.random.default_rng(0)
    figures = {name: rng.random(12) for name in ("uncertainty", "disagreement", "instability")}
    figures["disagreement"][6:] = np.nan
    chosen = [c.index for c in rank_by_need(make_signs(12, **figures), [2, 5], 20, SCORINGS[scoring])]
    assert sorted(chosen) == [0, 1, 3, 4, 6, 7, 8, 9, 10, 11]


def test_before_anything_is_drawn_a_frame_is_suggested_all_the_same() -> None:
    (choice,) = rank_by_need(make_signs(9), [], 1)
    assert choice.reason is Reason.NOTHING_DRAWN


def test_long_shots_are_judged_at_evenly_spaced_frames() -> None:
    total = 4 * MOST_CANDIDATES
    uncertainty = np.full(total, 0.1)
    uncertainty[300:340] = 0.9
    (choice,) = rank_by_need(make_signs(total, uncertainty=uncertainty), [0, total - 1], 1)
    assert 300 <= choice.index < 340


@pytest.mark.parametrize(
    ("figures", "match"),
    [
        ({"uncertainty": [0.1, 0.2]}, "uncertainty has shape"),
        ({"disagreement": [0, np.inf, 0]}, "disagreement of frame 1 is inf"),
        ({"instability": [0, 0, -1]}, "instability of frame 2 is -1"),
    ],
)
def test_bad_figures_are_refused(figures: dict[str, list[float]], match: str) -> None:
    with pytest.raises(SettingError, match=match):
        rank_by_need(make_signs(3, **figures), [0])


def test_weights_that_weigh_nothing_are_refused() -> None:
    with pytest.raises(SettingError, match="one above 0"):
        NeedWeights()
