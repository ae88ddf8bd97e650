"""A real daemon in a process of its own, on a free port, with the stand-in runner; for tests over sockets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_S = 60.0

_PROGRAM = """
import logging, os, sys
from pathlib import Path
from rotomem.daemon import serve
from rotomem.daemon.worker import Runners
from rotomem.errors import RotomemError

STAND_INS = Runners("stand_in_runner:run", "stand_in_runner:suggest")
RUNNERS = STAND_INS if sys.argv[4] == "stand-ins" else Runners()

def announce(endpoint):
    ready = Path(sys.argv[3])
    ready.with_suffix(".part").write_text(endpoint)
    os.replace(ready.with_suffix(".part"), ready)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    try:
        serve(store_dir=Path(sys.argv[1]), endpoint=sys.argv[2], runners=RUNNERS, on_ready=announce)
    except RotomemError as error:
        sys.exit(f"{error.code}: {error}")
"""


class DaemonProcess:
    """Starts at once and returns when clients can connect.

    Args:
        folder: holds the store, unless ``store`` is given, and the log.
        endpoint: port ``*`` takes a free one.
        real_engines: run what artists run, rather than the stand-in runner.
        wrapper: put before the command, such as ``unshare -rm …``.
    """

    def __init__(
        self,
        folder: Path,
        *,
        store: Path | None = None,
        endpoint: str = "tcp://127.0.0.1:*",
        wrapper: tuple[str, ...] = (),
        real_engines: bool = False,
    ) -> None:
        self.store = store or folder / "store"
        self.log = folder / "daemon.log"
        ready = folder / "ready"
        ready.unlink(missing_ok=True)
        work = "engines" if real_engines else "stand-ins"
        command = [*wrapper, sys.executable, "-c", _PROGRAM, str(self.store), endpoint, str(ready), work]
        environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        deadline = time.monotonic() + START_S
        while not ready.is_file():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the daemon did not start: {self.log.read_text()}")
            time.sleep(0.02)
        self.endpoint = ready.read_text()

    def worker_pids(self) -> list[int]:
        """Return the process ids of the daemon's worker, by /proc."""
        return [
            int(path.name)
            for path in Path("/proc").iterdir()
            if path.name.isdigit() and _is_worker_of(path, self.process.pid)
        ]

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        """End it as a power cut would, as far as processes go."""
        self.process.kill()
        self.process.wait()


def _is_worker_of(path: Path, parent: int) -> bool:
    try:
        ppid = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        return ppid == parent and b"spawn_main" in (path / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
