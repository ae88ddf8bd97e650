"""What a propagation needs to know of a shot, as plain picklable data, and what it tells while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rotomem_client.shapes import Shape


@dataclass(frozen=True)
class PlateReference:
    """Where the plate's frames lie.

    Args:
        pattern: ``/shots/a/plate.%04d.exr``, ``####`` or a single file; empty when ``files`` names each frame.
        files: frame number to file, for frames that were streamed into the store.
        first: first frame of the plate.
        last: last frame of the plate, inclusive.
        colourspace: an OCIO name or ``auto``.
    """

    first: int
    last: int
    pattern: str = ""
    files: dict[int, Path] = field(default_factory=dict)
    colourspace: str = "auto"


@dataclass(frozen=True)
class ShotAnnotation:
    """One object's matte on one frame, as shapes or as an image file's alpha; exactly one of the two.

    An object that is not in the frame is annotated by an empty ``shapes`` tuple with ``absent=True``.
    """

    frame: int
    object_name: str
    shapes: tuple[Shape, ...] = ()
    alpha: Path | None = None
    absent: bool = False


@dataclass(frozen=True)
class PropagationTask:
    """One job: everything that the worker process is handed.

    Args:
        objects: names in output order; each matches ``[A-Za-z_]\\w*``.
        first: first frame to make, inclusive.
        last: last frame to make, inclusive.
        output_pattern: ``/cache/hero.%04d.exr``; files appear whole or not at all.
        handles: further frames on both sides, as far as the plate reaches.
        engine: ``auto``, ``warp`` or ``xmem``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        revision: of the annotations; written into each matte's metadata.
        weights: name of installed weights, or a path; empty takes the engine's default.
        weights_dir: where weights are installed; None takes the setting's.
        refine_edges: snap the mattes' edges to the plate.
        focus: the frame under the artist's eye; its stretch of the shot is made first, then the others by distance. An
            engine that must be tuned first shows previews of the frames next to it before that.
        current: frames whose mattes on disk are still right: their files are left untouched. A frame of these whose
            file is missing is made all the same.
        shown: frames of which a matte by engine ``xmem`` is shown from an earlier round, wherever its file is: flow
            alone makes no preview of these.
        confidence: write the per-pixel confidence as a further layer of each matte.
        processing_size: shorter side in pixels at which the engine works; 0 takes the engine's own default.
        tune: tune the network to the shot, where the engine can.
        shot_id: names the shot in the tuning cache.
        tuning_dir: where that cache lies; None keeps nothing.
        feature_dir: where encoded frames outlive the process, for engines that encode any; None keeps none on disk.
        feature_bytes: that they may have there.
        motion: use of a second opinion from motion: ``off``; ``errors`` writes where it takes the mattes for wrong;
            ``correct`` also edits them there if the engine is not sure either; ``exemplars`` puts frames on which
            motion shows the object into the memory of engines that have one; ``all`` is both of these.
    """

    plate: PlateReference
    annotations: tuple[ShotAnnotation, ...]
    objects: tuple[str, ...]
    first: int
    last: int
    output_pattern: str
    handles: int = 0
    engine: str = "auto"
    device: str = "auto"
    revision: int = 0
    weights: str = ""
    weights_dir: Path | None = None
    refine_edges: bool = True
    focus: int | None = None
    current: frozenset[int] = frozenset()
    shown: frozenset[int] = frozenset()
    confidence: bool = False
    processing_size: int = 0
    tune: bool = True
    shot_id: str = ""
    tuning_dir: Path | None = None
    feature_dir: Path | None = None
    feature_bytes: int = 0
    motion: str = "off"


@dataclass(frozen=True)
class MatteWritten:
    """A matte file is complete on disk.

    Args:
        engine: the one that made it, never ``auto``.
        confidence: of the frame, in [0, 1]; see ``rotomem.session.quality.frame_confidence``.
        weights_sha256: of the weights that made it; empty for engines without.
        preview: made in haste: the same job makes this frame again.
    """

    frame: int
    path: Path
    sha256: str
    size: int
    annotated: bool
    engine: str = ""
    confidence: float = 1.0
    weights_sha256: str = ""
    preview: bool = False


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` frames are on disk; previews do not count."""

    done: int
    total: int
    phase: str
    frames_per_second: float


@dataclass(frozen=True)
class Seam:
    """How much the mattes jump between an annotated frame and its neighbour; see ``rotomem.session.seams``.

    Args:
        annotated: frame.
        neighbour: the frame before or after it, which was propagated.
        jump: between the two, as a share of the mattes' area, after following the plate's own motion.
        usual: the mean jump of the pairs of propagated frames that come next, likewise; None where there are none.
    """

    annotated: int
    neighbour: int
    jump: float
    usual: float | None

    @property
    def excess(self) -> float:
        """How much the jump stands out: beyond what the shot's own frames do; 0 where that cannot be told."""
        return 0.0 if self.usual is None else self.jump - self.usual


@dataclass(frozen=True)
class PropagationSummary:
    """What a finished job made.

    Args:
        frames: ascending; those that were made, and those whose mattes were still right.
        warnings: sentences, such as repaired NaN pixels.
        kept: those of ``frames`` whose files were left untouched.
        seams: at every annotated frame, ascending.
    """

    frames: tuple[int, ...]
    engine: str
    weights_sha256: str
    seconds: float
    warnings: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()
    seams: tuple[Seam, ...] = ()
