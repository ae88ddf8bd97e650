"""A rez package of the Nuke plugin. In this folder: ``rez build --install`` (or ``rez release``).

The build runs the plugin's installer into the package's folder, with the wheels of every Nuke and platform. Set
``ROTOMEM_WHEELS`` to a folder of wheels where the build machine has no network
(``python3 install/plugin.py wheels --to FOLDER`` fetches them elsewhere).
"""

name = "rotomem_nuke"
version = "0.1.0"
description = "Rotomem's Nuke node: draw a roto on a few frames, get a soft alpha for every frame"
tools = []
build_command = "python3 {root}/build.py {install}"


def commands():
    env.NUKE_PATH.append("{root}/rotomem")  # noqa: F821 - rez gives `env` to this function
