"""A fake Nuke with the real plugin in it, and small plates."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import OpenImageIO as oiio
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
for folder in (ROOT / "nuke_plugin", ROOT / "tests" / "fakes"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from nuke._session import Session, session  # noqa: E402

import nuke  # noqa: E402
from nuke import _script  # noqa: E402

PLUGIN = ROOT / "nuke_plugin"
WIDTH, HEIGHT = 96, 64


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Session]:
    """A fresh Nuke with a window and the plugin started."""
    monkeypatch.setenv("NUKE_TEMP_DIR", str(tmp_path))
    monkeypatch.delenv("ROTOMEM_ENDPOINT", raising=False)
    start(gui=True)
    yield session
    session.drain()


def start(*, gui: bool, nc: bool = False) -> None:
    try:
        _script.tcl_commands("set a 1")
    except _script.NoTclError as error:
        pytest.skip(str(error))
    session.reset(gui=gui, nc=nc)
    session.start(PLUGIN)


@pytest.fixture
def plate_files(tmp_path: Path) -> Callable[..., str]:
    """Write a textured plate that moves two pixels a frame to the right; return its pattern."""

    def write(first: int = 1, last: int = 9, *, name: str = "plate") -> str:
        noise = np.random.default_rng(7).random((HEIGHT, WIDTH + 64, 3), np.float32)
        for _ in range(3):
            noise = (noise + np.roll(noise, 1, 0) + np.roll(noise, 1, 1) + np.roll(noise, 2, 1)) / 4
        for frame in range(first, last + 1):
            left = 2 * (last - frame)
            write_exr(tmp_path / f"{name}.{frame:04d}.exr", noise[:, left : left + WIDTH])
        return str(tmp_path / f"{name}.%04d.exr")

    return write


def write_exr(path: Path, pixels: np.ndarray, channels: str = "RGB") -> None:
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], len(channels), "half")
    spec.channelnames = tuple(channels)
    output = oiio.ImageOutput.create(str(path))
    assert output is not None
    assert output.open(str(path), spec)
    assert output.write_image(np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], len(channels)), np.float32))
    output.close()


def read_node(pattern: str, first: int = 1, last: int = 9, **knobs: Any) -> nuke.Node:
    return nuke.nodes.Read(file=pattern, first=first, last=last, **knobs)


def add_shape(
    layer: Any, corners: list[tuple[float, float]], *, name: str, keys: list[int] = (), slide: float = 0.0
) -> Any:
    """Draw a polygon, keyed on ``keys`` and moved by ``slide`` pixels a frame; return the shape inside the layer."""
    import nuke.rotopaint as rp

    shape = rp.Shape(None)
    shape.name = name
    for _ in corners:
        shape.append(rp.ShapeControlPoint())
    for point, (x, y) in zip(shape, corners, strict=True):
        point.center.setPosition((x, y, 1.0))
        for frame in keys:
            point.center.addPositionKey(frame, (x + slide * frame, y, 1.0))
    layer.append(shape)
    return layer[len(layer) - 1]


def add_layer(parent: Any, name: str) -> Any:
    import nuke.rotopaint as rp

    layer = rp.Layer(None)
    layer.name = name
    parent.append(layer)
    return parent[len(parent) - 1]


def rotomem_node(plate: Any, roto: Any) -> nuke.Node:
    node = nuke.createNode("Rotomem")
    node.setInput(0, plate)
    node.setInput(1, roto)
    return node


def alpha_of(node: nuke.Node, frame: int) -> np.ndarray:
    from nuke import _images

    return _images.evaluate(node._op, frame).channels["rgba.alpha"]
