"""What the daemon does about each message: requests become actions, worker events become messages. No sockets."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import sqlite3
import uuid
from collections.abc import Callable
from typing import Protocol

from rotomem.daemon.job_ends import FinalEvent, final_event
from rotomem.daemon.prompting import Outcome as PromptOutcome
from rotomem.daemon.prompting import PromptDesk
from rotomem.daemon.pruning import Pruner
from rotomem.daemon.refusals import ReusedIdError, UnknownJobError
from rotomem.daemon.rows import JobRow, MatteRow
from rotomem.daemon.sessions import Edit, SessionRequests
from rotomem.daemon.shots import Shots, matte_ready
from rotomem.daemon.store import Store
from rotomem.daemon.tracing import Outcome, Tracer, TraceTask
from rotomem.daemon.transfers import PeerTransfers
from rotomem.daemon.uploads import store_error
from rotomem.daemon.worker import (
    JobProgressed,
    JobStarted,
    JobWrote,
    Task,
    WorkerEvent,
)
from rotomem.daemon.writers import Writers
from rotomem.errors import RotomemError, SettingError, StoreError
from rotomem.session.shot import PropagationTask
from rotomem_client.codec import MAGIC, Envelope, decode, encode
from rotomem_client.errors import ClientError
from rotomem_client.messages import (
    Cancel,
    CancelAccepted,
    Chunk,
    Credit,
    ErrorReply,
    FetchMatte,
    FramePrompted,
    Goodbye,
    Hello,
    Introduce,
    JobAccepted,
    JobCancelled,
    JobEvent,
    JobFailed,
    JobResumed,
    MatteReady,
    MattesVectorized,
    Message,
    OfferFrames,
    Progress,
    PromptFrame,
    Propagate,
    ProposeMotion,
    Reply,
    ResumeJob,
    SuggestFrames,
    VectorizeMattes,
    sentence,
)

log = logging.getLogger(__name__)

JOB_KINDS = {Propagate: "propagate", ProposeMotion: "motion", SuggestFrames: "suggest"}
MAX_ATTEMPTS = 2
"""A job that was running when the daemon died is taken up by the next one, but not if that died of it as well."""

Send = Callable[[bytes, Message, str], None]
"""Queues a message for a peer, with the id of the request that it answers."""


class Jobs(Protocol):
    """Where jobs are run; ``WorkerPool`` is one."""

    def submit(self, job_id: str, task: Task, *, priority: int = 1) -> None: ...

    def cancel(self, job_id: str) -> None: ...


class Dispatcher:
    """The daemon's mind. One thread calls it.

    Args:
        send: must not block.
    """

    def __init__(self, store: Store, shots: Shots, writers: Writers, pruner: Pruner, *, send: Send) -> None:
        self._store = store
        self._shots = shots
        self._writers = writers
        self._pruner = pruner
        self._sessions = SessionRequests(store, shots, writers, pruner)
        self._send = send
        self._tracer = Tracer()
        self._prompts = PromptDesk()
        self._jobs: Jobs
        self._peers: dict[bytes, PeerTransfers] = {}
        self._followers: dict[str, set[bytes]] = {}
        self._warnings: dict[str, list[str]] = {}
        self._spoiled: dict[str, StoreError] = {}

    def start(self, jobs: Jobs) -> None:
        """Take up the jobs that an earlier daemon had accepted and not ended."""
        self._jobs = jobs
        for job in self._store.index.open_jobs():
            if job.state == "cancelling":
                made = [matte for matte in self._store.index.mattes_of_job(job.id) if not matte.preview]
                self._end_job(JobCancelled(job.id, len(made)))
                continue
            if job.attempts >= MAX_ATTEMPTS:
                text = f"the daemon stopped {job.attempts} times while it ran this job; its mattes are kept"
                self._end_job(JobFailed(job.id, "DAEMON_RESTARTED", text))
                continue
            log.info("taking up job %s of session %s", job.id, job.session)
            self._submit(job)
        self._pruner.keep_bound()

    def stop(self) -> None:
        """Leave running jobs to the next daemon; ending this one on purpose is no failed attempt of theirs."""
        for job in self._store.index.open_jobs():
            if job.state == "running":
                self._store.index.set_job(job.id, state="queued", attempts=job.attempts - 1)
        for transfers in self._peers.values():
            transfers.close()
        self._prompts.close()

    # --- clients ------------------------------------------------------------------------------------------------------

    def handle(self, peer: bytes, envelope: Envelope) -> None:
        """Act on one message of one client; every request is answered, whatever happens."""
        try:
            self._handle(peer, envelope)
        except RotomemError as error:
            self._refuse(peer, envelope, error.code, str(error))
        except ClientError as error:
            self._refuse(peer, envelope, "PROTOCOL", str(error))
        except sqlite3.Error as error:
            log.exception("the index refused %s", envelope.message.type_name)
            self._refuse(peer, envelope, StoreError.code, f"the store's index cannot be written: {error}")
        except OSError as error:
            log.exception("the store refused %s", envelope.message.type_name)
            refusal = store_error(error, self._store.root)
            self._refuse(peer, envelope, refusal.code, str(refusal))
        except Exception as error:
            # A fault of ours in one request must not end the daemon that other artists use.
            log.exception("%s failed", envelope.message.type_name)
            text = (
                f"the daemon failed at {envelope.message.type_name} ({type(error).__name__}); its log has the details"
            )
            self._refuse(peer, envelope, RotomemError.code, text)

    def forget(self, peer: bytes) -> None:
        """A client is gone. Its jobs go on; its uploads wait."""
        self._writers.leave(peer)
        transfers = self._peers.pop(peer, None)
        for followers in self._followers.values():
            followers.discard(peer)
        if transfers is not None:
            offered = set(transfers.offers)
            transfers.close()
            for sha256 in offered.difference(*(other.offers for other in self._peers.values())):
                self._store.uploads.pause(sha256)

    def _handle(self, peer: bytes, envelope: Envelope) -> None:
        message, request_id = envelope.message, envelope.request_id
        if isinstance(message, Hello):
            log.info("%s %s has connected", message.client, message.client_version)
            self._transfers(peer).open()
            self._writers.greet(peer, message.client)
        elif isinstance(message, Introduce):
            self._writers.introduce(peer, message.client_id, message.user)
        elif isinstance(message, Goodbye):
            self._writers.leave(peer)
        elif isinstance(message, Chunk):
            self._transfers(peer).take_chunk(message, request_id)
        elif isinstance(message, Credit):
            self._transfers(peer).take_credit(message.granted)
        elif isinstance(message, FetchMatte):
            self._transfers(peer).fetch(message, request_id)
        elif isinstance(message, (Edit, Propagate, ProposeMotion, SuggestFrames)):
            self._answer_once(peer, message, request_id)
        elif isinstance(message, ResumeJob):
            self._resume(peer, message, request_id)
        elif isinstance(message, VectorizeMattes):
            self._vectorize(peer, message, request_id)
        elif isinstance(message, PromptFrame):
            self._prompt(peer, message, request_id)
        else:
            self._send(peer, self._answer(peer, message), request_id)

    def _answer(self, peer: bytes, message: Message) -> Reply:
        if isinstance(message, OfferFrames):
            self._sessions.require_offer(peer, message)
            return self._transfers(peer).offer(message)
        if isinstance(message, Cancel):
            return self._cancel(message)
        return self._sessions.answer(peer, message)

    def _vectorize(self, peer: bytes, message: VectorizeMattes, request_id: str) -> None:
        """Have mattes vectorized elsewhere, and answer when that is done."""
        files = self._shots.plate_files(self._store.session(message.session_id), message.frames)

        def answer(outcome: Outcome) -> None:
            try:
                if isinstance(outcome, RotomemError):
                    raise outcome
                reply: Reply = MattesVectorized(message.session_id, message.object_name, outcome)
            except RotomemError as error:
                reply = ErrorReply(error.code, sentence(str(error)))
            except ClientError as error:
                reply = ErrorReply(SettingError.code, sentence(str(error)))
            self._send(peer, reply, request_id)

        self._tracer.start(TraceTask(files, message.object_name, message.tolerance), answer)

    def _prompt(self, peer: bytes, message: PromptFrame, request_id: str) -> None:
        """Have a prompt answered elsewhere, and tell the answer when it is there."""
        task = self._shots.prompt_task(self._store.session(message.session_id), message)

        def answer(outcome: PromptOutcome) -> None:
            if isinstance(outcome, RotomemError):
                reply: Reply = ErrorReply(outcome.code, sentence(str(outcome)))
            else:
                content, score = outcome
                reply = FramePrompted(message.session_id, message.frame, message.object_name, score, content)
            self._send(peer, reply, request_id)

        self._prompts.start(task, answer)

    def _answer_once(
        self, peer: bytes, message: Edit | Propagate | ProposeMotion | SuggestFrames, request_id: str
    ) -> None:
        """Carry a request out, or repeat the answer if it was carried out before; both in one transaction."""
        digest = hashlib.sha256(b"".join(encode(message))).hexdigest()
        answered = self._store.index.reply(request_id)
        if answered is not None:
            if answered[0] != digest:
                raise ReusedIdError(
                    f"the request id {request_id} was used for another request; send it under a new one"
                )
            reply = decode([MAGIC, answered[1]]).message
            self._send(peer, reply, request_id)
            if isinstance(reply, JobAccepted):
                self._replay(peer, self._job(reply.job_id), frozenset())
            return
        job: JobRow | None = None
        with self._store.transaction():
            if isinstance(message, (Propagate, ProposeMotion, SuggestFrames)):
                job = self._accept(peer, message)
                stored: Reply = JobAccepted(job.id, job.revision)
            else:
                stored = self._sessions.edit(peer, message)
            self._store.index.put_reply(request_id, digest, encode(stored)[1])
        self._send(peer, stored, request_id)
        if job is not None:
            self._followers.setdefault(job.id, set()).add(peer)
            self._submit(job)

    def _cancel(self, message: Cancel) -> CancelAccepted:
        job = self._job(message.job_id)
        if not job.final:
            self._jobs.cancel(job.id)
            # Stored before it is acknowledged: should this daemon end first, the next one must not take the job up.
            self._store.index.set_job(job.id, state="cancelling", attempts=job.attempts)
        return CancelAccepted(message.job_id)

    def _resume(self, peer: bytes, message: ResumeJob, request_id: str) -> None:
        job = self._job(message.job_id)
        # A job that is being cancelled runs until its end is told.
        self._send(peer, JobResumed(job.id, "running" if job.state == "cancelling" else job.state), request_id)
        self._replay(peer, job, frozenset(message.have))

    def _replay(self, peer: bytes, job: JobRow, have: frozenset[int]) -> None:
        """Tell of a job what a client has missed, and from now on everything."""
        for matte in self._store.index.mattes_of_job(job.id):
            if matte.frame not in have:
                self._send(peer, self._ready(matte), "")
        if job.final:
            self._send(peer, decode([MAGIC, job.final]).message, "")
        else:
            self._followers.setdefault(job.id, set()).add(peer)

    def _refuse(self, peer: bytes, envelope: Envelope, code: str, text: str) -> None:
        self._send(peer, ErrorReply(code, sentence(text)), envelope.request_id)

    def _transfers(self, peer: bytes) -> PeerTransfers:
        if peer not in self._peers:
            self._peers[peer] = PeerTransfers(self._store, lambda message, id_: self._send(peer, message, id_))
        return self._peers[peer]

    # --- jobs ---------------------------------------------------------------------------------------------------------

    def handle_worker(self, event: WorkerEvent) -> None:
        """Act on what the worker says: store first, then tell."""
        job = self._store.index.job(event.job_id)
        if job is None:
            log.error("the worker speaks of job %s, which nobody accepted", event.job_id)
        elif isinstance(event, JobStarted):
            state = "cancelling" if job.state == "cancelling" else "running"
            self._store.index.set_job(job.id, state=state, attempts=job.attempts + 1)
        elif isinstance(event, JobProgressed):
            progress = event.progress
            speed = min(max(progress.frames_per_second, 0.0), 1e9)
            self._tell(Progress(job.id, progress.done, progress.total, progress.phase, speed))
        elif isinstance(event, JobWrote):
            self._keep_matte(job, event)
        else:
            spoiled = self._spoiled.pop(job.id, None)
            self._end_job(final_event(job.id, event, self._warnings.get(job.id, ()), spoiled))

    def _accept(self, peer: bytes, request: Propagate | ProposeMotion | SuggestFrames) -> JobRow:
        session = self._store.session(request.session_id)
        if not isinstance(request, SuggestFrames):
            self._writers.require(peer, session.id)
            self._shots.require_ready(session, request)
            self._shots.note_plate_files(session, request)
            session = self._store.session(request.session_id)
        fields = {field.name: getattr(request, field.name) for field in dataclasses.fields(request)}
        job = JobRow(
            id=uuid.uuid4().hex,
            session=session.id,
            revision=session.revision,
            plate=session.plate,
            object_ids=session.object_ids,
            request=fields,
            state="queued",
            attempts=0,
            final=b"",
            kind=JOB_KINDS[type(request)],
        )
        self._store.index.put_job(job)
        return job

    def _submit(self, job: JobRow) -> None:
        try:
            task = self._task(job)
        except (RotomemError, sqlite3.Error) as error:
            code = error.code if isinstance(error, RotomemError) else StoreError.code
            self._end_job(JobFailed(job.id, code, sentence(str(error))))
            return
        self._jobs.submit(job.id, task, priority=job.request.get("priority", 1))

    def _task(self, job: JobRow) -> Task:
        if job.kind == "suggest":
            return self._shots.suggestion_task(job)
        if job.kind == "motion":
            return self._shots.motion_task(job, self._store.new_matte_pattern(job.session, job.revision, job.id))
        return self._propagation(job)

    def _propagation(self, job: JobRow) -> PropagationTask:
        """Return a propagation's task; what it need not make is listed and told at once."""
        pattern = self._store.new_matte_pattern(job.session, job.revision, job.id)
        with self._store.transaction():
            kept = self._store.keep_mattes(self._shots.current_mattes(job), job, pattern)
        for matte in kept:
            self._tell(self._ready(matte))
        task, self._warnings[job.id] = self._shots.task(job, [matte.frame for matte in kept], pattern)
        return task

    def _ready(self, matte: MatteRow) -> MatteReady:
        session = self._store.session(matte.session)
        return matte_ready(matte, stale=matte.frame not in self._shots.staleness.fresh(session, [matte]))

    def _keep_matte(self, job: JobRow, event: JobWrote) -> None:
        written = event.matte
        matte = MatteRow(
            session=job.session,
            revision=job.revision,
            frame=written.frame,
            job=job.id,
            sha256=written.sha256,
            size=written.size,
            path=str(written.path),
            annotated=written.annotated,
            engine=written.engine or str(job.request["engine"]),
            made_revision=job.revision,
            confidence=written.confidence,
            weights_sha256=written.weights_sha256,
            preview=written.preview,
        )
        try:
            with self._store.transaction():
                self._store.index.put_matte(matte)
        except sqlite3.Error as error:
            log.exception("the matte of frame %d cannot be entered into the index", written.frame)
            text = (
                f"the matte of frame {written.frame} cannot be entered into the store's index: {error}; free its disk"
            )
            self._spoiled[job.id] = StoreError(text)
            self._jobs.cancel(job.id)
            return
        self._tell(self._ready(matte))

    def _end_job(self, final: FinalEvent) -> None:
        states = {JobFailed: "failed", JobCancelled: "cancelled"}
        job = self._job(final.job_id)
        try:
            state = states.get(type(final), "finished")
            self._store.index.set_job(job.id, state=state, attempts=job.attempts, final=encode(final)[1])
        except sqlite3.Error:
            # Told all the same; the next daemon would repeat the job, which does no harm.
            log.exception("the end of job %s cannot be entered into the index", job.id)
        self._tell(final)
        self._followers.pop(job.id, None)
        self._warnings.pop(job.id, None)
        try:
            self._pruner.keep_bound()
        except (sqlite3.Error, OSError):
            log.exception("superseded mattes could not be deleted")

    def _tell(self, event: JobEvent) -> None:
        for peer in self._followers.get(event.job_id, ()):
            self._send(peer, event, "")

    def _job(self, job_id: str) -> JobRow:
        job = self._store.index.job(job_id)
        if job is None:
            raise UnknownJobError(f"there is no job {job_id} in this store; propagate again")
        return job
