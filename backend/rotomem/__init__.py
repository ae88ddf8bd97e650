"""Rotomem: XMem++ roto propagation for Nuke, the backend."""

__version__ = "0.1.0"
