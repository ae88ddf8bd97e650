"""Who may change a session: one client at a time, until it leaves, rests, or another one takes over."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from rotomem.daemon.index import Index
from rotomem.daemon.refusals import ConflictError
from rotomem.daemon.rows import WriterRow

IDLE_S = 600.0
"""A writer that changed nothing for so long holds its session no more."""
RETURN_S = 30.0
"""How long after a start of the daemon its earlier writers may come back."""


@dataclass(frozen=True)
class _Client:
    id: str
    user: str


class Writers:
    """The clients that are connected, and which of them write which session.

    Args:
        clock: seconds since 1970; kept in the index, so that a hold survives a restart.
    """

    def __init__(self, index: Index, *, clock: Callable[[], float] = time.time) -> None:
        self._index = index
        self._clock = clock
        self._started = clock()
        self._clients: dict[bytes, _Client] = {}

    def greet(self, peer: bytes, name: str) -> None:
        """A client has said hello; until it introduces itself its connection stands for it."""
        self._clients[peer] = _Client(f"connection-{peer.hex()}"[:64], name)

    def introduce(self, peer: bytes, client_id: str, user: str) -> None:
        self._clients[peer] = _Client(client_id, user)

    def leave(self, peer: bytes) -> None:
        """A connection has ended; unless its client has another one, its holds end too."""
        client = self._clients.pop(peer, None)
        if client is not None and not self._connected(client.id):
            self._index.drop_writer(client.id)

    def require(self, peer: bytes, session_id: str) -> None:
        """Let a client change a session, and hold it from now on; call it within the change's transaction.

        Raises:
            ConflictError: another client holds it.
        """
        holder = self.holder(session_id)
        if holder is not None and holder.client_id != self._client(peer).id:
            since = time.strftime("%H:%M", time.localtime(holder.since))
            raise ConflictError(
                f"{holder.user} writes session {session_id!r} since {since}; you can look at it, and write it when "
                "they have closed it, or take it over"
            )
        self._hold(peer, session_id, holder)

    def take_over(self, peer: bytes, session_id: str) -> None:
        """Let a client hold a session, whoever holds it now."""
        holder = self.holder(session_id)
        self._hold(peer, session_id, holder if self.is_holder(peer, holder) else None)

    def holder(self, session_id: str) -> WriterRow | None:
        """Return who holds a session now."""
        writer = self._index.writer(session_id)
        if writer is None or self._clock() - writer.used_at > IDLE_S:
            return None
        may_return = self._clock() - self._started <= RETURN_S
        return writer if self._connected(writer.client_id) or may_return else None

    def is_holder(self, peer: bytes, holder: WriterRow | None) -> bool:
        return holder is not None and holder.client_id == self._client(peer).id

    def _hold(self, peer: bytes, session_id: str, held: WriterRow | None) -> None:
        client, now = self._client(peer), self._clock()
        writer = WriterRow(client.id, client.user, now, now) if held is None else replace(held, used_at=now)
        self._index.put_writer(session_id, writer)

    def _client(self, peer: bytes) -> _Client:
        return self._clients.get(peer) or _Client(f"connection-{peer.hex()}"[:64], "somebody")

    def _connected(self, client_id: str) -> bool:
        return any(client.id == client_id for client in self._clients.values())
