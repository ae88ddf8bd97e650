"""Engines that carry annotations over a frame range."""

from __future__ import annotations

from rotomem.propagation.copy_engine import CopyEngine
from rotomem.propagation.engine import Annotations, Engine, FrameSource, Image, PropagatedFrame
from rotomem.propagation.engines import engine_names, make_engine
from rotomem.propagation.warp_engine import WarpEngine

__all__ = [
    "Annotations",
    "CopyEngine",
    "Engine",
    "FrameSource",
    "Image",
    "PropagatedFrame",
    "WarpEngine",
    "engine_names",
    "make_engine",
]
