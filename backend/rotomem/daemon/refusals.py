"""Why the daemon refuses a request, as far as only a daemon can; below ``DaemonError`` of ``rotomem.errors``.

::

    DaemonError
    ├── UnknownSessionError    no session of that name: open it first
    ├── UnknownJobError        no job of that id
    ├── ConflictError          a request id that was used for something else
    ├── MatteGoneError         no such matte, or a newer one took its place
    ├── UploadError            chunks that were never offered, without credit, or with a gap
    └── DamagedUploadError     an upload's bytes have another SHA-256: offer it again
"""

from __future__ import annotations

from rotomem.errors import DaemonError


class UnknownSessionError(DaemonError):
    code = "UNKNOWN_SESSION"


class UnknownJobError(DaemonError):
    code = "UNKNOWN_JOB"


class ConflictError(DaemonError):
    code = "CONFLICT"


class MatteGoneError(DaemonError):
    code = "MATTE_GONE"


class UploadError(DaemonError):
    code = "UPLOAD"


class DamagedUploadError(DaemonError):
    code = "TRANSFER_DAMAGED"
