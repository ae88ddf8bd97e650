"""Being asked to stop: by Ctrl-C, or by a farm's SIGTERM."""

from __future__ import annotations

import signal
from types import FrameType


class StopRequest:
    """Ctrl-C, or a farm's SIGTERM, asks to stop after the current frame; a second one stops at once."""

    def __init__(self) -> None:
        self._asked = False
        self._previous: dict[signal.Signals, signal._HANDLER] = {}

    def requested(self) -> bool:
        return self._asked

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, _signal: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
