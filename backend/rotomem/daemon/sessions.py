"""What clients ask about sessions, and change in them; the dispatcher does the rest."""

from __future__ import annotations

import logging

from rotomem.daemon.edits import identifier_of
from rotomem.daemon.pruning import Pruner
from rotomem.daemon.rows import AnnotationRow, SessionRow
from rotomem.daemon.shots import Shots, matte_ready
from rotomem.daemon.store import Store
from rotomem.daemon.writers import Writers
from rotomem_client.messages import (
    MAX_LISTED_MATTES,
    MAX_LISTED_SESSIONS,
    AnnotationContent,
    AnnotationStored,
    AnnotationUndone,
    ErrorReply,
    GetAnnotation,
    ListMattes,
    ListSessions,
    MatteList,
    Message,
    ObjectsStored,
    OfferFrames,
    OpenSession,
    PruneStore,
    PutAnnotation,
    RedoAnnotation,
    RemoveAnnotation,
    RemoveObject,
    RemoveSession,
    RenameObject,
    Reply,
    SessionList,
    SessionState,
    SetObjects,
    StoredSession,
    StorePruned,
    TakeOver,
    UndoAnnotation,
)

log = logging.getLogger(__name__)

Edit = PutAnnotation | RemoveAnnotation | UndoAnnotation | RedoAnnotation | SetObjects | RenameObject | RemoveObject
"""Requests that change a session, each carried out once."""


class SessionRequests:
    """Answers what needs neither a job nor a transfer."""

    def __init__(self, store: Store, shots: Shots, writers: Writers, pruner: Pruner) -> None:
        self._store = store
        self._shots = shots
        self._writers = writers
        self._pruner = pruner

    # --- changes ------------------------------------------------------------------------------------------------------

    def edit(self, peer: bytes, message: Edit) -> Reply:
        """Change a session for its writer; call it within the transaction that stores the answer.

        Raises:
            ConflictError: another client writes the session.
            RotomemError: as ``Edits``.
        """
        session = self._store.session(message.session_id)
        self._writers.require(peer, session.id)
        edits = self._store.edits
        if isinstance(message, PutAnnotation):
            return AnnotationStored(session.id, edits.put_annotation(session, message))
        if isinstance(message, RemoveAnnotation):
            return AnnotationStored(session.id, edits.remove_annotation(session, message))
        if isinstance(message, (UndoAnnotation, RedoAnnotation)):
            redo = isinstance(message, RedoAnnotation)
            revision, row = edits.redo(session) if redo else edits.undo(session)
            name = dict(session.object_ids)[row.object_id]
            return AnnotationUndone(session.id, revision, row.frame, name, _told(row))
        if isinstance(message, SetObjects):
            changed = edits.set_objects(session, message.objects)
        elif isinstance(message, RenameObject):
            changed = edits.rename_object(session, message.object_name, message.new_name)
        else:
            changed = edits.remove_object(session, message.object_name)
        return ObjectsStored(changed.id, changed.revision, changed.objects)

    def require_offer(self, peer: bytes, message: OfferFrames) -> None:
        """Refuse other content for a frame of a plate that another client writes."""
        if message.role == "plate" and self._store.rebinds_frames(message):
            self._writers.require(peer, message.session_id)

    # --- answers ------------------------------------------------------------------------------------------------------

    def answer(self, peer: bytes, message: Message) -> Reply:
        """Answer a request that may be repeated without harm."""
        if isinstance(message, OpenSession):
            return self._open(peer, message)
        if isinstance(message, TakeOver):
            session = self._store.session(message.session_id)
            self._writers.take_over(peer, session.id)
            return self._state(peer, session)
        if isinstance(message, GetAnnotation):
            return self._annotation(message)
        if isinstance(message, ListMattes):
            return self._list_mattes(message)
        if isinstance(message, ListSessions):
            return self._list_sessions(message)
        if isinstance(message, RemoveSession):
            session = self._store.session(message.session_id)
            with self._store.transaction():
                self._writers.require(peer, session.id)
            return StorePruned(*self._pruner.remove_session(session.id))
        if isinstance(message, PruneStore):
            return StorePruned(*self._pruner.prune(message.keep_bytes))
        return ErrorReply("PROTOCOL", f"a client must not send {message.type_name}")

    def _open(self, peer: bytes, message: OpenSession) -> SessionState:
        found = self._store.index.session(message.session_id)
        if found is not None and self._store.would_change(found, message):
            with self._store.transaction():
                self._writers.require(peer, found.id)
        return self._state(peer, self._store.open_session(message))

    def _state(self, peer: bytes, session: SessionRow) -> SessionState:
        holder = self._writers.holder(session.id)
        return self._shots.state(session, holder, writing=self._writers.is_holder(peer, holder))

    def _annotation(self, message: GetAnnotation) -> AnnotationContent:
        session = self._store.session(message.session_id)
        object_id = identifier_of(session.object_ids, message.object_name)
        row = None if object_id is None else self._store.index.annotation(session.id, message.frame, object_id)
        row = row or AnnotationRow(message.frame, "", "removed")
        return AnnotationContent(
            *(session.id, session.revision, message.frame, message.object_name, _told(row)),
            shapes=row.shapes,
            alpha_sha256=row.alpha_sha256,
        )

    def _list_mattes(self, message: ListMattes) -> MatteList:
        session = self._store.session(message.session_id)
        limit = MAX_LISTED_MATTES + 1
        if message.older:
            rows = self._store.index.shown_mattes(session.id, message.revision, after=message.after, limit=limit)
        else:
            rows = self._store.index.mattes(session.id, message.revision, message.after, limit)
        page = rows[:MAX_LISTED_MATTES]
        fresh = self._shots.staleness.fresh(session, page)
        listed = tuple(matte_ready(row, stale=row.frame not in fresh) for row in page)
        return MatteList(listed, len(rows) > MAX_LISTED_MATTES)

    def _list_sessions(self, message: ListSessions) -> SessionList:
        rows = self._store.index.sessions_after(message.after, MAX_LISTED_SESSIONS + 1)
        sessions = tuple(
            StoredSession(row.id, row.revision, self._pruner.size_of(row.id), row.used_at)
            for row in rows[:MAX_LISTED_SESSIONS]
        )
        return SessionList(sessions, len(rows) > MAX_LISTED_SESSIONS)


def _told(row: AnnotationRow) -> str:
    return "none" if row.kind == "removed" else row.kind
