"""``rotomem prompt``: a click or a box on one frame, to a matte that starts an annotation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rotomem.errors import SettingError

if TYPE_CHECKING:
    from rotomem.session.prompt import PromptTask

NAME = "prompt"
SUMMARY = "turn clicks or a box on one frame into a matte, by segment-anything"
EXAMPLES = """examples:
  rotomem prompt --plate 'sh010.%04d.exr' --frame 1001 --point 640,360 --out hero.1001.exr
  rotomem prompt --plate 'sh010.%04d.exr' --frame 1001 --point 640,360 --point 700,90,- --box 500,80,900,700 --out a.exr
  rotomem prompt --plate 'sh010.%04d.exr' --frame 1001 --point 640,360 --session sh010 --object hero

Points and boxes are in pixels from the top left. A point is on the object, with ,- on what is not to be it. --session
puts the matte into a session of the daemon, as that frame's annotation. Weights: sam_vit_b_01ec64.pth, in the folder
of installed weights.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plate", required=True, help="pattern of the plate: p.%%04d.exr, p.####.exr or one file")
    parser.add_argument("--frame", type=int, required=True, help="the frame that is looked at")
    parser.add_argument("--point", action="append", default=[], metavar="X,Y[,+|-]", help="on the object, or (-) not")
    parser.add_argument("--box", metavar="LEFT,TOP,RIGHT,BOTTOM", help="around the object")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the matte to this EXR file")
    parser.add_argument("--session", help="put the matte into this session of the daemon as an annotation")
    parser.add_argument("--object", default="matte", dest="object_name", help="its layer, or the session's object")
    parser.add_argument("--colourspace", default="auto", help="of the plate: an OpenColorIO name, or auto")
    parser.add_argument("--no-refine-edges", action="store_true", help="leave edges as the network makes them")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--endpoint", help="of the daemon, for --session")


def run(options: argparse.Namespace) -> int:
    import tempfile

    from rotomem.session.prompt import prompt_frame

    if options.out is None and not options.session:
        raise SettingError("say where the matte goes: --out FILE, or --session NAME")
    if options.out is not None and options.out.suffix.lower() != ".exr":
        raise SettingError(f"--out {options.out} must end in .exr: mattes are half-float EXR files")
    task = build_task(options)
    with tempfile.TemporaryDirectory() as folder:
        path = options.out or Path(folder) / "prompted.exr"
        score = prompt_frame(task, path)
        if options.out is not None:
            print(f"frame {task.frame}: {path}, score {score:.2f}")
        if options.session:
            from rotomem_client.client import Client

            with Client(options.settings.endpoint, name="rotomem prompt") as client:
                revision = client.put_annotation(options.session, task.frame, task.object_name, alpha=path)
            print(
                f"frame {task.frame} of {options.session}: {task.object_name} annotated, revision {revision}, "
                f"score {score:.2f}"
            )
    return 0


def build_task(options: argparse.Namespace) -> PromptTask:
    """Turn the arguments into a task; raises ``RotomemError`` naming the flag that is wrong."""
    from rotomem.plates import FramePattern
    from rotomem.session.prompt import PromptTask
    from rotomem.session.shot import PlateReference

    on_disk = FramePattern.parse(options.plate).frames_on_disk() or [options.frame]
    return PromptTask(
        plate=PlateReference(
            pattern=options.plate, first=min(on_disk), last=max(on_disk), colourspace=options.colourspace
        ),
        frame=options.frame,
        points=tuple(_point(text) for text in options.point),
        box=None if options.box is None else _box(options.box),
        object_name=options.object_name,
        device=options.settings.device,
        weights_dir=options.settings.weights_dir,
        refine_edges=not options.no_refine_edges,
    )


def _point(text: str) -> tuple[float, float, bool]:
    x, _, rest = text.partition(",")
    y, _, sign = rest.partition(",")
    try:
        if sign not in ("", "+", "-"):
            raise ValueError
        return float(x), float(y), sign != "-"
    except ValueError:
        raise SettingError(f"--point {text!r} must be X,Y or X,Y,- in pixels") from None


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingError(f"--box {text!r} must be LEFT,TOP,RIGHT,BOTTOM in pixels") from None
    return left, top, right, bottom
