"""The colourspace of a file that nobody named: from its metadata and type."""

from __future__ import annotations

from collections.abc import Mapping

from rotomem.errors import ColourspaceError
from rotomem.plates.colourspaces import (
    CAMERA_REC709,
    CINEON,
    LINEAR_REC709,
    SRGB,
    resolve_colourspace,
    scene_linear,
)

PRIMARIES: Mapping[str, tuple[float, ...]] = {
    LINEAR_REC709: (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290),
    "ACEScg": (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767),
    "ACES2065-1": (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767),
    "Linear Rec.2020": (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    "Linear P3-D65": (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
    "Linear ARRI Wide Gamut 3": (0.6840, 0.3130, 0.2210, 0.8480, 0.0861, -0.1020, 0.3127, 0.3290),
    "Linear ARRI Wide Gamut 4": (0.7347, 0.2653, 0.1424, 0.8576, 0.0991, -0.0308, 0.3127, 0.3290),
    "Linear REDWideGamutRGB": (0.780308, 0.304253, 0.121595, 1.493994, 0.095612, -0.084589, 0.3127, 0.3290),
    "Linear S-Gamut3": (0.730, 0.280, 0.140, 0.855, 0.100, -0.050, 0.3127, 0.3290),
    "Linear S-Gamut3.Cine": (0.766, 0.275, 0.225, 0.800, 0.089, -0.087, 0.3127, 0.3290),
    "Linear V-Gamut": (0.730, 0.280, 0.165, 0.840, 0.100, -0.030, 0.3127, 0.3290),
}
"""CIE x, y of red, green, blue and white, as in EXR. Sources: the makers' white papers, ITU-R BT.709, SMPTE ST 2065."""

PRIMARIES_TOLERANCE = 0.002
"""Half the distance of the closest two sets; writers round to three digits, and D60 to two."""

_VIDEO_TRANSFERS = ("itu-r 709", "itu-r 601", "smpte 274m", "bt 601")
_UNINFORMATIVE = ("linear", "lin_rec709", "lin_rec709_scene", "lin_srgb", "scene_linear", "")


def detect_colourspace(file_format: str, *, is_float: bool, metadata: Mapping[str, object]) -> tuple[str, str]:
    """Return the colourspace (canonical) and a warning sentence, which is empty where nothing is doubtful.

    EXR: its ACES container flag, chromaticities, colour interop id or OpenImageIO colourspace, else scene-linear.
    DPX and Cineon: the transfer characteristic where it says linear or video, else Cineon, as in Nuke. Others: the
    colourspace in the file (PNG gamma, JPEG), else linear for floats and sRGB for integers.
    """
    if file_format in ("dpx", "cineon"):
        return _film_colourspace(str(metadata.get("dpx:Transfer", ""))), ""
    if file_format == "openexr":
        return _exr_colourspace(metadata)
    named = _known(str(metadata.get("oiio:ColorSpace", "")))
    return named or (scene_linear() if is_float else resolve_colourspace(SRGB)), ""


def _film_colourspace(transfer: str) -> str:
    if transfer.lower() == "linear":
        return resolve_colourspace(LINEAR_REC709)
    if transfer.lower().startswith(_VIDEO_TRANSFERS):
        return resolve_colourspace(CAMERA_REC709)
    return resolve_colourspace(CINEON)


def _exr_colourspace(metadata: Mapping[str, object]) -> tuple[str, str]:
    if metadata.get("acesImageContainerFlag") == 1:
        return resolve_colourspace("ACES2065-1"), ""
    chromaticities = metadata.get("chromaticities")
    if isinstance(chromaticities, tuple) and len(chromaticities) == 8:
        for name, primaries in PRIMARIES.items():
            if all(abs(a - b) < PRIMARIES_TOLERANCE for a, b in zip(chromaticities, primaries, strict=True)):
                return resolve_colourspace(name), ""
        known = scene_linear()
        red = f"{chromaticities[0]:.3f}, {chromaticities[1]:.3f}"
        return known, f"the plate's chromaticities (red at {red}) are of no known colourspace; {known} is assumed"
    for key in ("colorInteropID", "oiio:ColorSpace"):
        name = str(metadata.get(key, ""))
        # OpenImageIO before 3.1 calls every EXR linear, whether or not the file says so.
        if name.lower() not in _UNINFORMATIVE and _known(name):
            return _known(name), ""
    return scene_linear(), ""


def _known(name: str) -> str:
    """Return the canonical name, or nothing: metadata may name a space of another studio's configuration."""
    try:
        return resolve_colourspace(name) if name else ""
    except ColourspaceError:
        return ""
