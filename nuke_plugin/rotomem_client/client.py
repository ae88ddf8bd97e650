"""The blocking API for scripts and threads. (Signatures first: bodies follow.)"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional, Union

from rotomem_client.messages import JobCancelled, JobEvent, JobFinished, MatteReady, Plate, SessionState, Welcome
from rotomem_client.shapes import Shape

OnProgress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""
Cancelled = Callable[[], bool]


class Job:
    """One propagation."""

    id: str
    revision: int

    def events(self, timeout_s: Optional[float] = None) -> Iterator[JobEvent]:
        """Yield events until a final one; with ``timeout_s``, stop as well when none came for so long: call again.

        Raises:
            DaemonUnreachableError: the daemon was away for longer than the client's ``timeout_s``.
        """
        raise NotImplementedError

    @property
    def done(self) -> bool:
        """A final event was yielded."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ask to stop after the current frame; ``events`` then ends with ``JobCancelled``."""
        raise NotImplementedError

    def wait(self) -> Union[JobFinished, JobCancelled]:
        """Consume the events. Raises ``JobFailedError``."""
        raise NotImplementedError


class Client:
    """A connection to one daemon; every method may be called from any thread but those of its callbacks."""

    def __init__(self, endpoint: str, *, name: str = "rotomem", timeout_s: float = 10.0) -> None:
        raise NotImplementedError

    def connect(self) -> Welcome:
        """Raises ``DaemonUnreachableError`` within ``timeout_s``, ``VersionError``."""
        raise NotImplementedError

    def open_session(self, session_id: str, plate: Plate, objects: Sequence[str]) -> SessionState:
        raise NotImplementedError

    def upload_frames(
        self,
        session_id: str,
        files: Mapping[int, Path],
        *,
        on_progress: Optional[OnProgress] = None,
        cancelled: Optional[Cancelled] = None,
    ) -> int:
        """Return the bytes sent. Raises ``TransferError``, also when ``cancelled()`` turned true."""
        raise NotImplementedError

    def put_annotation(
        self,
        session_id: str,
        frame: int,
        object_name: str,
        *,
        shapes: Sequence[Shape] = (),
        alpha: Optional[Path] = None,
        absent: bool = False,
    ) -> int:
        """Return the session's new revision."""
        raise NotImplementedError

    def remove_annotation(self, session_id: str, frame: int, object_name: str) -> int:
        raise NotImplementedError

    def propagate(
        self,
        session_id: str,
        first: int,
        last: int,
        *,
        handles: int = 0,
        engine: str = "auto",
        device: str = "auto",
        refine_edges: bool = True,
    ) -> Job:
        raise NotImplementedError

    def resume_job(self, job_id: str, have: Sequence[int] = ()) -> Job:
        """Take up a job of an earlier connection or process; mattes of frames in ``have`` are not told again."""
        raise NotImplementedError

    def list_mattes(self, session_id: str, revision: int) -> list[MatteReady]:
        raise NotImplementedError

    def fetch_matte(self, ready: MatteReady, destination: Path) -> Path:
        """Write the matte to ``destination`` (``.part``, verified, ``os.replace``); resumes what was there."""
        raise NotImplementedError

    def ping(self) -> str:
        """Return the worker's state: ``idle``, ``busy`` or ``none``."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Client:
        raise NotImplementedError

    def __exit__(self, *exception: object) -> None:
        raise NotImplementedError
