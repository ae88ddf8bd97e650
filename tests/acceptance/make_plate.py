"""Make the kit's plate and roto from the demo shot: ``.venv/bin/python tests/acceptance/make_plate.py``.

The result is committed (``plate/``), so that whoever runs the kit in Nuke needs nothing of the backend for it.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rotomem.demo import render_demo_shot
from rotomem.plates import PlateSource
from rotomem_client.shapes import Shape, shape_to_plain

FOLDER = Path(__file__).resolve().parent / "plate"
FIRST, FRAMES, WIDTH, HEIGHT = 1001, 12, 256, 144
DRAWN = (1001, 1012)


def main(folder: Path = FOLDER) -> None:
    """Write ``pond.%04d.jpg`` (sRGB) and ``roto.json``: the shapes of the drawn frames, origin top-left."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        shot = render_demo_shot(Path(temporary), frames=FRAMES, width=WIDTH, height=HEIGHT, first_frame=FIRST)
        with contextlib.closing(PlateSource(pattern=shot.plate_pattern, first=shot.first, last=shot.last)) as source:
            for frame in range(shot.first, shot.last + 1):
                shown = (np.clip(source.image(frame), 0, 1) * 255 + 0.5).astype(np.uint8)
                cv2.imwrite(str(folder / f"pond.{frame}.jpg"), shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    drawn = {
        str(frame): {name: [_plain(shape) for shape in shapes] for name, shapes in shot.shapes[frame].items()}
        for frame in DRAWN
    }
    # What hides the fish is left out: a script draws plain shapes only.
    drawn = {
        frame: {name: [shape for shape in shapes if shape["blend_mode"] == "over"] for name, shapes in objects.items()}
        for frame, objects in drawn.items()
    }
    (folder / "roto.json").write_text(json.dumps(drawn) + "\n", encoding="utf-8")


def _plain(shape: Shape) -> dict[str, Any]:
    plain = shape_to_plain(shape)
    plain["points"] = [[round(number, 2) for number in point] for point in plain["points"]]
    return plain


if __name__ == "__main__":
    main()
