"""The client without a daemon, and on the Python of old Nukes."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
from pathlib import Path

import pytest

import rotomem_client
from rotomem_client.client import Client
from rotomem_client.errors import DaemonUnreachableError

PACKAGE = Path(rotomem_client.__file__).parent


@pytest.fixture
def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def test_a_daemon_that_does_not_run_costs_one_timeout_and_one_sentence(free_endpoint: str) -> None:
    with Client(free_endpoint, timeout_s=0.5) as client, pytest.raises(DaemonUnreachableError) as caught:
        client.connect()
    assert f"no daemon answers at {free_endpoint}" in str(caught.value)
    assert "rotomem serve" in str(caught.value)


def test_calls_fail_the_same_way(free_endpoint: str) -> None:
    with Client(free_endpoint, timeout_s=0.5) as client:
        with pytest.raises(DaemonUnreachableError):
            client.remove_annotation("s", 1, "hero")
        with pytest.raises(DaemonUnreachableError):
            client.ping()


def test_something_else_that_listens_there_is_no_daemon() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        endpoint = f"tcp://127.0.0.1:{other.getsockname()[1]}"
        with Client(endpoint, timeout_s=0.5) as client, pytest.raises(DaemonUnreachableError):
            client.connect()


def test_an_endpoint_that_is_none_is_told(free_endpoint: str) -> None:
    with Client("nonsense", timeout_s=0.5) as client, pytest.raises(DaemonUnreachableError, match="check the endpoint"):
        client.connect()


def test_a_closed_client_says_so(free_endpoint: str) -> None:
    client = Client(free_endpoint, timeout_s=0.5)
    client.close()
    with pytest.raises(DaemonUnreachableError, match="was closed"):
        client.connect()


def test_every_module_is_python_3_9() -> None:
    for path in sorted(PACKAGE.glob("*.py")):
        ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 9))


def test_zmq_is_imported_by_the_client_module_alone() -> None:
    importers = {
        path.name
        for path in PACKAGE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and any(name.split(".")[0] == "zmq" for name in _imported_names(node))
    }
    assert importers == {"client.py"}


def _imported_names(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]


def test_the_client_runs_on_python_3_9(python39_with_client_packages: str) -> None:
    program = (
        "import sys\n"
        "from rotomem_client.client import Client\n"
        "from rotomem_client.errors import DaemonUnreachableError\n"
        "from rotomem_client.codec import decode, encode\n"
        "from rotomem_client.messages import Propagate\n"
        "assert sys.version_info[:2] == (3, 9)\n"
        "assert decode(encode(Propagate('s', 1, 2), 'ab')).message == Propagate('s', 1, 2)\n"
        "try:\n    Client('tcp://127.0.0.1:9', timeout_s=0.3).connect()\n"
        "except DaemonUnreachableError as error:\n    print('told:', error)\n"
    )
    done = subprocess.run(
        [python39_with_client_packages, "-c", program],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "told: no daemon answers at tcp://127.0.0.1:9" in done.stdout, done.stderr
