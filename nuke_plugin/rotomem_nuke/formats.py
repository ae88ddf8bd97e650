"""A node's picture size as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

from rotomem_nuke import host


@dataclass(frozen=True)
class Format:
    """A display window.

    Args:
        width: pixels.
        height: pixels.
        pixel_aspect: width over height of one pixel.
    """

    width: int
    height: int
    pixel_aspect: float


def format_of(node: host.Node) -> Format:
    size = node.format()
    return Format(width=int(size.width()), height=int(size.height()), pixel_aspect=float(size.pixelAspect()))
