"""Progress bars on the command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def tell(bar: tqdm[Any]) -> Callable[[int, int], None]:
    """Return what a task calls with (done, total) to move ``bar``."""

    def show(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return show
