"""Export a node's job from a farm's Nuke: ``Nuke17.1 -t rotomem_export.py --script comp.nk --node hero``.

    --script FILE   the comp
    --node NAME     the Rotomem node, by its full name; without it every Rotomem node of the comp
    --out FILE      the job (default: <node>.rotomem.json beside the comp); a folder for several nodes
    --map FROM=TO   a path as the farm sees it; may be repeated
    --save FILE     also write the comp with the nodes pointed at the mattes to come; renders then need no plugin

Exit codes: 0 written, 1 refused (the reason is printed). A Nuke licence is needed for this step only, and none where
the plate is a plain Read and the job was exported by the artist.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Optional


def main(arguments: Optional[Sequence[str]] = None) -> int:
    try:
        from rotomem_nuke import export
    except ImportError as error:
        sys.stderr.write(f"rotomem export: the plugin is not on NUKE_PATH ({error}); run install/plugin.py install\n")
        return 1
    return export.main(sys.argv[1:] if arguments is None else arguments, __doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
