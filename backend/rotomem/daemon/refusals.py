"""Why the daemon refuses a request, as far as only a daemon can; below ``DaemonError`` of ``rotomem.errors``.

::

    DaemonError
    ├── UnknownSessionError    no session of that name: open it first
    ├── UnknownJobError        no job of that id
    ├── ReusedIdError          a request id that was used for something else
    ├── ConflictError          another client writes the session
    ├── StaleRevisionError     an annotation that was changed since
    ├── NothingToUndoError     no change is left to take back, or to make again
    ├── ObjectError            an object that is unknown, taken, or the last one
    ├── BusySessionError       a session whose jobs have not ended
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


class ReusedIdError(DaemonError):
    code = "ID_REUSED"


class StaleRevisionError(DaemonError):
    code = "STALE_REVISION"


class NothingToUndoError(DaemonError):
    code = "NOTHING_TO_UNDO"


class ObjectError(DaemonError):
    code = "OBJECT"


class BusySessionError(DaemonError):
    code = "BUSY"


class MatteGoneError(DaemonError):
    code = "MATTE_GONE"


class UploadError(DaemonError):
    code = "UPLOAD"


class DamagedUploadError(DaemonError):
    code = "TRANSFER_DAMAGED"
