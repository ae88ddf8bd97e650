"""The engines on the 30 clips with ground truth: what the project promises of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rotomem.training.evaluation import EngineSettings, evaluate_clips

# Mean J of a throw-away engine (DIS medium, masks warped frame by frame from both sides, blended by distance), as the
# project's brief gives it.
THROW_AWAY_J = {3: 0.688, 5: 0.799, 10: 0.878}


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [3, 5, 10])
def test_warp_beats_the_throw_away_engine(shared: Path, tmp_path: Path, count: int) -> None:
    report = evaluate_clips(
        shared / "clips" / "davis_train_360p",
        engines=["warp"],
        counts=[count],
        settings=EngineSettings(tmp_path),
        jobs=os.cpu_count() or 1,
    )
    assert report.overall("warp", count).j > THROW_AWAY_J[count]
