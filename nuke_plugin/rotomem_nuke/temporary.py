"""Rendering a node to EXR through temporary nodes that leave no trace in the artist's script."""

from __future__ import annotations

from pathlib import Path

from rotomem_nuke import host
from rotomem_nuke.formats import Format, format_of


def render_node(
    source: host.Node, pattern: Path, first: int, last: int, *, channels: str, size: Format, view: str = ""
) -> None:
    """Write ``source``'s pixels inside of ``size``, as raw half-float ZIP EXR. Main thread only.

    The nodes live for this one call: a save, an undo or a cancel can never meet them.

    Args:
        pattern: ``/tmp/a/plate.%04d.exr``; its folder exists.
        channels: ``rgb`` or ``alpha``.
        size: of the files. Another format of ``source`` is cut or extended from the bottom left, where Nuke has its
            origin, and never scaled: each pixel stays where Copy and Merge would put it.
        view: to render; empty is the script's first.

    Raises:
        RenderCancelled: the artist cancelled.
        PluginError: Nuke could not render.
    """
    own = format_of(source)
    with host.unrecorded(), host.parent_of(source):
        crop = host.create("Crop", inputs=[source])
        try:
            crop["box"].setValue([0, 0, size.width, size.height])
            # Only where needed: reformatting gives a format without a name and may lose the pixel aspect.
            crop["reformat"].setValue((own.width, own.height) != (size.width, size.height))
            write = host.create("Write", inputs=[crop])
            try:
                write["file"].setValue(pattern.as_posix())
                write["file_type"].setValue("exr")  # the EXR knobs below exist from here on
                write["channels"].setValue(channels)
                write["raw"].setValue(True)
                write["datatype"].setValue("16 bit half")
                write["compression"].setValue("Zip (1 scanline)")
                with host.full_resolution():
                    host.render(write, first, last, view or host.views()[0])
            finally:
                host.delete(write)
        finally:
            host.delete(crop)
