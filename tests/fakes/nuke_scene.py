"""Building small scripts in the fake Nuke, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nuke.rotopaint as rp
from nuke._session import session

import nuke

PLUGIN = Path(__file__).resolve().parent.parent.parent / "nuke_plugin"
WIDTH, HEIGHT = 96, 64
SQUARE = ((20.0, 10.0), (50.0, 10.0), (50.0, 40.0), (20.0, 40.0))
"""In Nuke's coordinates, origin bottom-left."""


def start(*, gui: bool = True, nc: bool = False) -> None:
    session.reset(gui=gui, nc=nc)
    session.start(PLUGIN)


def read_node(pattern: str, first: int = 1, last: int = 9, **knobs: Any) -> Any:
    return nuke.nodes.Read(file=pattern, first=first, last=last, **knobs)


def roto_node(class_name: str = "Roto", *, width: int = WIDTH, height: int = HEIGHT) -> Any:
    node = getattr(nuke.nodes, class_name)()
    node["format"].setValue(nuke.Format(width, height))
    return node


def add_shape(
    layer: rp.Layer,
    corners: Sequence[tuple[float, float]] = SQUARE,
    *,
    name: str = "Bezier1",
    keys: Sequence[int] = (),
    slide: float = 0.0,
) -> Any:
    """Draw a polygon with keys on ``keys``, moved by ``slide`` pixels a frame; return the shape inside the layer."""
    shape = rp.Shape(None, *corners)
    shape.name = name
    for index, (x, y) in enumerate(corners):
        for frame in keys:
            shape[index].center.addPositionKey(frame, (x + slide * frame, y, 1.0))
    layer.append(shape)
    return layer[len(layer) - 1]


def add_layer(parent: rp.Layer, name: str) -> Any:
    layer = rp.Layer(None)
    layer.name = name
    parent.append(layer)
    return parent[len(parent) - 1]


def rotomem_node(plate: Any, roto: Any) -> Any:
    node = nuke.createNode("Rotomem")
    node.setInput(0, plate)
    node.setInput(1, roto)
    return node


def channel_of(node: Any, frame: int, channel: str = "rgba.alpha") -> Any:
    """Return (H, W) float32, row 0 at the top, as the Viewer would show it."""
    from nuke import _images

    return _images.evaluate(node._op, frame).channels[channel]


def inside(node: Any, name: str) -> Any:
    """Return the ``Op`` of a node inside of a Group."""
    return node._op.find(name)


def write_exr(path: Path, pixels: Any, channels: Sequence[str]) -> None:
    """Write (H, W, C) as half-float EXR."""
    import numpy as np
    import OpenImageIO as oiio

    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], len(channels), "half")
    spec.channelnames = tuple(channels)
    output = oiio.ImageOutput.create(str(path))
    if output is None or not output.open(str(path), spec):
        raise OSError(f"{path}: {oiio.geterror()}")
    output.write_image(np.ascontiguousarray(pixels, np.float32))
    output.close()
