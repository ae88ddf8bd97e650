"""The demo shot on disk: plate, truth, and the roto of the artist who is not there."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import OpenImageIO as oiio
from numpy.typing import NDArray

from rotomem.demo.renderer import Renderer
from rotomem.demo.scene import KOI, SHUTTER, Camera, artist_shapes
from rotomem.errors import SettingError
from rotomem.plates import MatteMetadata, Window, write_mattes
from rotomem.plates.publishing import publish_file
from rotomem_client.shapes import Shape

log = logging.getLogger(__name__)

REVISION = 1
"""Of the scene: raise it with any change of the picture, so that renders of the old one are not reused."""

_FULL_ACTION = 24
"""The koi cross within this many frames; a longer shot slows them down, so that they stay in the frame."""

_LINEAR_REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)


@dataclass(frozen=True)
class DemoShot:
    """A rendered shot.

    Args:
        plate_pattern: scene-linear Rec.709 half EXR, ``.../plate/pond.%04d.exr``.
        truth_pattern: mattes as ``write_mattes`` writes them, ``.../truth/pond.%04d.exr``.
        first: first frame.
        last: last frame, inclusive.
        width: pixels.
        height: pixels.
        objects: names, as in ``truth_pattern``'s layers.
        shapes: frame to object to the roto an artist draws there, bottommost first.
    """

    plate_pattern: str
    truth_pattern: str
    first: int
    last: int
    width: int
    height: int
    objects: tuple[str, ...]
    shapes: Mapping[int, Mapping[str, tuple[Shape, ...]]]


def render_demo_shot(
    directory: Path,
    *,
    frames: int = 24,
    width: int = 1920,
    height: int = 1080,
    first_frame: int = 1001,
    seed: int = 7,
    on_progress: Callable[[int, int], None] | None = None,
) -> DemoShot:
    """Render the pond: two koi cross under lily pads; hand-held camera, 180 degree shutter, grain, highlights above 1.

    The same arguments give the same pixels. A complete render of the same arguments is reused; an interrupted one is
    made anew.

    Args:
        directory: of the shot; made where it is missing. An older render in it is replaced, other files stay.
        frames: at least 1; with more than 24 the same action takes longer.
        width: of the frame, pixels.
        height: likewise; at least 16.
        first_frame: number.
        seed: of textures and grain.
        on_progress: called with frames done and frames in all.

    Raises:
        SettingError: no frames, or frames too small to hold the scene.
        DiskFullError, OutputUnwritableError: names the file.
    """
    if frames < 1 or min(width, height) < 16:
        raise SettingError(
            f"a demo shot of {frames} frames of {width} x {height} cannot be rendered; "
            "ask for at least 1 frame of 16 x 16"
        )
    shot = plan_demo_shot(directory, frames=frames, width=width, height=height, first_frame=first_frame)
    request = {"revision": REVISION, "frames": frames, "size": [width, height], "first": first_frame, "seed": seed}
    manifest = directory / "manifest.json"
    if _is_complete(manifest, request):
        log.info("the demo shot in %s is complete; reusing it", directory)
        return shot
    manifest.unlink(missing_ok=True)
    for old in (*directory.glob("plate/pond.*.exr"), *directory.glob("truth/pond.*.exr")):
        old.unlink()
    sizes = _render_frames(shot, seed=seed, on_progress=on_progress)
    files = {str(path.relative_to(directory)): size for path, size in sizes.items()}
    _write_manifest(manifest, {**request, "files": files})
    return shot


def plan_demo_shot(directory: Path, *, frames: int, width: int, height: int, first_frame: int) -> DemoShot:
    """Return what ``render_demo_shot`` will put into ``directory``, without rendering it."""
    pace, camera = _pace(frames), Camera(width, height)
    return DemoShot(
        plate_pattern=str(directory / "plate" / "pond.%04d.exr"),
        truth_pattern=str(directory / "truth" / "pond.%04d.exr"),
        first=first_frame,
        last=first_frame + frames - 1,
        width=width,
        height=height,
        objects=tuple(koi.name for koi in reversed(KOI)),
        shapes={first_frame + i: artist_shapes(camera, i * pace, shutter=SHUTTER * pace) for i in range(frames)},
    )


def _pace(frames: int) -> float:
    return min(1.0, _FULL_ACTION / frames)


def _render_frames(shot: DemoShot, *, seed: int, on_progress: Callable[[int, int], None] | None) -> dict[Path, int]:
    """Render every frame, a few at once; return each file's size."""
    renderer = Renderer(width=shot.width, height=shot.height, seed=seed)
    frames = range(shot.first, shot.last + 1)
    pace = _pace(len(frames))

    def render(frame: int) -> dict[Path, int]:
        rendered = renderer.render((frame - shot.first) * pace, shutter=SHUTTER * pace, frame=frame)
        plate, truth = Path(shot.plate_pattern % frame), Path(shot.truth_pattern % frame)
        written = publish_file(plate, lambda temporary: _write_plate(temporary, rendered.plate))
        mattes = write_mattes(
            truth,
            {name: rendered.truth[name] for name in shot.objects},
            display_window=Window(0, 0, shot.width, shot.height),
            pixel_aspect=1.0,
            metadata=MatteMetadata(engine="truth", frame=frame),
        )
        return {plate: written.size, truth: mattes.size}

    sizes: dict[Path, int] = {}
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        pending = [pool.submit(render, frame) for frame in frames]
        try:
            for done, future in enumerate(as_completed(pending), start=1):
                sizes.update(future.result())
                if on_progress is not None:
                    on_progress(done, len(frames))
        finally:
            for future in pending:
                future.cancel()
    return sizes


def _write_plate(path: Path, pixels: NDArray[np.float32]) -> str:
    """Write half-float ZIP EXR; return what went wrong, or an empty string."""
    height, width = pixels.shape[:2]
    spec = oiio.ImageSpec(width, height, 3, oiio.HALF)
    spec.attribute("compression", "zip")
    spec.attribute("chromaticities", oiio.TypeDesc("float[8]"), _LINEAR_REC709)
    spec.attribute("framesPerSecond", oiio.TypeDesc("rational"), (24, 1))
    output = oiio.ImageOutput.create("openexr")
    if output is None:
        return str(oiio.geterror())
    complete = output.open(str(path), spec) and output.write_image(np.minimum(pixels, 65504)) and output.close()
    return "" if complete else str(output.geterror()) or "unknown error"


def _is_complete(manifest: Path, request: Mapping[str, object]) -> bool:
    try:
        found = json.loads(manifest.read_text())
        sizes = found.pop("files").items()
        return bool(found == request) and all((manifest.parent / path).stat().st_size == size for path, size in sizes)
    except (OSError, ValueError, AttributeError, KeyError):
        return False


def _write_manifest(manifest: Path, content: Mapping[str, object]) -> None:
    """Last of all and whole, because it says that the files are."""

    def write(path: Path) -> str:
        path.write_text(json.dumps(content, indent=1))
        return ""

    publish_file(manifest, write)
