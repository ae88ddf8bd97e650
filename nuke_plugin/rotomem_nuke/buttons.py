"""What every button of the node needs: its node, why it may not start, and waiting for the daemon's answer."""

from __future__ import annotations

import threading
from typing import Callable, TypeVar

from rotomem_nuke import host, runs
from rotomem_nuke.background import work_then
from rotomem_nuke.errors import GraphError, PluginError, RenderCancelled
from rotomem_nuke.node import RotomemNode
from rotomem_nuke.propagation import explain

T = TypeVar("T")
Say = Callable[[str], None]
Stopped = Callable[[], bool]

asking: dict[str, threading.Event] = {}
"""Nodes that wait for a suggestion, a bake or a click, with what ends the wait."""


def node_of_button(node: host.Node) -> RotomemNode | None:
    """Return the node whose button was pressed; None where it is none of ours, which is told."""
    try:
        return RotomemNode.of(node)
    except PluginError as error:
        refuse(node, error)
        return None


def require_idle(rotomem: RotomemNode) -> None:
    """Raise while the node works or waits."""
    if runs.running(rotomem.identifier) is not None:
        raise GraphError(f"{rotomem.name} is propagating already; press stop first")
    if rotomem.identifier in asking:
        raise GraphError(f"{rotomem.name} waits for the daemon; press stop first")


def require_ready(rotomem: RotomemNode) -> None:
    """Raise unless mattes may be made now."""
    require_idle(rotomem)
    require_thawed(rotomem)


def require_thawed(rotomem: RotomemNode) -> None:
    """Raise where the version is frozen."""
    settings = rotomem.settings()
    if settings.frozen:
        raise GraphError(
            f"{rotomem.name} v{settings.version:03d} is frozen; press 'version up', or switch 'freeze' off first"
        )


def ask_daemon(rotomem: RotomemNode, work: Callable[[Say, Stopped], T], then: Callable[[T], object]) -> None:
    """Run what waits for the daemon's answer and makes no matte; Stop ends it, and a failure is a status line.

    Args:
        work: told how to say what it does, and how to ask whether to stop; no call of Nuke's API.
        then: given the answer, on the main thread, while the node is there.
    """
    identifier, stop = rotomem.identifier, threading.Event()
    asking[identifier] = stop

    def say(sentence: str) -> None:
        host.later(lambda: show_status(rotomem, sentence))

    def answered(answer: T) -> None:
        asking.pop(identifier, None)
        if rotomem.attached:
            then(answer)

    def failed(error: Exception) -> None:
        asking.pop(identifier, None)
        cancelled = isinstance(error, RenderCancelled)
        show_status(rotomem, str(error) if cancelled else f"failed: {explain(error)}")

    work_then(lambda: work(say, stop.is_set), answered, failed)


def show_status(rotomem: RotomemNode, sentence: str) -> None:
    if rotomem.attached:
        with host.unrecorded():
            rotomem.show_status(sentence)


def refuse_later(node: host.Node, error: Exception) -> None:
    """As ``refuse``, of work that ended by any exception."""
    refuse(node, PluginError(explain(error)))


def refuse(node: host.Node, error: PluginError) -> None:
    """Tell why nothing starts: a message to whoever just pressed the button, an exception to a script."""
    if not host.gui():
        raise error
    if "status" in node.knobs():
        node["status"].setValue(f"failed: {error}")
    host.show_message(f"Rotomem: {error}")
