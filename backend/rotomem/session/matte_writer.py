"""Results of an engine to matte files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from rotomem import __version__
from rotomem.errors import OutputUnwritableError
from rotomem.plates import FramePattern, MatteMetadata, PlateSource, write_mattes
from rotomem.propagation.engine import Engine, Image, PropagatedFrame
from rotomem.session.quality import frame_confidence
from rotomem.session.shot import MatteWritten, PropagationTask


class MatteWriter:
    """Writes results with the plate's windows and the metadata that every matte carries."""

    def __init__(self, task: PropagationTask, source: PlateSource, engine: Engine) -> None:
        self._objects = task.objects
        self._with_confidence = task.confidence
        self._pattern = FramePattern.parse(task.output_pattern)
        self._plate = source.plate_frame(task.annotations[0].frame)
        self._metadata = MatteMetadata(
            engine=engine.name,
            weights_sha256=engine.weights_sha256,
            revision=task.revision,
            project_version=__version__,
            frame=task.first,
            annotated=False,
        )
        folder = self._pattern.path(task.first).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputUnwritableError(
                f"the output folder {folder} cannot be made: {error.strerror}; choose another output"
            ) from error

    def write(self, result: PropagatedFrame) -> MatteWritten:
        """Write one frame, or a preview of it under the name of the engine that made that; raises ``OutputError``."""
        mattes: Mapping[str, Image] = dict(zip(self._objects, result.mattes, strict=True))
        path: Path = self._pattern.path(result.frame)
        confidence = frame_confidence(result.mattes, result.confidence)
        engine = result.preview_by or self._metadata.engine
        metadata = dataclasses.replace(
            self._metadata,
            engine=engine,
            weights_sha256=self._metadata.weights_sha256 if engine == self._metadata.engine else "",
            frame=result.frame,
            annotated=result.annotated,
            confidence=confidence,
            disagreement=result.disagreement,
            motion_error=result.relative_error,
            preview=bool(result.preview_by),
        )
        written = write_mattes(
            path,
            mattes,
            display_window=self._plate.display_window,
            pixel_aspect=self._plate.pixel_aspect,
            metadata=metadata,
            confidence=result.confidence if self._with_confidence else None,
            motion_error=result.motion_error,
        )
        return MatteWritten(
            frame=result.frame,
            path=written.path,
            sha256=written.sha256,
            size=written.size,
            annotated=result.annotated,
            engine=metadata.engine,
            confidence=confidence,
            weights_sha256=metadata.weights_sha256,
            preview=metadata.preview,
        )
