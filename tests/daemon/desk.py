"""A daemon without sockets and worker: what clients send is acted on at once, and what a worker would tell is told."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, TypeVar

from rotomem.daemon.dispatch import Dispatcher
from rotomem.daemon.pruning import Pruner
from rotomem.daemon.shots import Shots
from rotomem.daemon.store import Store
from rotomem.daemon.worker import JobEnded, JobStarted, JobWrote, Task
from rotomem.daemon.writers import Writers
from rotomem.session.shot import MatteWritten, PropagationSummary, PropagationTask
from rotomem_client.codec import decode, encode
from rotomem_client.messages import ErrorReply, Hello, Introduce, Message, Reply, Request

Answer = TypeVar("Answer", bound=Reply)


class Desk:
    """One daemon on one store, and the jobs that it would run.

    Args:
        now: seconds; the clock of the writers, moved by the test.
    """

    def __init__(
        self,
        root: Path,
        *,
        now: float = 1000.0,
        keep_bytes: Optional[int] = None,
        keep_feature_bytes: Optional[int] = None,
    ) -> None:
        self.now = now
        self.root = root
        self.keep_bytes = keep_bytes
        self.keep_feature_bytes = keep_feature_bytes
        self.start()

    def start(self) -> None:
        """Be a daemon that has just started on the store."""
        self.store = Store(self.root)
        self.pruner = Pruner(self.store, self.keep_bytes, keep_feature_bytes=self.keep_feature_bytes)
        self.jobs: dict[str, Task] = {}
        self.priorities: dict[str, int] = {}
        self.sent: dict[bytes, list[tuple[Message, str]]] = {}
        writers = Writers(self.store.index, clock=lambda: self.now)
        self.dispatcher = Dispatcher(self.store, Shots(self.store), writers, self.pruner, send=self._send)
        self.dispatcher.start(self)

    def restart(self) -> None:
        """End this daemon, and be the next one on its store."""
        self.close()
        self.start()

    def close(self) -> None:
        self.dispatcher.stop()
        self.store.close()

    # --- clients ------------------------------------------------------------------------------------------------------

    def connect(self, peer: bytes, client_id: str, user: str = "") -> None:
        self._carry(peer, Hello(2, 2, "test", "0"), uuid.uuid4().hex)
        self._carry(peer, Introduce(client_id, user or client_id), "")

    def say(self, peer: bytes, message: Message) -> None:
        self._carry(peer, message, "")

    def ask(self, peer: bytes, message: Request, answer: type[Answer], request_id: str = "") -> Answer:
        """Return the answer, which must be of this kind."""
        request_id = request_id or uuid.uuid4().hex
        self._carry(peer, message, request_id)
        found = [told for told, id_ in self.sent[peer] if id_ == request_id][-1]
        assert isinstance(found, answer), found
        return found

    def refusal(self, peer: bytes, message: Request) -> tuple[str, str]:
        """Return the code and the sentence of a refusal."""
        error = self.ask(peer, message, ErrorReply)
        return error.code, error.message

    def events(self, peer: bytes) -> list[Message]:
        """Return what was told without being asked, and forget it."""
        told = [message for message, id_ in self.sent.get(peer, []) if not id_]
        self.sent[peer] = []
        return told

    def _carry(self, peer: bytes, message: Message, request_id: str) -> None:
        self.sent.setdefault(peer, [])
        self.dispatcher.handle(peer, decode(encode(message, request_id)))

    def _send(self, peer: bytes, message: Message, request_id: str) -> None:
        self.sent.setdefault(peer, []).append((decode(encode(message, request_id)).message, request_id))

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def submit(self, job_id: str, task: Task, *, priority: int = 1) -> None:
        self.jobs[job_id], self.priorities[job_id] = task, priority

    def cancel(self, job_id: str) -> None:
        raise AssertionError("these tests cancel nothing")

    def preview(self, job_id: str, frames: Sequence[int], engine: str = "warp") -> None:
        """Begin a job, and write previews as its worker would."""
        task = self.jobs[job_id]
        assert isinstance(task, PropagationTask)
        self.dispatcher.handle_worker(JobStarted(job_id))
        for frame in frames:
            self._write(job_id, task, frame, engine, preview=True)

    def run(self, job_id: str, engine: str = "warp", *, until: Optional[int] = None) -> list[int]:
        """Make what a job's worker would make, up to frame ``until``; return the frames that it made."""
        task = self.jobs[job_id]
        assert isinstance(task, PropagationTask)
        self.dispatcher.handle_worker(JobStarted(job_id))
        frames = [frame for frame in range(task.first, task.last + 1) if until is None or frame <= until]
        made = [frame for frame in frames if frame not in task.current]
        for frame in made:
            self._write(job_id, task, frame, engine)
        if until is None:
            summary = PropagationSummary(tuple(frames), engine, "", 0.1, (), tuple(task.current))
            self.dispatcher.handle_worker(JobEnded(job_id, summary))
        return made

    def _write(self, job_id: str, task: PropagationTask, frame: int, engine: str, *, preview: bool = False) -> None:
        path = Path(task.output_pattern % frame)
        content = f"frame {frame} revision {task.revision} {os.urandom(4).hex()}".encode()
        path.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        written = MatteWritten(frame, path, sha256, len(content), False, engine, confidence=0.5, preview=preview)
        self.dispatcher.handle_worker(JobWrote(job_id, written))
