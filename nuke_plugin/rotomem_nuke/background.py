"""Waiting off the main thread: a piece of work, and what to do with its result on the main thread."""

from __future__ import annotations

import logging
import threading
from typing import Callable, TypeVar

from rotomem_nuke import host

log = logging.getLogger(__name__)

T = TypeVar("T")


def work_then(work: Callable[[], T], then: Callable[[T], object], failed: Callable[[Exception], object]) -> None:
    """Run ``work`` on a thread of its own, then ``then`` or ``failed`` on the main thread; without a GUI, at once.

    Args:
        work: may wait for disk and network; no call of Nuke's API.
        failed: told what ``work`` raised.
    """
    if not host.gui():
        _run(work, then, failed)
        return
    threading.Thread(target=_run, args=(work, then, failed), name="rotomem-work", daemon=True).start()


def _run(work: Callable[[], T], then: Callable[[T], object], failed: Callable[[Exception], object]) -> None:
    try:
        result = work()
    except Exception as error:  # a thread's last resort: whoever waits is told
        caught = error
        host.later(lambda: failed(caught))
    else:
        host.later(lambda: then(result))
