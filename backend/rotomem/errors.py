"""Every error that the backend raises on purpose, as one tree.

::

    RotomemError
    ├── PlateError
    │   ├── PlateMissingError        a frame of the range is not on disk
    │   ├── PlateUnreadableError     there, but truncated or not an image
    │   ├── PlateSizeError           its display window differs from the other frames'
    │   └── ColourspaceError         a colourspace that the OCIO configuration does not know
    ├── AnnotationError
    │   ├── AnnotationRangeError     on a frame outside the plate
    │   ├── EmptyAnnotationError     a shape that covers no pixel
    │   └── AnnotationSizeError      an alpha of another size than the plate
    ├── WeightsError
    │   ├── WeightsMissingError      the engine's weights are not installed
    │   ├── WeightsMismatchError     another network's tensors
    │   └── WeightsCorruptError      bytes unlike their SHA-256, or not a checkpoint
    ├── OutputError
    │   ├── DiskFullError
    │   └── OutputUnwritableError
    ├── DaemonError
    │   ├── PortTakenError
    │   ├── StoreError
    │   └── WorkerCrashedError
    ├── SettingError                 a value in a flag, file or environment variable
    │   └── JobFileError             a job exported from Nuke that cannot be used as it is
    └── CancelledError               asked to stop; what was made is kept

``code`` is what travels on the wire; ``exit_code`` is what the command line returns.
"""

from __future__ import annotations

from typing import ClassVar


class RotomemError(Exception):
    """One sentence for the artist: which frame, file or knob, what is wrong, what to do."""

    code: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 1


class PlateError(RotomemError):
    code = "PLATE"
    exit_code = 3


class PlateMissingError(PlateError):
    code = "PLATE_MISSING"


class PlateUnreadableError(PlateError):
    code = "PLATE_UNREADABLE"


class PlateSizeError(PlateError):
    code = "PLATE_SIZE"


class ColourspaceError(PlateError):
    code = "COLOURSPACE"


class AnnotationError(RotomemError):
    code = "ANNOTATION"
    exit_code = 4


class AnnotationRangeError(AnnotationError):
    code = "ANNOTATION_RANGE"


class EmptyAnnotationError(AnnotationError):
    code = "ANNOTATION_EMPTY"


class AnnotationSizeError(AnnotationError):
    code = "ANNOTATION_SIZE"


class WeightsError(RotomemError):
    code = "WEIGHTS"
    exit_code = 5


class WeightsMissingError(WeightsError):
    code = "WEIGHTS_MISSING"


class WeightsMismatchError(WeightsError):
    code = "WEIGHTS_MISMATCH"


class WeightsCorruptError(WeightsError):
    code = "WEIGHTS_CORRUPT"


class OutputError(RotomemError):
    code = "OUTPUT"
    exit_code = 6


class DiskFullError(OutputError):
    code = "DISK_FULL"


class OutputUnwritableError(OutputError):
    code = "OUTPUT_UNWRITABLE"


class DaemonError(RotomemError):
    code = "DAEMON"
    exit_code = 7


class PortTakenError(DaemonError):
    code = "PORT_TAKEN"


class StoreError(DaemonError):
    code = "STORE"


class WorkerCrashedError(DaemonError):
    code = "WORKER_CRASHED"


class SettingError(RotomemError):
    code = "SETTING"
    exit_code = 2


class JobFileError(SettingError):
    pass


class CancelledError(RotomemError):
    code = "CANCELLED"
    exit_code = 130
