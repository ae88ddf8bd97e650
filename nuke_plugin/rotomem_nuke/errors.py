"""Every error that the plugin raises on purpose, as one tree.

::

    PluginError
    ├── CacheError         the cache folder cannot be read or written
    ├── GraphError         a node, wire or knob is not what the button needs
    │   └── NothingDrawnError   no object is annotated yet
    ├── IncompleteError    a render needs mattes that are not in the cache folder
    ├── HandleLimitError   Nuke's non-commercial edition lets Python touch no further node
    └── RenderCancelled    the artist cancelled a render that we asked for
"""

from __future__ import annotations


class PluginError(Exception):
    """One sentence for the artist: which node, knob or frame, what is wrong, what to do."""


class CacheError(PluginError):
    pass


class GraphError(PluginError):
    pass


class NothingDrawnError(GraphError):
    pass


class IncompleteError(PluginError, RuntimeError):
    pass


class HandleLimitError(PluginError):
    pass


class RenderCancelled(PluginError):  # noqa: N818 - a request of the artist, not a fault
    pass
