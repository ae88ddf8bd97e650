"""What ``init.py`` and ``menu.py`` call: find the wheels and the gizmo, register the label, add the menu."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Optional

from rotomem_nuke import host
from rotomem_nuke.vendor import PLUGIN_FOLDER, append_vendor_folder, missing_wheels, vendor_folder

log = logging.getLogger("rotomem_nuke")


def start() -> None:
    """Prepare a Nuke session, with or without a window; a missing wheel costs one line, never the start-up."""
    if not host.gui() and not log.handlers:
        _log_to_terminal()
    append_vendor_folder()
    folder = gizmo_folder()
    if folder is None:
        inside, beside = _gizmo_folders()
        log.error(
            "Rotomem's node is not available in this session: Rotomem.gizmo is neither in %s nor in %s; copy the "
            "folder 'gizmos' of the distribution to one of these places and restart Nuke",
            beside.as_posix(),
            inside.as_posix(),
        )
    else:
        host.add_plugin_path(folder.as_posix())
    from rotomem_nuke import callbacks, farm

    host.add_autolabel(callbacks.autolabel)
    host.add_before_render(farm.guard, farm.guard_frame)
    missing = missing_wheels()
    if missing:
        log.error(
            "Rotomem cannot reach a daemon in this session: Python lacks %s; run install/plugin.py install "
            "(or unpack the wheels into %s)",
            " and ".join(missing),
            vendor_folder(),
        )


def add_menu() -> None:
    """Add the node's entry to the menu, unless there is no node to create; ``start`` has told why."""
    if gizmo_folder() is None:
        return
    host.add_node_command(
        "Rotomem", "Rotomem", "import rotomem_nuke.creation\nrotomem_nuke.creation.create_from_menu()"
    )


def gizmo_folder() -> Optional[Path]:
    """Return where the node's file is: in the plugin's folder, or in ``gizmos`` beside it as in the distribution."""
    for folder in _gizmo_folders():
        if (folder / "Rotomem.gizmo").is_file():
            return folder
    return None


def _gizmo_folders() -> tuple[Path, Path]:
    return PLUGIN_FOLDER / "gizmos", PLUGIN_FOLDER.parent / "gizmos"


def _log_to_terminal() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
