"""Whether and how an engine tunes its network to the shot. Without torch, so that engines without it start fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Previews:
    """What an engine is to show around the frame under the artist's eye before it is tuned.

    Args:
        is_better_known: says of a frame that there is a matte of this engine from an earlier round; only a network that
            was tuned to the shot previews it then, not flow alone.
        on_start: told before the first preview, if there is one.
    """

    is_better_known: Callable[[int], bool]
    on_start: Callable[[], None] = _nothing


@dataclass(frozen=True)
class ShotTuning:
    """Tuning to one shot.

    Args:
        enabled: without tuning the weights are used as they are.
        steps: of a first round; a round that goes on from an earlier one's network takes half as many.
        seconds: at which tuning ends, whatever steps were taken; None is 85 on a CPU and 9 on a GPU.
        folder: where tuned networks are kept; None keeps none.
        shot: names the shot there; empty keeps none.
        revision: of the annotations.
        previews: None makes none.
        on_progress: told the share that is done: 0 at first, then that after every step, and 1 in the end.
    """

    enabled: bool = True
    steps: int = 120
    seconds: float | None = None
    folder: Path | None = None
    shot: str = ""
    revision: int = 0
    previews: Previews | None = None
    on_progress: Callable[[float], None] | None = None


@runtime_checkable
class TunedToShot(Protocol):
    """An engine that is tuned to each shot; set ``tuning`` before ``propagate``."""

    tuning: ShotTuning
