"""What the daemon says of its engines, and what it need not load to say so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rotomem.engine_names import default_engine, usable_engines
from rotomem.propagation import engine_names, make_engine


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    (tmp_path / "xmem.safetensors").write_bytes(b"no weights at all")
    return tmp_path


def test_the_network_is_offered_where_weights_are_installed(weights: Path, tmp_path: Path) -> None:
    assert (default_engine(weights), usable_engines(weights)) == ("xmem", ("xmem", "warp", "copy"))
    for none in (tmp_path / "nowhere", None):
        assert (default_engine(none), usable_engines(none)) == ("warp", ("warp", "copy"))


def test_what_is_offered_can_be_made(tmp_path: Path) -> None:
    assert [make_engine(name, weights_dir=tmp_path).name for name in usable_engines(tmp_path)] == ["warp", "copy"]
    assert make_engine("auto", weights_dir=tmp_path).name == default_engine(tmp_path)
    assert set(usable_engines(tmp_path)) < set(engine_names())


def test_the_daemon_s_own_process_loads_no_engine() -> None:
    program = "import sys, rotomem.daemon; print([name for name in ('torch', 'cv2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
