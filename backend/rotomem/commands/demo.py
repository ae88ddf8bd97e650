"""``rotomem demo``: a rendered shot, an artist over ZeroMQ, mattes back, measured against the truth."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from rotomem.commands.progress import tell, tell_phase
from rotomem.errors import DaemonError

if TYPE_CHECKING:
    from rotomem.demo import ContactRow, DemoShot
    from rotomem.plates import FramePattern
    from rotomem_client.client import Client

NAME = "demo"
SUMMARY = "render a demo shot, annotate three frames with roto shapes, propagate through the daemon, measure"
EXAMPLES = """examples:
  rotomem demo                              writes demo_out/contact_sheet.png
  rotomem demo --out /tmp/demo --frames 12 --size 960x540
  rotomem demo --pictures backend/docs/images       also the README's pictures, the panel drawn from gizmos/
"""
DAEMON_START_S = 60.0
MATTES = "mattes/matte.%04d.exr"
SHEET_ROWS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("demo_out"), help="folder for the shot, mattes and sheet")
    parser.add_argument("--frames", type=int, default=24, help="length of the shot")
    parser.add_argument("--size", default="1920x1080", help="of the plate, pixels")
    parser.add_argument("--engine", default="auto", help="auto, xmem, warp or copy")
    parser.add_argument("--weights-dir", type=Path, help="folder of installed weights")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="also draw the README's pictures into this folder")
    parser.add_argument("--gizmo", type=Path, default=Path("gizmos/Rotomem.gizmo"), help="whose panel --pictures draws")


def run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from rotomem.commands.sizes import parse_size
    from rotomem.demo import render_demo_shot

    width, height = parse_size(options.size)
    out = options.out.resolve()
    with tqdm(total=options.frames, desc="rendering the shot", unit="frame") as bar:
        shot = render_demo_shot(
            out / "shot",
            frames=options.frames,
            width=width,
            height=height,
            on_progress=tell(bar),
        )
    with running_daemon(out, options) as endpoint:
        print(f"daemon at {endpoint}")
        annotated, seconds, engine = propagate_as_artist(endpoint, shot, out / MATTES, engine=options.engine)
    report(shot, out, annotated=annotated, seconds=seconds, engine=engine)
    if options.pictures:
        write_pictures(options.pictures, options.gizmo, shot, out, annotated=annotated, engine=engine)
    return 0


@contextlib.contextmanager
def running_daemon(out: Path, options: argparse.Namespace) -> Iterator[str]:
    """A daemon of its own on a free loopback port; yields its endpoint and stops it afterwards."""
    ready = out / "daemon.json"
    ready.unlink(missing_ok=True)
    log_path = out / "daemon.log"
    settings = options.settings
    command = [
        *(sys.executable, "-m", "rotomem", "serve", "--endpoint", "tcp://127.0.0.1:*"),
        *("--store", str(out / "store"), "--ready-file", str(ready)),
        *("--weights-dir", str(settings.weights_dir), "--device", settings.device),
    ]
    with log_path.open("wb") as log_file:
        daemon = subprocess.Popen(command, stdout=log_file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + DAEMON_START_S
        while not ready.is_file():
            if daemon.poll() is not None or time.monotonic() > deadline:
                tail = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                raise DaemonError(f"the demo's daemon did not start: {' '.join(tail) or 'no message'} ({log_path})")
            time.sleep(0.05)
        yield json.loads(ready.read_text(encoding="utf-8"))["endpoint"]
    finally:
        daemon.terminate()
        try:
            daemon.wait(timeout=10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


def propagate_as_artist(endpoint: str, shot: DemoShot, output: Path, *, engine: str) -> tuple[list[int], float, str]:
    """Stream the plate, draw on three frames, propagate, and fetch each matte as it is ready.

    Returns:
        annotated frames; seconds from the request to the last matte; the engine that made them.
    """
    from tqdm import tqdm

    from rotomem.plates import FramePattern
    from rotomem_client.client import Client
    from rotomem_client.messages import MatteReady, Plate, Progress

    plate = FramePattern.parse(shot.plate_pattern)
    frames = range(shot.first, shot.last + 1)
    annotated = sorted({shot.first, (shot.first + shot.last) // 2, shot.last})
    mattes = FramePattern.parse(str(output))
    output.parent.mkdir(parents=True, exist_ok=True)
    with Client(endpoint, name="rotomem demo") as client:
        welcome = client.connect()
        print(f"connected: server {welcome.server_version}, default engine {welcome.default_engine}")
        session = client.open_session(str(uuid4()), Plate(first=shot.first, last=shot.last), shot.objects)
        _upload(client, session.session_id, {frame: plate.path(frame) for frame in frames})
        for frame in annotated:
            for name, shapes in shot.shapes[frame].items():
                client.put_annotation(session.session_id, frame, name, shapes=shapes, absent=not shapes)
        started = time.monotonic()
        job = client.propagate(session.session_id, shot.first, shot.last, engine=engine)
        with tqdm(total=len(frames), desc="propagating", unit="frame") as bar:
            draw = tell_phase(bar)
            for event in job.events():
                if isinstance(event, MatteReady):
                    client.fetch_matte(event, mattes.path(event.frame))
                elif isinstance(event, Progress):
                    draw(event)
        finished = job.wait()
    return annotated, time.monotonic() - started, finished.engine


def _upload(client: Client, session_id: str, files: dict[int, Path]) -> None:
    from tqdm import tqdm

    total = sum(path.stat().st_size for path in files.values())
    with tqdm(total=total, desc="streaming the plate", unit="B", unit_scale=True) as bar:
        client.upload_frames(session_id, files, on_progress=tell(bar))
        bar.update(total - bar.n)


def report(shot: DemoShot, out: Path, *, annotated: list[int], seconds: float, engine: str) -> None:
    """Print J&F and frames per second over the frames that were not drawn, and write the contact sheet."""
    import numpy as np

    from rotomem.plates import FramePattern, read_alpha
    from rotomem.training.metrics import boundary_f, region_j

    truths, mattes = FramePattern.parse(shot.truth_pattern), FramePattern.parse(str(out / MATTES))
    scores: dict[int, list[tuple[float, float]]] = {}
    for frame in sorted(set(range(shot.first, shot.last + 1)) - set(annotated)):
        for name in shot.objects:
            truth = read_alpha(truths.path(frame), frame, object_name=name) > 0.5
            matte = read_alpha(mattes.path(frame), frame, object_name=name) > 0.5
            scores.setdefault(frame, []).append((region_j(matte, truth), boundary_f(matte, truth)))
    j, f = np.mean([score for frame in scores.values() for score in frame], axis=0)
    count = shot.last - shot.first + 1
    size = f"{shot.width}x{shot.height}"
    summary = f"engine {engine}: J {j:.3f}  F {f:.3f}  J&F {(j + f) / 2:.3f} over the frames that were not drawn"
    speed = f"{count} frames of {size} in {seconds:.1f} s: {count / seconds:.2f} frames/s, fetched over ZeroMQ"
    notes = {frame: f"J&F {np.mean(frame_scores):.3f}" for frame, frame_scores in scores.items()}
    sheet = out / "contact_sheet.png"
    write_sheet(sheet, shot, mattes, annotated=annotated, notes=notes, subtitle=f"{summary}; {speed}")
    print(summary)
    print(speed)
    print(f"contact sheet: {os.path.relpath(sheet)}")


def write_pictures(folder: Path, gizmo: Path, shot: DemoShot, out: Path, *, annotated: list[int], engine: str) -> None:
    """Draw ``panel.png``, ``workflow.png`` and ``before_after.png`` from what the demo has made."""
    from rotomem.demo.pictures import write_before_after, write_panel, write_workflow
    from rotomem.plates import FramePattern, read_matte_metadata

    mattes = FramePattern.parse(str(out / MATTES))
    rows = {row.frame: row for row in shot_rows(shot, mattes, range(shot.first, shot.last + 1), annotated, {})}
    made = [frame for frame in rows if frame not in annotated]
    sure = {frame: read_matte_metadata(mattes.path(frame)).confidence or 1.0 for frame in made}
    write_panel(folder / "panel.png", gizmo, annotated=annotated, first=shot.first, last=shot.last, engine=engine)
    write_before_after(folder / "before_after.png", rows, annotated, made[len(made) // 3])
    write_workflow(folder / "workflow.png", rows, annotated, min(made, key=lambda frame: sure[frame]))
    print(f"pictures: {os.path.relpath(folder)}")


def write_sheet(
    path: Path, shot: DemoShot, mattes: FramePattern, *, annotated: list[int], notes: dict[int, str], subtitle: str
) -> None:
    """Write the plate, the shapes, the matte and its difference to the truth for frames spread over the shot."""
    import numpy as np

    from rotomem.demo import write_contact_sheet

    frames = sorted({*annotated, *np.linspace(shot.first, shot.last, SHEET_ROWS).round().astype(int)})
    rows = shot_rows(shot, mattes, frames, annotated, notes)
    write_contact_sheet(path, rows, title="Rotomem demo", subtitle=subtitle)


def shot_rows(
    shot: DemoShot, mattes: FramePattern, frames: Iterable[int], annotated: list[int], notes: dict[int, str]
) -> list[ContactRow]:
    """Read what pictures show of ``frames``: plate, mattes, truth, and the roto where it was drawn."""
    from rotomem.demo import ContactRow
    from rotomem.plates import FramePattern, PlateSource, read_alpha

    truths = FramePattern.parse(shot.truth_pattern)
    with contextlib.closing(PlateSource(pattern=shot.plate_pattern, first=shot.first, last=shot.last)) as source:
        return [
            ContactRow(
                frame,
                source.image(frame),
                {name: read_alpha(mattes.path(frame), frame, object_name=name) for name in shot.objects},
                {name: read_alpha(truths.path(frame), frame, object_name=name) for name in shot.objects},
                shapes=shot.shapes[frame] if frame in annotated else {},
                note=notes.get(frame, "drawn by the artist"),
            )
            for frame in frames
        ]
