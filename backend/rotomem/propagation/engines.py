"""Engines by name."""

from __future__ import annotations

from pathlib import Path

from rotomem.engine_names import ENGINE_NAMES, default_engine
from rotomem.errors import SettingError
from rotomem.propagation.copy_engine import CopyEngine
from rotomem.propagation.engine import Engine
from rotomem.propagation.warp_engine import WarpEngine


def engine_names() -> list[str]:
    """Every name that :func:`make_engine` takes besides ``auto``, best first."""
    return list(ENGINE_NAMES)


def make_engine(
    name: str,
    *,
    weights_dir: Path,
    device: str = "auto",
    weights: str = "",
    refine_edges: bool = True,
    processing_size: int = 0,
    tune: bool = True,
) -> Engine:
    """Make an engine.

    Args:
        name: ``xmem``, ``warp`` or ``copy``; ``auto`` is what :func:`~rotomem.engine_names.default_engine` says.
        weights_dir: folder of installed weights.
        device: for ``xmem``: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        weights: for ``xmem``: name of installed weights or a path; empty takes the first one by name, or those
            that Rotomem ships.
        refine_edges: snap the mattes' edges to the plate; not for weights without the flow cue.
        processing_size: shorter side at which the engine works, pixels; 0 is the engine's own default.
        tune: for weights with the flow cue: tune a copy of them to the shot.

    Raises:
        SettingError: there is no such engine.
        WeightsError: ``xmem`` was asked for without weights, or they are damaged.
    """
    if name == "auto":
        name = "xmem" if weights else default_engine(weights_dir, tune=tune)
    if name == "copy":
        return CopyEngine()
    if name == "warp":
        return WarpEngine(refine_edges=refine_edges, processing_size=processing_size)
    if name == "xmem":
        return _make_xmem(
            weights_dir,
            weights=weights,
            device=device,
            refine_edges=refine_edges,
            processing_size=processing_size,
            tune=tune,
        )
    raise SettingError(f"there is no engine {name!r}; choose one of auto, {', '.join(ENGINE_NAMES)}")


def _make_xmem(
    weights_dir: Path, *, weights: str, device: str, refine_edges: bool, processing_size: int, tune: bool
) -> Engine:
    # Imported here: torch takes seconds that warp need not pay.
    from rotomem.propagation.cued_engine import CuedEngine
    from rotomem.propagation.shot_tuning import ShotTuning
    from rotomem.propagation.xmem_engine import XMemEngine, XMemSettings, choose_device
    from rotomem.vos import choose_weights, load_network

    path = choose_weights(weights_dir, weights, user="engine xmem", otherwise="choose engine warp")
    loaded = load_network(path)
    if loaded.network.config.prior_channels:
        return CuedEngine(
            loaded.network,
            weights_sha256=loaded.sha256,
            device=choose_device(device),
            refine_edges=refine_edges,
            processing_size=processing_size,
            tuning=ShotTuning(enabled=tune),
        )
    settings = XMemSettings(processing_size=processing_size) if processing_size else XMemSettings()
    return XMemEngine(loaded.network, weights_sha256=loaded.sha256, device=device, settings=settings)
