"""The daemon put together: socket, store, worker; from start to a clean end."""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rotomem import __version__
from rotomem.config import Settings
from rotomem.daemon.dispatch import Dispatcher
from rotomem.daemon.inbox import Inbox
from rotomem.daemon.jobs import WorkerPool
from rotomem.daemon.pruning import Pruner
from rotomem.daemon.server import Server, require_local
from rotomem.daemon.shots import Shots
from rotomem.daemon.store import Store
from rotomem.daemon.worker import Runners
from rotomem.daemon.writers import Writers
from rotomem.engine_names import default_engine, usable_engines
from rotomem.errors import SettingError
from rotomem_client.errors import InvalidValueError
from rotomem_client.messages import PROTOCOL_MAX, Welcome

log = logging.getLogger(__name__)

_RUNNERS = Runners()


def serve(
    *,
    store_dir: Path,
    endpoint: str = "tcp://127.0.0.1:7447",
    weights_dir: Path | None = None,
    device: str = "auto",
    threads: int = 0,
    allow_remote: bool = False,
    plate_roots: Sequence[Path] = (),
    store_gb: float | None = None,
    features_mb: int = Settings.features_mb,
    runners: Runners = _RUNNERS,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then end the worker, whose job the next daemon on this store takes up.

    Args:
        store_dir: one daemon per store.
        endpoint: port ``*`` takes a free one.
        threads: CPU threads of the worker; 0 leaves that to the libraries.
        allow_remote: permit an endpoint that other machines can reach.
        plate_roots: folders below which plates may be read by their pattern; none means anywhere.
        store_gb: what all mattes may have on disk, in 10⁹ bytes; superseded ones above that are deleted, the oldest
            first. None deletes none on its own.
        features_mb: what encoded frames may have on disk, all sessions together, MiB; the least recently used go first.
        runners: what the worker runs.
        on_ready: called once with the endpoint as bound, when clients can connect.

    Raises:
        PortTakenError, StoreError, SettingError: one sentence, before anything is served.
    """
    require_local(endpoint, allow_remote=allow_remote)
    welcome = _welcome(weights_dir, device)
    with ExitStack() as stack:
        inbox = Inbox()
        store = Store(store_dir, act=inbox.put)
        stack.callback(store.close)
        environment = {} if threads == 0 else {"OMP_NUM_THREADS": str(threads)}
        feature_bytes = features_mb << 20
        shots = Shots(
            store, plate_roots=plate_roots, device=device, weights_dir=weights_dir, feature_bytes=feature_bytes
        )
        server = Server(endpoint, welcome, inbox, worker_state=lambda: pool.state)
        pruner = Pruner(store, None if store_gb is None else int(store_gb * 1e9), keep_feature_bytes=feature_bytes)
        dispatcher = Dispatcher(store, shots, Writers(store.index), pruner, send=server.send)
        pool = WorkerPool(
            on_event=lambda event: inbox.put(lambda: dispatcher.handle_worker(event)),
            runners=runners,
            environment=environment,
        )
        inbox.put(lambda: dispatcher.start(pool))
        acting = threading.Thread(target=inbox.run, name="rotomem-dispatch", daemon=True)
        acting.start()
        with _stopped_by_signals(server.stop):
            if on_ready is not None:
                on_ready(server.endpoint)
            log.info("listening at %s, store %s", server.endpoint, store.root)
            try:
                server.run(dispatcher)
            finally:
                pool.close()
                inbox.put(dispatcher.stop)
                inbox.close()
                acting.join()


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` at SIGTERM and SIGINT; only the main thread may listen to signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[signal.Signals, Any] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        previous[number] = signal.signal(number, lambda *_: stop())
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _welcome(weights_dir: Path | None, device: str) -> Welcome:
    """Say what this daemon can do."""
    try:
        return Welcome(
            protocol=PROTOCOL_MAX,
            server_version=__version__,
            epoch=uuid.uuid4().hex,
            engines=usable_engines(weights_dir),
            default_engine=default_engine(weights_dir),
            device=device,
        )
    except InvalidValueError as error:
        raise SettingError(f"the device is {device!r}; it must be auto, cpu, mps, cuda or cuda:N") from error
