"""Engines by name."""

from __future__ import annotations

from pathlib import Path

from rotomem.engine_names import ENGINE_NAMES, default_engine
from rotomem.errors import SettingError, WeightsMissingError
from rotomem.propagation.copy_engine import CopyEngine
from rotomem.propagation.engine import Engine
from rotomem.propagation.warp_engine import WarpEngine


def engine_names() -> list[str]:
    """Every name that :func:`make_engine` takes besides ``auto``, best first."""
    return list(ENGINE_NAMES)


def make_engine(
    name: str, *, weights_dir: Path, device: str = "auto", weights: str = "", refine_edges: bool = True
) -> Engine:
    """Make an engine.

    Args:
        name: ``xmem``, ``warp`` or ``copy``; ``auto`` is ``xmem`` where weights are installed, else ``warp``.
        weights_dir: folder of installed weights.
        device: for ``xmem``: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        weights: for ``xmem``: name of installed weights or a path; empty takes the first one by name.
        refine_edges: for ``warp``: snap the mattes' edges to the plate.

    Raises:
        SettingError: there is no such engine.
        WeightsError: ``xmem`` was asked for without weights, or they are damaged.
    """
    if name == "auto":
        name = "xmem" if weights else default_engine(weights_dir)
    if name == "copy":
        return CopyEngine()
    if name == "warp":
        return WarpEngine(refine_edges=refine_edges)
    if name == "xmem":
        return _make_xmem(weights_dir, weights=weights, device=device)
    raise SettingError(f"there is no engine {name!r}; choose one of auto, {', '.join(ENGINE_NAMES)}")


def _make_xmem(weights_dir: Path, *, weights: str, device: str) -> Engine:
    from rotomem.propagation.xmem_engine import XMemEngine
    from rotomem.vos import find_weights, installed_weights

    if not weights:
        installed = installed_weights(weights_dir)
        if not installed:
            raise WeightsMissingError(
                f"engine xmem needs weights and none are installed in {weights_dir}; "
                "add them with: rotomem weights add FILE, or choose engine warp"
            )
        weights = installed[0].name
    return XMemEngine.from_weights(find_weights(weights_dir, weights), device=device)
