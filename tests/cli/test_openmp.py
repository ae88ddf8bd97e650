"""How threads wait is settled by Rotomem, unless whoever runs it has settled it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rotomem.openmp import SPINS, wait_briefly


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is undone, whatever is set afterwards
        del os.environ[name]


def test_threads_spin_briefly_and_then_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    wait_briefly()
    assert (os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"]) == ("PASSIVE", SPINS)


def test_a_policy_of_the_environment_stays_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
    wait_briefly()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GOMP_SPINCOUNT" not in os.environ


def test_a_number_of_turns_of_the_environment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    os.environ["GOMP_SPINCOUNT"] = "7"
    wait_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


def test_the_set_up_lets_them_wait_alike() -> None:
    bootstrap = Path(__file__).parents[2] / "install" / "bootstrap.py"
    assert f'setdefault("GOMP_SPINCOUNT", "{SPINS}")' in bootstrap.read_text()
