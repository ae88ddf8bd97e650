"""``rotomem sessions`` against a real daemon."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from daemon_process import DaemonProcess

from rotomem.cli import main
from rotomem_client.client import Client
from rotomem_client.messages import Plate


def test_sessions_are_listed_pruned_and_removed(
    daemon: DaemonProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.exr").write_bytes(b"plate")
    with Client(daemon.endpoint, timeout_s=20.0) as client:
        client.open_session("sh010", Plate(1, 4, str(tmp_path / "p.exr")), ["hero"])
        client.put_annotation("sh010", 3, "hero", absent=True)
        for _ in range(2):
            client.propagate("sh010", 1, 4, engine="copy", remake=True).wait()

    def rotomem(*arguments: str) -> str:
        assert main(["sessions", "--endpoint", daemon.endpoint, *arguments]) == 0
        return capsys.readouterr().out

    assert re.fullmatch(r"sh010  revision 1  0\.00 GB  \d{4}-\d\d-\d\d \d\d:\d\d\n", rotomem("list"))
    assert rotomem("prune").startswith("4 superseded mattes are deleted, 0.00 GB")
    assert rotomem("prune").startswith("0 superseded")
    assert rotomem("remove", "sh010").startswith("sh010 is removed: 4 files")
    assert rotomem("list") == ""
    assert main(["sessions", "--endpoint", daemon.endpoint, "remove", "sh010"]) == 7
    assert "there is no session 'sh010' in this store" in capsys.readouterr().err


def test_a_bound_that_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--store-gb", "-1"]) == 2
    assert "--store-gb is -1.0" in capsys.readouterr().err
