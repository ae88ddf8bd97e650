"""``make_engine``."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotomem import weights_files
from rotomem.errors import SettingError, WeightsError
from rotomem.propagation import CopyEngine, WarpEngine, engine_names, make_engine
from rotomem.propagation.cued_engine import CuedEngine
from rotomem.propagation.xmem_engine import XMemEngine
from rotomem.vos import Network, NetworkConfig, save_weights
from tiny_networks import TINY, TINY_WITH_CUE


def test_engines_are_made_by_name(tmp_path: Path) -> None:
    assert isinstance(make_engine("copy", weights_dir=tmp_path), CopyEngine)
    assert isinstance(make_engine("warp", weights_dir=tmp_path), WarpEngine)
    assert engine_names() == ["xmem", "warp", "copy"]


def test_without_weights_the_default_is_warp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rotomem.engine_names.SHIPPED_WEIGHTS", tmp_path / "none")
    engine = make_engine("auto", weights_dir=tmp_path / "absent")
    assert (engine.name, engine.weights_sha256) == ("warp", "")


def test_with_weights_the_default_is_xmem(tmp_path: Path) -> None:
    # The file is no network: that it is refused shows that xmem was chosen, and that warp is not quietly put in.
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError):
        make_engine("auto", weights_dir=tmp_path)


def test_xmem_takes_the_weights_named_then_those_installed_then_those_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put(path: Path, config: NetworkConfig) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        return save_weights(Network(config).state_dict(), path, config)

    def chosen(weights: str = "") -> tuple[type, str]:
        engine = make_engine("xmem", weights_dir=tmp_path / "installed", device="cpu", weights=weights)
        return type(engine), engine.weights_sha256

    shipped = put(tmp_path / "shipped.safetensors", TINY_WITH_CUE)
    monkeypatch.setattr(weights_files, "SHIPPED_WEIGHTS", tmp_path / "shipped.safetensors")
    assert chosen() == (CuedEngine, shipped)
    second = put(tmp_path / "installed" / "b.safetensors", TINY)
    assert chosen() == (XMemEngine, second)
    first = put(tmp_path / "installed" / "a.safetensors", TINY)
    assert chosen() == (XMemEngine, first)
    assert chosen("b") == (XMemEngine, second)
    assert chosen(str(tmp_path / "shipped.safetensors")) == (CuedEngine, shipped)


def test_xmem_without_weights_says_how_to_add_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights_files, "SHIPPED_WEIGHTS", tmp_path / "none")
    with pytest.raises(WeightsError, match=r"rotomem weights add"):
        make_engine("xmem", weights_dir=tmp_path)


def test_an_unknown_engine_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"'wrap'.*auto, xmem, warp, copy"):
        make_engine("wrap", weights_dir=tmp_path)
