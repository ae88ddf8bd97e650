"""Where settings come from and which source wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from rotomem.config import Settings
from rotomem.errors import SettingError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text('endpoint = "tcp://127.0.0.1:1"\nthreads = 3\nstore_dir = "~/s"\n')
    return path


def test_flag_beats_environment_beats_file_beats_default(config: Path) -> None:
    environment = {"ROTOMEM_ENDPOINT": "tcp://127.0.0.1:2", "ROTOMEM_DEVICE": "cpu"}
    settings = Settings.load(environment=environment, config_file=config, overrides={"device": "cuda", "threads": None})
    assert settings.endpoint == "tcp://127.0.0.1:2"
    assert settings.device == "cuda"
    assert settings.threads == 3
    assert settings.store_dir == Path.home() / "s"
    assert settings.weights_dir == Settings().weights_dir


def test_the_environment_names_the_file(config: Path) -> None:
    assert Settings.load(environment={"ROTOMEM_CONFIG": str(config)}).threads == 3


@pytest.mark.parametrize(
    ("environment", "text", "match"),
    [
        ({"ROTOMEM_THREADS": "many"}, "", "environment variable ROTOMEM_THREADS: threads is 'many'"),
        ({}, "thread = 2", "no setting 'thread'"),
        ({}, "threads = -1", "0 or more"),
        ({}, "endpoint = 5", "endpoint is 5; it must be text"),
        ({}, "endpoint = ", "not valid TOML"),
    ],
)
def test_a_wrong_setting_names_its_source(tmp_path: Path, environment: dict[str, str], text: str, match: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(SettingError, match=match):
        Settings.load(environment=environment, config_file=path)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="ROTOMEM_CONFIG"):
        Settings.load(environment={"ROTOMEM_CONFIG": str(tmp_path / "none.toml")})
