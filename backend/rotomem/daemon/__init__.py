"""The daemon: one socket, one store, one worker process.

``serve`` is all that the command line needs.
"""

from rotomem.daemon.service import serve

__all__ = ["serve"]
