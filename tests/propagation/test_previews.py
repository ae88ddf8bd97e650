"""What the xmem engine shows before it is tuned to the shot, and what a network is worth that was tuned too briefly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rendered_scenes import Scene
from rotomem.propagation import PropagatedFrame, WarpEngine, flow
from rotomem.propagation.cued_engine import MOST_PREVIEWED, CuedEngine
from rotomem.propagation.engine import Annotations
from rotomem.propagation.flow import PlateFlow
from rotomem.propagation.shot_tuning import Previews, ShotTuning
from rotomem.tuning.shot_tuning import TunedNetwork, TuningCache
from rotomem.vos import Network
from tiny_networks import TINY_WITH_CUE

SHA256 = "ab" * 32
FRAMES = range(13)
ANY = Previews(is_better_known=lambda frame: False)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def tuning(tmp_path: Path) -> ShotTuning:
    return ShotTuning(steps=2, seconds=1e6, folder=tmp_path, shot="sh010", revision=1, previews=ANY)


def make_engine(tuning: ShotTuning) -> CuedEngine:
    torch.manual_seed(0)
    return CuedEngine(Network(TINY_WITH_CUE), weights_sha256=SHA256, device=torch.device("cpu"), tuning=tuning)


def drawn(*frames: int) -> Annotations:
    scene = Scene()
    return {frame: {"square": scene.truth(frame)} for frame in frames}


def results(
    tuning: ShotTuning, annotations: Annotations, frames: range = FRAMES, focus: int | None = 5
) -> list[PropagatedFrame]:
    names = sorted({name for mattes in annotations.values() for name in mattes}, reverse=True)
    return list(
        make_engine(tuning).propagate(Scene(), annotations, names, frames, cancelled=lambda: False, focus=focus)
    )


def previews_of(found: list[PropagatedFrame]) -> dict[int, PropagatedFrame]:
    return {result.frame: result for result in found if result.preview_by}


def finished_of(found: list[PropagatedFrame]) -> dict[int, PropagatedFrame]:
    return {result.frame: result for result in found if not result.preview_by}


def test_in_a_first_round_flow_alone_shows_the_frames_next_to_the_playhead_before_any_tuning(
    tuning: ShotTuning,
) -> None:
    told: list[str] = []
    tuning = dataclasses.replace(
        tuning,
        previews=dataclasses.replace(ANY, on_start=lambda: told.append("previewing")),
        on_progress=lambda share: told.append("tuning"),
    )
    annotations = drawn(0, 12)
    engine = make_engine(tuning)
    found: list[PropagatedFrame] = []
    for result in engine.propagate(Scene(), annotations, ["square"], FRAMES, cancelled=lambda: False, focus=5):
        assert (not result.preview_by) or told == ["previewing"]
        found.append(result)
    assert sorted(previews_of(found)) == list(range(1, 9))
    assert len(previews_of(found)) == MOST_PREVIEWED
    assert [bool(result.preview_by) for result in found[:9]] == [True] * 8 + [False]
    assert sorted(finished_of(found)) == list(FRAMES), "all are made again"
    warped = WarpEngine().propagate(Scene(), annotations, ["square"], FRAMES, cancelled=lambda: False)
    by_flow = {result.frame: result for result in warped}
    for frame, preview in previews_of(found).items():
        assert preview.preview_by == "warp"
        assert np.array_equal(preview.mattes, by_flow[frame].mattes)


def test_in_a_further_round_the_last_rounds_network_shows_them(tuning: ShotTuning) -> None:
    results(tuning, drawn(0, 12))
    again = dataclasses.replace(tuning, revision=2)
    annotations = drawn(0, 6, 12)
    found = results(again, annotations, focus=6)
    assert sorted(previews_of(found)) == [2, 3, 4, 5, 7, 8, 9, 10]
    assert {result.preview_by for result in previews_of(found).values()} == {"xmem"}

    # The same mattes as from an engine whose network of this very revision is the last round's.
    kept = TuningCache(tuning.folder or Path(), SHA256)
    last = kept.find("sh010", 1)
    assert last is not None
    kept.keep("other", 2, last)
    as_is = finished_of(results(dataclasses.replace(again, shot="other"), annotations, focus=6))
    for frame, preview in previews_of(found).items():
        assert np.array_equal(preview.mattes, as_is[frame].mattes)


@pytest.mark.parametrize("first_round", [True, False])
def test_previews_change_no_finished_matte(tuning: ShotTuning, tmp_path: Path, first_round: bool) -> None:
    scene = Scene()
    annotations = {**drawn(0, 4, 12), 9: {"second": scene.second(9)}}

    def finished(folder: Path, previews: Previews | None) -> dict[int, PropagatedFrame]:
        mine = dataclasses.replace(tuning, folder=folder, previews=previews)
        if not first_round:
            results(mine, drawn(0, 12))
            mine = dataclasses.replace(mine, revision=2)
        found = results(mine, annotations)
        assert bool(previews_of(found)) == (previews is not None)
        return finished_of(found)

    with_them, without = finished(tmp_path / "a", ANY), finished(tmp_path / "b", None)
    assert sorted(with_them) == sorted(without) == list(FRAMES)
    for frame in FRAMES:
        assert with_them[frame].mattes.tobytes() == without[frame].mattes.tobytes()
        assert with_them[frame].confidence.tobytes() == without[frame].confidence.tobytes()
        assert with_them[frame].disagreement == without[frame].disagreement


def test_no_flow_is_computed_twice(tuning: ShotTuning, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[None] = []
    search = PlateFlow._dense_inverse_search

    def counted(self: PlateFlow, target: np.ndarray, source: np.ndarray) -> np.ndarray:
        computed.append(None)
        return search(self, target, source)

    monkeypatch.setattr(PlateFlow, "_dense_inverse_search", counted)
    assert previews_of(results(tuning, drawn(0, 12)))
    with_them = len(computed)
    results(dataclasses.replace(tuning, shot="other", previews=None), drawn(0, 12))
    assert with_them == len(computed) - with_them == 24


@pytest.mark.parametrize("why", ["no focus", "not asked for", "tuning off", "tuned already"])
def test_there_are_none_where_none_are_of_use(tuning: ShotTuning, why: str) -> None:
    focus = None if why == "no focus" else 5
    if why == "not asked for":
        tuning = dataclasses.replace(tuning, previews=None)
    elif why == "tuning off":
        tuning = dataclasses.replace(tuning, enabled=False)
    elif why == "tuned already":
        results(tuning, drawn(0, 12))
    assert not previews_of(results(tuning, drawn(0, 12), focus=focus))


def test_one_job_previews_once_whatever_stretches_it_makes(tuning: ShotTuning) -> None:
    engine = make_engine(dataclasses.replace(tuning, folder=None))

    def run(frames: range) -> Iterator[PropagatedFrame]:
        return engine.propagate(Scene(), drawn(0, 12), ["square"], frames, cancelled=lambda: False, focus=5)

    assert sorted(previews_of(list(run(range(3, 6))))) == [3, 4, 5]
    assert not previews_of(list(run(range(7, 9))))


def test_flow_alone_replaces_no_matte_of_an_earlier_round_but_its_network_does(tuning: ShotTuning) -> None:
    better = dataclasses.replace(tuning, previews=Previews(is_better_known=lambda frame: frame < 5))
    assert sorted(previews_of(results(better, drawn(0, 12)))) == [5, 6, 7, 8]
    further = dataclasses.replace(better, revision=2)
    assert sorted(previews_of(results(further, drawn(0, 6, 12)))) == [1, 2, 3, 4, 5, 7, 8, 9]


def test_where_flow_over_the_gap_cannot_be_kept_it_is_not_computed_for_a_preview(
    tuning: ShotTuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    height, width = PlateFlow(Scene()).size
    monkeypatch.setattr(flow, "CACHE_BYTES", 7 * 2 * 2 * 2 * height * width)
    found = previews_of(results(tuning, drawn(0, 8), range(15), focus=9))
    assert sorted(found) == [9, 10, 11, 12, 13, 14]


def test_a_stop_while_previews_are_made_ends_the_job(tuning: ShotTuning) -> None:
    steps: list[float] = []
    engine = make_engine(dataclasses.replace(tuning, on_progress=steps.append))
    found: list[PropagatedFrame] = []
    for result in engine.propagate(
        Scene(), drawn(0, 12), ["square"], FRAMES, cancelled=lambda: len(found) >= 3, focus=5
    ):
        found.append(result)
    assert [bool(result.preview_by) for result in found] == [True] * 3
    assert not steps


def test_the_share_of_its_steps_that_a_network_had_is_kept_and_adds_up(tuning: ShotTuning) -> None:
    cut_short = dataclasses.replace(tuning, steps=4, seconds=1e-6, previews=None)
    kept = TuningCache(tuning.folder or Path(), SHA256)
    for revision, share in ((1, 0.25), (2, 0.5)):
        results(dataclasses.replace(cut_short, revision=revision), drawn(0, 12), range(3))
        found = kept.find("sh010", revision)
        assert found is not None
        assert found.share == share
    whole = dataclasses.replace(cut_short, seconds=1e6)
    for revision in (3, 4):
        results(dataclasses.replace(whole, revision=revision), drawn(0, 12), range(3))
        found = kept.find("sh010", revision)
        assert found is not None
        assert found.share == 1.0


def test_a_network_that_had_few_steps_is_believed_less(tuning: ShotTuning) -> None:
    network = Network(TINY_WITH_CUE).eval()
    with torch.no_grad():
        network.decoder.pred.bias += 3.0  # sees the object everywhere
    kept = TuningCache(tuning.folder or Path(), SHA256)
    found = {}
    for share in (1.0, 0.1):
        shot = f"share{share}"
        kept.keep(shot, 1, TunedNetwork(network, share))
        (found[share],) = results(dataclasses.replace(tuning, shot=shot), drawn(0, 12), range(6, 7), focus=None)
    warped = WarpEngine().propagate(Scene(), drawn(0, 12), ["square"], range(6, 7), cancelled=lambda: False)
    (carried,) = warped
    off = {share: float(np.abs(result.mattes - carried.mattes).mean()) for share, result in found.items()}
    assert off[0.1] < 0.5 * off[1.0]
