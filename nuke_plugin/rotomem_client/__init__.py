"""Wire protocol and client of the Rotomem daemon. Python 3.9, stdlib + msgpack + pyzmq only.

``rotomem_client.client`` needs pyzmq; everything else here does not, and is re-exported. So a host can import this
package, and say what is missing, before its vendored pyzmq is found.
"""

from __future__ import annotations

from rotomem_client.errors import (
    ClientError,
    DaemonUnreachableError,
    InvalidValueError,
    JobFailedError,
    ProtocolError,
    RefusedError,
    TransferError,
    VersionError,
)
from rotomem_client.shapes import ControlPoint, Shape, shape_from_plain, shape_to_plain
from rotomem_client.version import VERSION

__all__ = [
    "VERSION",
    "ClientError",
    "ControlPoint",
    "DaemonUnreachableError",
    "InvalidValueError",
    "JobFailedError",
    "ProtocolError",
    "RefusedError",
    "Shape",
    "TransferError",
    "VersionError",
    "shape_from_plain",
    "shape_to_plain",
]
