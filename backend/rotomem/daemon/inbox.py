"""The bounded queue between the thread that owns the socket and the one that acts."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

LIMIT_BYTES = 64 * 1024 * 1024


class Inbox:
    """Actions to be done by one thread, in order. While ``full``, nothing more should be read from the socket."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[], None] | None, int]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._bytes = 0

    @property
    def full(self) -> bool:
        with self._lock:
            return self._bytes > LIMIT_BYTES

    def put(self, action: Callable[[], None], size: int = 0) -> None:
        """Queue an action that holds ``size`` bytes of memory."""
        with self._lock:
            self._bytes += size
        self._queue.put((action, size))

    def close(self) -> None:
        """Let ``run`` return once everything queued so far is done."""
        self._queue.put((None, 0))

    def run(self) -> None:
        """Do what is queued until closed."""
        while True:
            action, size = self._queue.get()
            if action is None:
                return
            try:
                action()
            except Exception:
                # The daemon goes on: other artists use it, and the next request may well succeed.
                log.exception("the daemon failed at something that it should have done")
            finally:
                with self._lock:
                    self._bytes -= size
