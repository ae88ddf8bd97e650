"""Which engines there are, and which one ``auto`` means: for the daemon, which must not load what they load."""

from __future__ import annotations

from pathlib import Path

ENGINE_NAMES = ("xmem", "warp", "copy")
"""Every name besides ``auto``, best first."""


def default_engine(weights_dir: Path | None) -> str:
    """Return what ``auto`` means: ``xmem`` where weights are installed, else ``warp``.

    A look into the folder, rather than ``rotomem.vos``: importing torch takes seconds that warp need not pay. Whether
    the weights are good, the engine finds out.
    """
    installed = weights_dir is not None and any(weights_dir.glob("*.safetensors"))
    return "xmem" if installed else "warp"


def usable_engines(weights_dir: Path | None) -> tuple[str, ...]:
    """Return the engines that can run here, best first."""
    return ENGINE_NAMES[ENGINE_NAMES.index(default_engine(weights_dir)) :]
