"""Evaluating the graph to pixels with OpenImageIO (research/nuke.md §4, L4).

Pictures are numpy arrays with row 0 at the top; Nuke's own coordinates have their origin at the bottom left.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Any

from nuke._expressions import compute
from nuke._knobs import Format, substitute
from nuke._session import session


@dataclass(frozen=True)
class Picture:
    """``channels``: Nuke name such as ``rgba.alpha`` to (H, W) float32 over the whole format."""

    format: Format
    channels: dict[str, Any]


_RGBA = {"R": "rgba.red", "G": "rgba.green", "B": "rgba.blue", "A": "rgba.alpha"}
_SUFFIXES = {"R": "red", "G": "green", "B": "blue", "A": "alpha"}


def evaluate(op: Any, frame: int) -> Picture:
    """Return the picture that Nuke's Viewer would show of ``op`` on ``frame``."""
    kind = op.class_name
    if op.knobs["disable"].value():
        return evaluate(_input(op, 0), frame)
    if kind in ("Dot", "NoOp", "Output", "Write"):
        return evaluate(_input(op, 0), frame)
    if kind == "Assert":
        if not op.knobs["expression"].value():
            raise RuntimeError(f"{op.full_name}: {op.knobs['message'].evaluate()}")
        return evaluate(_input(op, 0), frame)
    if kind == "Group":
        (output,) = (child for child in op.children if child.class_name == "Output")
        return evaluate(output, frame)
    if kind == "Input":
        return evaluate(_input(op.parent, op.knobs["number"].value()), frame)
    if kind == "Switch":
        return evaluate(_input(op, int(op.knobs["which"].value())), frame)
    return {
        "Read": _read,
        "Crop": _crop,
        "Copy": _copy,
        "Shuffle2": _shuffle,
        "Grade": _grade,
        "Expression": _expression,
        "FilterErode": _erode,
        "Blur": _blur,
        "Roto": _roto,
        "RotoPaint": _roto,
    }[kind](op, frame)


def format_of(op: Any) -> Format:
    """Return the display window of ``op``'s output."""
    while op.class_name not in ("Read", "Roto", "RotoPaint") or 0 in op.inputs:
        if op.class_name == "Group":
            (op,) = (child for child in op.children if child.class_name == "Output")
        elif op.class_name == "Input":
            op = _input(op.parent, op.knobs["number"].value())
        elif op.class_name == "Crop" and op.knobs["reformat"].value():
            return _box_format(op)
        else:
            op = _input(op, 0)
    if op.class_name != "Read":
        return op.knobs["format"].value()  # type: ignore[no-any-return]
    return _load(_path(op, op.knobs["first"].value())).format


def execute(op: Any, first: int, last: int, step: int, view: str) -> None:
    """Write the files of a Write node, in one view."""
    if op.class_name != "Write":
        raise RuntimeError(f"{op.full_name} cannot be executed")
    for frame in range(first, last + 1, step):
        if session.cancel_render_at == frame:
            session.cancel_render_at = None
            raise RuntimeError("Cancelled")  # research/nuke.md §2 "Pixels out": cancel and ^C raise 'cancelled'
        before, session.view = session.view, view
        try:
            _write(op, frame)
        finally:
            session.view = before


def _input(op: Any, index: int) -> Any:
    if index not in op.inputs:
        raise RuntimeError(f"{op.full_name}: input {index} is not connected")
    return op.inputs[index]


def _path(op: Any, frame: int) -> str:
    pattern = substitute(op.knobs["file"]._value, op)
    # research/nuke.md §2 "Images": one cache per view, %V is its name (Foundry: %v its first letter).
    pattern = pattern.replace("%V", session.view).replace("%v", session.view[0])
    hashes = re.search("#+", pattern)
    if hashes:
        return pattern.replace(hashes.group(), str(frame).zfill(len(hashes.group())))
    return pattern % frame if "%" in pattern else pattern


def _load(path: str) -> Picture:
    import numpy as np
    import OpenImageIO as oiio

    source = oiio.ImageInput.open(path)
    if source is None:
        raise RuntimeError(f"{path}: {oiio.geterror()}")
    spec = source.spec()
    pixels = source.read_image(oiio.FLOAT)
    source.close()
    if pixels is None:
        raise RuntimeError(f"{path}: no pixels")
    pixels = np.asarray(pixels, np.float32).reshape(spec.height, spec.width, spec.nchannels)
    whole = np.zeros((spec.full_height, spec.full_width, spec.nchannels), np.float32)
    top, left = spec.y - spec.full_y, spec.x - spec.full_x
    rows = slice(max(0, top), min(spec.full_height, top + spec.height))
    columns = slice(max(0, left), min(spec.full_width, left + spec.width))
    whole[rows, columns] = pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    aspect = float(spec.getattribute("PixelAspectRatio") or 1.0)
    channels = {_channel(name): whole[..., index] for index, name in enumerate(spec.channelnames)}
    session.channels.update(channels)  # a Read brings its file's layers with it
    return Picture(Format(spec.full_width, spec.full_height, aspect), channels)


def _channel(name: str) -> str:
    if name in _RGBA:
        return _RGBA[name]
    layer, _, suffix = name.rpartition(".")
    return f"{layer or 'other'}.{_SUFFIXES.get(suffix, suffix)}"


def _read(op: Any, frame: int) -> Picture:
    first, last = op.knobs["first"].value(), op.knobs["last"].value()
    at = min(max(frame, first), last)
    outside = op.knobs["before"].value() if frame < first else op.knobs["after"].value() if frame > last else ""
    if outside not in ("", "hold", "black"):
        raise ValueError(f"the fake cannot {outside} frames")
    path = _path(op, at)
    if not os.path.isfile(path):
        if op.knobs["on_error"].value() != "black":
            raise RuntimeError(f"{op.full_name}: {path}: No such file or directory")
        return _blank(_any_format(op))
    picture = _load(path)
    if outside == "black":
        return _blank(picture.format)
    return picture


def _any_format(op: Any) -> Format:
    for frame in range(op.knobs["first"].value(), op.knobs["last"].value() + 1):
        if os.path.isfile(_path(op, frame)):
            return _load(_path(op, frame)).format
    raise RuntimeError(f"{op.full_name}: no frame on disk to take the format from")


def _blank(size: Format) -> Picture:
    import numpy as np

    zeros = np.zeros((size.height(), size.width()), np.float32)
    return Picture(size, {"rgba.alpha": zeros})


def _crop(op: Any, frame: int) -> Picture:
    picture = evaluate(_input(op, 0), frame)
    x, y, right, top = (int(v) for v in op.knobs["box"].value())
    height = picture.format.height()
    kept = {}
    for name, pixels in picture.channels.items():
        kept[name] = pixels * 0
        inside = (slice(max(0, height - top), height - y), slice(x, right))
        kept[name][inside] = pixels[inside]
    if op.knobs["reformat"].value():
        return Picture(
            _box_format(op), {name: _moved_to_box(pixels, x, y, right, top) for name, pixels in kept.items()}
        )
    return replace(picture, channels=kept)


def _box_format(crop: Any) -> Format:
    x, y, right, top = (int(v) for v in crop.knobs["box"].value())
    return Format(right - x, top - y)


def _moved_to_box(pixels: Any, x: int, y: int, right: int, top: int) -> Any:
    """Return the box's pixels, black outside of the picture; the box's bottom left becomes the origin."""
    import numpy as np

    height, width = pixels.shape
    moved = np.zeros((top - y, right - x), np.float32)
    rows, columns = min(top, height) - max(0, y), min(right, width) - max(0, x)
    row, column = top - min(top, height), max(0, x) - x
    source_row = height - min(top, height)
    moved[row : row + rows, column : column + columns] = pixels[
        source_row : source_row + rows, max(0, x) : max(0, x) + columns
    ]
    return moved


def _copy(op: Any, frame: int) -> Picture:
    """Channel pairs, then ``channels`` as a whole; a channel that A lacks is black.

    ``channels all`` takes those that A has: public tools put layers back over a stream so, with from0 and to0 none.
    """
    below, above = evaluate(_input(op, 0), frame), evaluate(_input(op, 1), frame)
    size = next(iter(below.channels.values())).shape
    copied = dict(below.channels)
    for index in range(4):
        source, target = op.knobs[f"from{index}"].value(), op.knobs[f"to{index}"].value()
        if "none" not in (source, target):
            copied[target] = above.channels.get(source, next(iter(above.channels.values())) * 0)
    if op.knobs["channels"].value() not in ("none", "all"):
        raise NotImplementedError(f"{op.full_name}: channels {op.knobs['channels'].value()}")
    if op.knobs["channels"].value() == "all":
        copied.update(above.channels)
    for pixels in copied.values():
        if pixels.shape != size:
            raise RuntimeError(f"{op.full_name}: sizes differ: {pixels.shape} over {size}")
    return replace(below, channels=copied)


def _shuffle(op: Any, frame: int) -> Picture:
    """Input B only; every channel that is not mapped stays."""
    import numpy as np

    if op.knobs["fromInput1"]._value.split()[-1:] not in ([], ["B"]):
        raise NotImplementedError(f"{op.full_name}: fromInput1 {op.knobs['fromInput1']._value}")
    picture = evaluate(_input(op, 0), frame)
    black = np.zeros((picture.format.height(), picture.format.width()), np.float32)
    constants = {"white": black + 1.0, "black": black}
    mapped = {
        target: constants[source] if source in constants else picture.channels.get(source, black)
        for source, target in op.knobs["mappings"]._value
    }
    return replace(picture, channels={**picture.channels, **mapped})


def _expression(op: Any, frame: int) -> Picture:
    """``expr0`` to ``expr3`` give red, green, blue and alpha, as by default; ``r g b a`` are the pixels."""
    picture = evaluate(_input(op, 0), frame)
    black = next(iter(picture.channels.values())) * 0
    letters = {letter: picture.channels.get(_RGBA[letter.upper()], black) for letter in "rgba"}
    made = {
        name: compute(text, letters.__getitem__) + black
        for name, text in zip(_RGBA.values(), (op.knobs[f"expr{index}"]._value for index in range(4)))
        if text
    }
    return replace(picture, channels={**picture.channels, **made})


def _filtered(op: Any, frame: int, change: Any) -> Picture:
    picture = evaluate(_input(op, 0), frame)
    if op.knobs["channels"].value() != "all":
        raise NotImplementedError(f"{op.full_name}: channels {op.knobs['channels'].value()}")
    return replace(picture, channels={name: change(pixels) for name, pixels in picture.channels.items()})


def _erode(op: Any, frame: int) -> Picture:
    """A square, whatever the filter: ``size`` above 0 erodes, below 0 dilates (public gizmos dilate by ``-Size/5``)."""
    import numpy as np

    size = op.knobs["size"].value()
    radius, pick = round(abs(size)), (np.minimum if size > 0 else np.maximum)

    def change(pixels: Any) -> Any:
        for axis in (0, 1):
            padded = np.pad(pixels, [(radius, radius) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
            pixels = pick.reduce([np.roll(padded, -s, axis) for s in range(2 * radius + 1)])
            pixels = pixels[: pixels.shape[0] - 2 * radius * (axis == 0), : pixels.shape[1] - 2 * radius * (axis == 1)]
        return pixels

    return _filtered(op, frame, change)


def _blur(op: Any, frame: int) -> Picture:
    """A box of ``size`` pixels where Nuke has a Gaussian of that size: enough to see that it was applied."""
    import numpy as np

    radius = max(1, round(op.knobs["size"].value() / 2))

    def change(pixels: Any) -> Any:
        for axis in (0, 1):
            pixels = np.mean([np.roll(pixels, s, axis) for s in range(-radius, radius + 1)], axis=0)
        return pixels.astype(np.float32)

    return _filtered(op, frame, change)


def _grade(op: Any, frame: int) -> Picture:
    picture = evaluate(_input(op, 0), frame)
    channels = op.knobs["channels"].value()
    touched = {"rgb": ("red", "green", "blue"), "rgba": ("red", "green", "blue", "alpha"), "alpha": ("alpha",)}
    gain = op.knobs["multiply"].value()
    return replace(
        picture,
        channels={
            name: pixels * gain if name.rpartition(".")[2] in touched[channels] else pixels
            for name, pixels in picture.channels.items()
        },
    )


def _roto(op: Any, frame: int) -> Picture:
    import numpy as np

    from nuke import rotopaint

    picture = evaluate(op.inputs[0], frame) if 0 in op.inputs else _blank(op.knobs["format"].value())
    size = picture.format
    below = picture.channels.get("rgba.alpha", np.zeros((size.height(), size.width()), np.float32))
    alpha = rotopaint.render(op.knobs["curves"], frame, below)
    return replace(picture, channels={**picture.channels, "rgba.alpha": alpha})


def _write(op: Any, frame: int) -> None:
    import numpy as np
    import OpenImageIO as oiio

    picture = evaluate(_input(op, 0), frame)
    wanted = {"rgb": "RGB", "rgba": "RGBA", "alpha": "A"}[op.knobs["channels"].value()]
    if op.knobs["file_type"].value() != "exr":
        raise RuntimeError("the fake writes EXR only")
    blank = np.zeros((picture.format.height(), picture.format.width()), np.float32)
    pixels = np.stack([picture.channels.get(_RGBA[letter], blank) for letter in wanted], axis=-1)
    if session.root.knobs["proxy"]._value:
        pixels = pixels[::2, ::2]  # Nuke renders proxies as proxies
    height, width = pixels.shape[:2]
    half = op.knobs["datatype"].value() == "16 bit half"
    spec = oiio.ImageSpec(width, height, len(wanted), "half" if half else "float")
    spec.channelnames = tuple(wanted)
    compression = {"none": "none", "Zip (1 scanline)": "zips", "Zip (16 scanlines)": "zip"}
    spec.attribute("compression", compression[op.knobs["compression"].value()])
    spec.attribute("PixelAspectRatio", picture.format.pixelAspect())
    path = _path(op, frame)
    target = oiio.ImageOutput.create(path)
    if target is None or not target.open(path, spec) or not target.write_image(np.ascontiguousarray(pixels)):
        raise RuntimeError(f"{path}: cannot be written: {oiio.geterror()}")
    target.close()
