"""The client's version, which it tells the daemon; the plugin is installed apart from the daemon."""

from __future__ import annotations

VERSION = "0.1.0"
