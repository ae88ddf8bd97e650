"""``make_engine``."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotomem.errors import SettingError, WeightsError
from rotomem.propagation import CopyEngine, WarpEngine, engine_names, make_engine


def test_engines_are_made_by_name(tmp_path: Path) -> None:
    assert isinstance(make_engine("copy", weights_dir=tmp_path), CopyEngine)
    assert isinstance(make_engine("warp", weights_dir=tmp_path), WarpEngine)
    assert engine_names() == ["xmem", "warp", "copy"]


def test_without_weights_the_default_is_warp(tmp_path: Path) -> None:
    engine = make_engine("auto", weights_dir=tmp_path / "absent")
    assert (engine.name, engine.weights_sha256) == ("warp", "")


def test_with_weights_the_default_is_xmem(tmp_path: Path) -> None:
    # The file is no network: that it is refused shows that xmem was chosen, and that warp is not quietly put in.
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError):
        make_engine("auto", weights_dir=tmp_path)


def test_xmem_without_weights_says_how_to_add_them(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"rotomem weights add"):
        make_engine("xmem", weights_dir=tmp_path)


def test_an_unknown_engine_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"'wrap'.*auto, xmem, warp, copy"):
        make_engine("wrap", weights_dir=tmp_path)
