"""Nuke 14 runs Python 3.9: the plugin parses as it everywhere, and runs in it where it is installed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from nuke_scene import PLUGIN

CODE = """
import sys
sys.path[:0] = [{plugin!r}, {fakes!r}]
assert sys.version_info[:2] == (3, 9)
import nuke
from nuke_scene import add_shape, read_node, roto_node, rotomem_node, start
start()
from rotomem_nuke.roto import roto_objects, shapes_at
from rotomem_nuke import actions, propagation, annotation
roto = roto_node()
add_shape(roto["curves"].rootLayer, keys=[2, 8])
(found,) = roto_objects(roto)
(shape,) = shapes_at(roto, found, 2, height=64)
print(shape.name, [point.center for point in shape.points])
node = rotomem_node(None, roto)
node["propagate"].execute()
print(node["status"].value())
"""


def _sources() -> list[Path]:
    return [path for path in PLUGIN.rglob("*.py") if "vendor" not in path.parts]


@pytest.mark.parametrize("path", _sources(), ids=lambda path: path.relative_to(PLUGIN).as_posix())
def test_every_file_parses_as_python_39(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 9))


def test_newer_syntax_would_be_noticed() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("match x:\n    case 1: pass\n", feature_version=(3, 9))


def test_it_runs_in_python_39(python39: str) -> None:
    code = CODE.format(plugin=str(PLUGIN), fakes=str(PLUGIN.parent / "tests" / "fakes"))
    done = subprocess.run([python39, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "Bezier1 [(20.0, 54.0), (50.0, 54.0), (50.0, 24.0), (20.0, 24.0)]",
        "failed: the plate input is not connected; wire the plate into 'img'",
    ]


def test_only_host_imports_nuke() -> None:
    importers = set()
    for path in _sources():
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in item.names]
                if isinstance(item, ast.Import)
                else [item.module or ""]
                if isinstance(item, ast.ImportFrom)
                else []
            )
            if any(name.split(".")[0] == "nuke" for name in names):
                importers.add(path.name)
    assert importers == {"host.py"}


def test_the_plugin_needs_nothing_but_the_standard_library_and_the_client() -> None:
    allowed = {*sys.stdlib_module_names, "nuke", "rotomem_client", "rotomem_nuke"}
    for path in [*(PLUGIN / "rotomem_nuke").glob("*.py"), PLUGIN / "init.py", PLUGIN / "menu.py"]:
        for item in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(item, ast.Import):
                assert all(alias.name.split(".")[0] in allowed for alias in item.names), path.name
            if isinstance(item, ast.ImportFrom):
                assert (item.module or "").split(".")[0] in allowed, path.name
