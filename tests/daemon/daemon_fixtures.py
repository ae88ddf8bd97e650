"""Fixtures of real daemons; the conftest.py of each folder that needs them imports them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_process import DaemonProcess


@pytest.fixture(scope="module")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One daemon for the tests of a module that leave it as it is; each takes a ``session`` of its own."""
    started = DaemonProcess(tmp_path_factory.mktemp("shared_daemon"))
    yield started
    started.kill()


@pytest.fixture
def session() -> str:
    """A session that no other test has."""
    return f"sh_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    started = DaemonProcess(tmp_path)
    yield started
    started.kill()
