"""Which channels of an image file are its colour and which its alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAIN_LAYERS = ("", "rgba", "rgb", "main", "beauty", "c", "combined")
"""Names, lower case, under which renderers and Nuke keep the picture itself; Blender's is ``ViewLayer.Combined``."""

_SUFFIXES = {
    **{"r": "R", "red": "R", "g": "G", "green": "G", "b": "B", "blue": "B"},
    **{"a": "A", "alpha": "A", "y": "Y", "luminance": "Y"},
}


@dataclass(frozen=True)
class Part:
    """One part (OpenImageIO: subimage) of a file. ``name`` is empty in files of a single part."""

    index: int
    name: str
    channels: tuple[str, ...]


@dataclass(frozen=True)
class ChannelChoice:
    """Channels of one part, by index, in the order in which they are wanted."""

    part: int
    channels: tuple[int, ...]


@dataclass(frozen=True)
class _Layer:
    """The channels of one part that share a layer name; ``channels`` maps R, G, B, A and Y to channel indices."""

    name: str
    part: int
    channels: dict[str, int]

    @property
    def is_main(self) -> bool:
        name = self.name.lower()
        # Stereo parts are called "rgba.left"; Blender's layers "ViewLayer.Combined".
        return name in MAIN_LAYERS or name.split(".")[0] in MAIN_LAYERS or name.endswith(".combined")

    def select(self, wanted: str) -> ChannelChoice | None:
        if any(channel not in self.channels for channel in wanted):
            return None
        return ChannelChoice(self.part, tuple(self.channels[channel] for channel in wanted))


def choose_colour(parts: Sequence[Part]) -> ChannelChoice | None:
    """Choose the picture: three channels, or one (luminance) to be used three times.

    Names count without regard to case. First the main layers' R, G, B in file order, then unnamed R, G, B of a part
    with another name (such as a stereo file's ``left``), then the main layers' Y, then a file's only R, G, B.

    Returns:
        None where nothing of that kind is there, or several layers have an equal claim.
    """
    layers = _layers(parts)
    unnamed = {part.index for part in parts if {"R", "G", "B"} <= _plain_channels(part)}
    for candidates, wanted in (
        ([layer for layer in layers if layer.is_main], "RGB"),
        ([layer for layer in layers if layer.part in unnamed], "RGB"),
        ([layer for layer in layers if layer.is_main], "Y"),
    ):
        for layer in candidates:
            choice = layer.select(wanted)
            if choice:
                return choice
    coloured = [choice for layer in layers if (choice := layer.select("RGB"))]
    return coloured[0] if len(coloured) == 1 else None


def choose_alpha(parts: Sequence[Part], object_name: str | None = None) -> ChannelChoice | None:
    """Choose a matte: ``<object>.A`` where ``object_name`` is given (case counts), else the main layers' A, else their
    Y, else the only channel of a file with one channel, else their R, G, B (to be used if all three are equal)."""
    layers = _layers(parts)
    if object_name is not None:
        choices = [layer.select("A") for layer in layers if layer.name == object_name]
        return next((choice for choice in choices if choice), None)
    main = [layer for layer in layers if layer.is_main]
    for wanted in ("A", "Y"):
        for layer in main:
            choice = layer.select(wanted)
            if choice:
                return choice
    if sum(len(part.channels) for part in parts) == 1:
        return ChannelChoice(parts[0].index, (0,))
    return next((choice for layer in main if (choice := layer.select("RGB"))), None)


def name_channels(parts: Sequence[Part]) -> str:
    """List the channels for a sentence, at most twelve."""
    names = [f"{part.name}/{channel}" if part.name else channel for part in parts for channel in part.channels]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def _layers(parts: Sequence[Part]) -> list[_Layer]:
    layers: dict[tuple[int, str], _Layer] = {}
    for part in parts:
        for index, channel in enumerate(part.channels):
            prefix, _, suffix = channel.rpartition(".")
            meaning = _SUFFIXES.get(suffix.lower())
            if meaning is not None:
                name = prefix or part.name
                layers.setdefault((part.index, name), _Layer(name, part.index, {})).channels.setdefault(meaning, index)
    return list(layers.values())


def _plain_channels(part: Part) -> set[str]:
    return {_SUFFIXES.get(channel.lower(), "") for channel in part.channels}
