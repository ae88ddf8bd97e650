"""Every error that the client raises on purpose, as one tree.

::

    ClientError
    ├── InvalidValueError        a shape, message field or setting is not what it must be
    ├── ProtocolError            bytes that are no message, or break a limit
    │   └── VersionError         the two sides share no protocol version
    ├── DaemonUnreachableError   nobody answers at the endpoint
    ├── TransferError            a file could not be sent, received or verified
    ├── RefusedError             the daemon answered a request with a code and a sentence
    └── JobFailedError           a job ended with a code and a sentence
"""

from __future__ import annotations


class ClientError(Exception):
    """One sentence for the artist: what is wrong, where, and what to do."""


class InvalidValueError(ClientError, ValueError):
    pass


class ProtocolError(ClientError):
    pass


class VersionError(ProtocolError):
    pass


class DaemonUnreachableError(ClientError):
    pass


class TransferError(ClientError):
    pass


class RefusedError(ClientError):
    """The daemon refused one request.

    Args:
        code: the daemon's error code, such as ``PLATE_MISSING``.
        message: its sentence.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class JobFailedError(RefusedError):
    """A job ended without finishing; the mattes that it had made are kept."""
