"""Plates and mattes on disk: OpenImageIO reading and writing, colour, frame ranges. No torch."""

from rotomem.plates.colour import encode_srgb, network_image, roll_off
from rotomem.plates.colourspaces import resolve_colourspace
from rotomem.plates.frame_range import format_frame_range, parse_frame_range
from rotomem.plates.mattes import MatteMetadata, check_object_name, read_confidence, read_matte_metadata, write_mattes
from rotomem.plates.pattern import FramePattern
from rotomem.plates.publishing import WrittenFile
from rotomem.plates.reading import PlateFrame, network_rgb, read_alpha, read_plate_frame
from rotomem.plates.source import PlateSource
from rotomem.plates.window import Window

__all__ = [
    "FramePattern",
    "MatteMetadata",
    "PlateFrame",
    "PlateSource",
    "Window",
    "WrittenFile",
    "check_object_name",
    "encode_srgb",
    "format_frame_range",
    "network_image",
    "network_rgb",
    "parse_frame_range",
    "read_alpha",
    "read_confidence",
    "read_matte_metadata",
    "read_plate_frame",
    "resolve_colourspace",
    "roll_off",
    "write_mattes",
]
