"""Rectangles of pixels as EXR has them: the display window and the data window."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels; ``y`` grows downward and the origin may be negative (overscan).

    Args:
        x: left column, included.
        y: top row, included.
        width: columns.
        height: rows.
    """

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column beyond the window."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row beyond the window."""
        return self.y + self.height
