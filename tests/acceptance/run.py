"""Inside Nuke: ``Nuke17.1 --nc -t tests/acceptance/run.py --out FOLDER``. ``kit.py`` calls it; Python 3.9.

Every step is tried and noted in ``FOLDER/nuke.json``; one that fails does not keep the others from being tried. It
touches ten nodes at most, which is what the non-commercial edition allows.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nuke

HERE = Path(__file__).resolve().parent
FIRST, LAST = 1001, 1012


class Kit:
    """The steps, in the order in which they build on each other."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.steps: list[dict[str, Any]] = []
        self.roto: Any = None
        self.node: Any = None

    def try_step(self, name: str, step: Callable[[], Any]) -> None:
        started = time.monotonic()
        try:
            found: Any = step()
            ok = True
        except Exception as error:  # each step is reported, whatever happens in it
            found = {"error": str(error), "traceback": traceback.format_exc()}
            ok = False
        self.steps.append({"step": name, "ok": ok, "found": found, "seconds": round(time.monotonic() - started, 2)})
        sys.stdout.write("{} {}{}\n".format("ok  " if ok else "FAIL", name, "" if ok else f": {found['error']}"))
        sys.stdout.flush()

    def write(self) -> None:
        content = {"rotomem_acceptance": 1, "host": self.host(), "steps": self.steps}
        (self.out / "nuke.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def host(self) -> dict[str, Any]:
        return {
            "nuke": str(nuke.NUKE_VERSION_STRING),
            "python": platform.python_version(),
            "system": platform.platform(),
            "non_commercial": bool(nuke.env.get("nc")),
            "window": bool(nuke.GUI),
        }

    def the_plugin_starts(self) -> Any:
        from rotomem_nuke import startup, vendor

        missing = vendor.missing_wheels()
        if missing:
            raise RuntimeError("Python lacks {}".format(" and ".join(missing)))
        return {"gizmo": str(startup.gizmo_folder()), "vendor": str(vendor.vendor_folder())}

    def shapes_go_into_a_roto_and_come_back(self) -> Any:
        from rotomem_client.shapes import shape_from_plain
        from rotomem_nuke import drawing, roto

        self.roto = nuke.nodes.Roto()
        drawn = json.loads((HERE / "plate" / "roto.json").read_text(encoding="utf-8"))
        for frame, objects in drawn.items():
            for name, shapes in objects.items():
                read = [shape_from_plain(shape) for shape in shapes]
                drawing.draw_shapes(self.roto, name, int(frame), read, height=144)
        return {entry.name: roto.key_frames(self.roto, entry) for entry in roto.roto_objects(self.roto)}

    def the_node_is_made_and_wired(self) -> Any:
        import rotomem_nuke.api as rm

        plate = nuke.nodes.Read(file=(HERE / "plate" / "pond.%04d.jpg").as_posix(), first=FIRST, last=LAST)
        cache = (self.out / "cache").as_posix()
        self.node = rm.create(plate, self.roto, name="acceptance", engine="warp", cache_dir=cache)
        return sorted(self.node.knobs())

    def the_daemon_makes_the_mattes(self) -> Any:
        import rotomem_nuke.api as rm

        job = rm.propagate(self.node, wait=False)
        told = [(matte.frame, matte.confidence) for matte in job.events()]
        if not job.complete:
            raise RuntimeError(job.sentence)
        return {"sentence": job.sentence, "mattes": told, "pattern": self.node["mattes"].value()}

    def the_comp_renders_them(self) -> Any:
        write = nuke.nodes.Write(inputs=[self.node], file=(self.out / "rendered.%04d.exr").as_posix())
        write["file_type"].setValue("exr")
        write["channels"].setValue("rgba")
        nuke.execute("Write1", FIRST, LAST)
        return str(self.out / "rendered.%04d.exr")

    def a_job_is_exported(self) -> Any:
        import rotomem_nuke.api as rm

        return str(rm.export_job(self.node, self.out / "acceptance.rotomem.json"))

    def a_missing_matte_is_named(self) -> Any:
        import rotomem_nuke.api as rm

        matte = Path(self.node["mattes"].value().replace("%04d", "1005"))
        aside = matte.with_suffix(".aside")
        matte.rename(aside)
        try:
            rm.assert_complete(self.node)
        except rm.IncompleteError as error:
            return str(error)
        finally:
            aside.rename(matte)
        raise RuntimeError("frame 1005 has no matte, and nothing was said")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    kit = Kit(options.out.resolve())
    kit.out.mkdir(parents=True, exist_ok=True)
    try:
        for step in (
            kit.the_plugin_starts,
            kit.shapes_go_into_a_roto_and_come_back,
            kit.the_node_is_made_and_wired,
            kit.the_daemon_makes_the_mattes,
            kit.the_comp_renders_them,
            kit.a_job_is_exported,
            kit.a_missing_matte_is_named,
        ):
            kit.try_step(step.__name__.replace("_", " "), step)
    finally:
        kit.write()
    return 0 if all(step["ok"] for step in kit.steps) else 1


if __name__ == "__main__":
    sys.exit(main())
