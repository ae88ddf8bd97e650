"""Which engines there are, and which one ``auto`` means: for the daemon, which must not load what they load."""

from __future__ import annotations

from pathlib import Path

ENGINE_NAMES = ("xmem", "warp", "copy")
"""Every name besides ``auto``, best first."""

ENGINES_WITH_WEIGHTS = ("xmem",)
"""Those whose mattes depend on a file of weights."""

SHIPPED_WEIGHTS = Path(__file__).parent / "shipped_weights" / "rotomem-light.safetensors"
"""Trained by us on synthetic video; its model card lies beside it."""

SHIPPED_SEGMENTER = SHIPPED_WEIGHTS.parent / "motion" / "flow.safetensors"
"""Likewise, of the flow segmenter that finds what moves."""


def default_engine(weights_dir: Path | None, *, tune: bool = True) -> str:
    """Return what ``auto`` means if no weights are named: ``xmem`` with weights, installed or shipped, else ``warp``.

    The shipped weights are better than ``warp`` only once they are tuned to the shot (``docs/decisions/0010``), so that
    without ``tune`` they do not make ``xmem`` the default. Installed ones do: somebody chose them.

    A look for files, rather than ``rotomem.vos``: importing torch takes seconds that warp need not pay. Whether
    the weights are good, the engine finds out.
    """
    installed = weights_dir is not None and any(weights_dir.glob("*.safetensors"))
    return "xmem" if installed or (tune and SHIPPED_WEIGHTS.is_file()) else "warp"


def usable_engines(weights_dir: Path | None) -> tuple[str, ...]:
    """Return the engines that can run here, best first."""
    return ENGINE_NAMES[ENGINE_NAMES.index(default_engine(weights_dir)) :]
