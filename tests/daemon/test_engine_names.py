"""What the daemon says of its engines, and what it need not load to say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rotomem import engine_names
from rotomem.engine_names import SHIPPED_WEIGHTS, default_engine, usable_engines
from rotomem.propagation import make_engine


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "xmem.safetensors").write_bytes(b"no weights at all")
    return tmp_path


def test_rotomem_s_own_weights_are_the_default(tmp_path: Path) -> None:
    assert SHIPPED_WEIGHTS.is_file()
    assert (default_engine(None), usable_engines(tmp_path)) == ("xmem", ("xmem", "warp", "copy"))
    assert [make_engine(name, weights_dir=tmp_path).name for name in usable_engines(tmp_path)] == [
        "xmem",
        "warp",
        "copy",
    ]
    assert make_engine("auto", weights_dir=tmp_path).name == "xmem"


def test_without_any_weights_warp_is(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_names, "SHIPPED_WEIGHTS", tmp_path / "none")
    for none in (tmp_path / "nowhere", None):
        assert (default_engine(none), usable_engines(none)) == ("warp", ("warp", "copy"))
    assert (default_engine(weights), usable_engines(weights)) == ("xmem", ("xmem", "warp", "copy"))


def test_untuned_rotomem_s_own_weights_are_not_but_chosen_ones_are(weights: Path, tmp_path: Path) -> None:
    none = tmp_path / "nowhere"
    assert (default_engine(none, tune=False), default_engine(None, tune=False)) == ("warp", "warp")
    assert default_engine(weights, tune=False) == "xmem"
    assert make_engine("auto", weights_dir=none, tune=False).name == "warp"
    shipped = str(SHIPPED_WEIGHTS)
    assert make_engine("auto", weights_dir=none, weights=shipped, device="cpu", tune=False).name == "xmem"
    assert make_engine("xmem", weights_dir=none, device="cpu", tune=False).name == "xmem"


def test_the_daemon_s_own_process_loads_no_engine() -> None:
    program = "import sys, rotomem.daemon; print([name for name in ('torch', 'cv2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
