"""Where an engine may keep encoded frames on disk. Without torch, so that engines without it start fast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class FeatureFolder:
    """A shot's folder for encoded frames.

    Args:
        path: made when first written to.
        max_bytes: of all files that the engine keeps there; the least recently used go first. 0 keeps nothing.
    """

    path: Path
    max_bytes: int


@runtime_checkable
class KeepsFeatures(Protocol):
    """An engine that encodes frames; set ``feature_folder`` before ``propagate``."""

    feature_folder: FeatureFolder | None
