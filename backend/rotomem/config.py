"""Settings of the command line and the daemon: flag > environment > TOML file > default."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from rotomem.errors import SettingError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENVIRONMENT_PREFIX = "ROTOMEM_"


def _config_dir() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA", Path.home() / "AppData" / "Roaming")) / "rotomem"
    return Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "rotomem"


def _data_dir() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "rotomem"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "rotomem"
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share")) / "rotomem"


@dataclass(frozen=True)
class Settings:
    """What a studio may want to set once.

    Args:
        endpoint: where the daemon listens and clients connect.
        store_dir: the daemon's sessions, frames and mattes; a local disk, not NFS (SQLite's WAL).
        weights_dir: installed network weights.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: CPU threads for torch and OpenCV; 0 takes one per core.
        features_mb: what encoded frames may have on the store's disk, all sessions together, MiB; 0 keeps none.
    """

    endpoint: str = "tcp://127.0.0.1:7447"
    store_dir: Path = _data_dir() / "store"
    weights_dir: Path = _data_dir() / "weights"
    device: str = "auto"
    threads: int = 0
    features_mb: int = 8192

    @classmethod
    def load(
        cls,
        *,
        environment: Mapping[str, str] | None = None,
        config_file: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Merge the sources; ``None`` values of ``overrides`` count as not given.

        The file is ``config_file``, else ``$ROTOMEM_CONFIG``, else ``rotomem/config.toml`` in the user's
        configuration folder, which need not exist.

        Raises:
            SettingError: naming the setting, its source and what is wrong with it.
        """
        environment = os.environ if environment is None else environment
        named_file = config_file or (Path(environment["ROTOMEM_CONFIG"]) if environment.get("ROTOMEM_CONFIG") else None)
        settings = cls()
        settings = settings._merge(_read_toml(named_file), source=str(named_file or _config_dir() / "config.toml"))
        for field in fields(cls):
            variable = ENVIRONMENT_PREFIX + field.name.upper()
            if environment.get(variable):
                settings = settings._merge(
                    {field.name: environment[variable]}, source=f"environment variable {variable}"
                )
        given = {name: value for name, value in (overrides or {}).items() if value is not None}
        return settings._merge(given, source="command line")

    def _merge(self, values: Mapping[str, Any], *, source: str) -> Settings:
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        converted: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise SettingError(f"{source}: there is no setting {name!r}; there are {', '.join(sorted(known))}")
            converted[name] = _convert(name, value, int if name == "threads" else known[name], source)
        return replace(self, **converted)


def _convert(name: str, value: Any, kind: type, source: str) -> Any:
    if kind is int:
        try:
            number = int(value)
        except (TypeError, ValueError):
            number = -1
        if number < 0:
            raise SettingError(f"{source}: {name} is {value!r}; it must be a whole number, 0 or more")
        return number
    if not isinstance(value, (str, Path)) or not str(value).strip():
        raise SettingError(f"{source}: {name} is {value!r}; it must be text")
    return str(value) if kind is str else Path(value).expanduser()


def _read_toml(named_file: Path | None) -> dict[str, Any]:
    path = named_file or _config_dir() / "config.toml"
    if named_file is None and not path.is_file():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(
            f"the configuration file {path} cannot be read: {error.strerror}; mend ROTOMEM_CONFIG"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"the configuration file {path} is not valid TOML: {error}") from error
