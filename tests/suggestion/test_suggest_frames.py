"""Farthest-point selection on keys whose distances are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from rotomem.errors import CancelledError, SettingError
from rotomem.suggestion import Reason, key_distance, rank_frames, suggest_frames
from rotomem.suggestion.key_distance import composite_key, frame_rows
from rotomem.vos.similarity import anisotropic_similarity

GRID = (2, 3)
SIZE = (32, 48)


def make_shot(levels: list[float], *, shrinkages: list[float] | None = None) -> dict[str, Tensor]:
    """Frames whose one-channel key is ``levels`` everywhere; the object fills the picture.

    With selection 1 and shrinkages s: S(a, f) = -s_a (k_a - k_f)^2, so D(a, f) = max(0, (s_f - s_a) (k_a - k_f)^2).
    """
    total = len(levels)
    return {
        "keys": torch.tensor(levels)[:, None, None, None].expand(total, 1, *GRID).clone(),
        "shrinkages": torch.tensor(shrinkages or [1.0 + i for i in range(total)])[:, None, None, None]
        .expand(total, 1, *GRID)
        .clone(),
        "selections": torch.ones(total, 1, *GRID),
        "masks": torch.ones(total, 1, *SIZE),
    }


def test_the_farthest_frame_is_next_and_then_the_farthest_from_both() -> None:
    # From frame 0 (s = 1): D = (s_f - 1) k_f^2 = 0, 1, 18, 3. Frame 2 is chosen. From it (s = 3) to frame 1:
    # max(0, (2 - 3) ...) = 0; to frame 3: (4 - 3) (3 - 1)^2 = 4, and the minimum stays 3.
    ranked = rank_frames(**make_shot([0, 1, 3, 1]), annotated=[0], count=2)
    assert [frame.index for frame in ranked] == [2, 3]
    assert [frame.score for frame in ranked] == pytest.approx([18, 3])
    assert {frame.reason for frame in ranked} == {Reason.UNLIKE_DRAWN}


def test_distance_is_the_definition_written_out() -> None:
    torch.manual_seed(0)
    key, shrinkage, selection = torch.randn(2, 64, 3, 4), 1 + torch.rand(2, 1, 3, 4), torch.rand(2, 64, 3, 4)

    def similarity(memory: int, query: int) -> Tensor:
        flat = [x.flatten(2) for x in (key[memory : memory + 1], shrinkage[memory : memory + 1])]
        asked = [x.flatten(2) for x in (key[query : query + 1], selection[query : query + 1])]
        return anisotropic_similarity(*flat, *asked)[0]

    a, f = (frame_rows(key[i], shrinkage[i], selection[i]) for i in range(2))
    expected = (similarity(0, 1) - similarity(1, 0)).clamp(min=0).sum() / 12**2
    assert key_distance.key_distance(a, f) == pytest.approx(float(expected), rel=1e-5)


def test_chunks_do_not_change_a_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    a, f = (frame_rows(torch.randn(8, 5, 5), torch.ones(1, 5, 5), torch.rand(8, 5, 5)) for _ in range(2))
    whole = key_distance.key_distance(a, f)
    monkeypatch.setattr(key_distance, "CHUNK_ELEMENTS", 60)
    assert key_distance.key_distance(a, f) == pytest.approx(whole, rel=1e-6)


def test_each_pick_costs_one_distance_per_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated = []
    real = key_distance.key_distance
    monkeypatch.setattr("rotomem.suggestion.selection.key_distance", lambda a, f: evaluated.append(1) or real(a, f))
    suggest_frames(**make_shot([float(i % 7) for i in range(20)]), annotated=[0, 5], count=3)
    # From 0 and 5 to the other 18 frames, then from two of the picks to 17 and 16; after the last pick none.
    assert len(evaluated) == 18 + 18 + 17 + 16


def test_composite_key_takes_the_top_left_pixel_of_each_cell() -> None:
    mask = torch.zeros(4, 4)
    mask[0, 0] = mask[3, 3] = 1  # (3, 3) is the bottom right pixel of its cell
    key = torch.full((1, 2, 2), 10.0)
    assert composite_key(key, mask, alpha=0.25).tolist() == [[[10.0, 7.5], [7.5, 7.5]]]


def test_frames_without_the_object_come_last_with_the_reason() -> None:
    shot = make_shot([0, 1, 3, 1, 5])
    shot["masks"][2] = 0
    shot["masks"][4, :, 4:] = 0.5  # 0.5 is outside, and what is left is above the limit
    ranked = rank_frames(**shot, annotated=[0], count=4)
    assert [frame.index for frame in ranked] == [4, 3, 1, 2]
    assert ranked[-1].reason is Reason.NO_OBJECT
    assert ranked[-1].score == 0


@pytest.mark.parametrize(("pixels", "visible"), [(24, False), (25, True)])
def test_the_object_is_there_from_a_quarter_percent_on(pixels: int, visible: bool) -> None:
    shot = make_shot([0, 1])
    masks = torch.zeros(2, 1, 100, 100)
    masks[:, :, 0, :pixels] = 1
    shot["masks"] = masks
    (ranked,) = rank_frames(**shot, annotated=[0], count=1)
    assert (ranked.reason is not Reason.NO_OBJECT) == visible


def test_ties_go_to_the_lowest_frame_and_no_frame_comes_twice() -> None:
    alike = make_shot([2.0] * 6)
    ranked = rank_frames(**alike, annotated=[1], count=10)
    assert [frame.index for frame in ranked] == [0, 2, 3, 4, 5]
    assert {frame.reason for frame in ranked} == {Reason.ALIKE}
    assert [frame.score for frame in ranked] == [0] * 5


def test_no_mask_anywhere_still_gives_distinct_frames() -> None:
    shot = make_shot([0, 1, 2])
    shot["masks"][:] = 0
    assert suggest_frames(**shot, annotated=[0], count=5) == [1, 2]


def test_before_anything_is_drawn_the_first_frame_with_the_object_comes_first() -> None:
    shot = make_shot([0, 1, 3])
    shot["masks"][0] = 0
    ranked = rank_frames(**shot, annotated=[], count=3)
    assert [frame.index for frame in ranked] == [1, 2, 0]
    assert ranked[0].reason is Reason.NOTHING_DRAWN


def test_everything_drawn_leaves_nothing_to_suggest() -> None:
    assert suggest_frames(**make_shot([0, 1]), annotated=[1, 0, 0], count=2) == []


def test_arrays_and_masks_without_an_object_axis_are_taken() -> None:
    shot = make_shot([0, 1, 3, 1])
    arrays = {name: tensor.numpy() for name, tensor in shot.items()}
    arrays["masks"] = arrays["masks"][:, 0].astype(np.uint8)
    assert suggest_frames(**arrays, annotated=[0], count=2) == [2, 3]


def test_it_stops_when_asked() -> None:
    with pytest.raises(CancelledError):
        rank_frames(**make_shot([0, 1, 3]), annotated=[0], cancelled=lambda: True)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"keys": torch.ones(3, 1, 2)}, "keys have shape"),
        ({"shrinkages": torch.ones(3, 1, 2, 2)}, "shrinkages have shape"),
        ({"selections": torch.ones(3, 2, *GRID)}, "selections have shape"),
        ({"masks": torch.ones(2, 1, *SIZE)}, "masks have shape"),
        ({"masks": torch.full((3, 1, *SIZE), 255)}, r"outside \[0, 1\]"),
        ({"keys": torch.full((3, 1, *GRID), torch.nan)}, "frame 0 hold NaN"),
        ({"annotated": [3]}, "annotated frame 3"),
        ({"annotated": [-1]}, "annotated frame -1"),
        ({"count": 0}, "number of suggestions is 0"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"alpha": float("nan")}, "alpha is nan"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(changed: dict[str, object], match: str) -> None:
    arguments = {**make_shot([0, 1, 2]), "annotated": [0], **changed}
    with pytest.raises(SettingError, match=match):
        suggest_frames(**arguments)  # type: ignore[arg-type]
