"""Where the daemon listens, and where it does not unless it is told to."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from rotomem.daemon import serve
from rotomem.daemon.server import require_local
from rotomem.errors import SettingError


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:7447", "tcp://127.1.2.3:*", "tcp://localhost:7447", "tcp://[::1]:7447", "ipc:///run/rotomem"],
)
def test_this_machine_alone_needs_no_permission(endpoint: str) -> None:
    require_local(endpoint, allow_remote=False)


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:7447", "tcp://*:7447", "tcp://192.168.1.5:7447", "tcp://[::]:1"])
def test_other_machines_need_permission_and_are_warned_of(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SettingError, match="whoever reaches it can use this daemon"):
        require_local(endpoint, allow_remote=False)
    with caplog.at_level(logging.WARNING):
        require_local(endpoint, allow_remote=True)
    assert "nothing is encrypted" in caplog.text


@pytest.mark.parametrize("endpoint", ["", "7447", "http://127.0.0.1:1", "tcp://", "tcp://127.0.0.1", "ipc://"])
def test_what_is_no_endpoint_is_told(endpoint: str) -> None:
    with pytest.raises(SettingError, match="write it like tcp://127"):
        require_local(endpoint, allow_remote=True)


def test_an_address_of_another_machine_cannot_be_bound(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="choose an address of this machine"):
        serve(store_dir=tmp_path / "store", endpoint="tcp://192.0.2.1:7447", allow_remote=True)


def test_a_device_that_is_none_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="the device is 'gpu'"):
        serve(store_dir=tmp_path / "store", device="gpu")
    assert not (tmp_path / "store").exists()
