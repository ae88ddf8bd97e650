"""Names of colourspaces: from what Nuke, files and studios call them to one in an OpenColorIO configuration.

The configurations are the one that ``$OCIO`` names, where it is set, and then the ACES studio configuration inside
OpenColorIO, to which the curves are added that Nuke's own default configuration has and ACES lacks.
"""

from __future__ import annotations

import copy
import difflib
import math
import os
import re
from collections.abc import Iterator
from functools import lru_cache

import PyOpenColorIO as ocio

from rotomem.errors import ColourspaceError

LINEAR_REC709 = "Linear Rec.709 (sRGB)"
SRGB = "srgb_tx"
CAMERA_REC709 = "Camera Rec.709"
CINEON = "Cineon"

NUKE_NAMES = {
    "linear": LINEAR_REC709,
    "lin_srgb": LINEAR_REC709,
    "raw": "Raw",
    "srgb": SRGB,
    "srgbf": SRGB,
    "output - srgb": "sRGB - Display",
    "rec709": CAMERA_REC709,
    "bt709": CAMERA_REC709,
    "output - rec.709": "Rec.1886 Rec.709 - Display",
    "bt1886": "Rec.1886 Rec.709 - Display",
    "gamma1.8": "g18_rec709_tx",
    "gamma2.2": "g22_rec709_tx",
    "gamma2.4": "g24_rec709_tx",
    "rec2020": "Linear Rec.2020",
    "alexav3logc": "ARRI LogC3 (EI800)",
    "logc": "ARRI LogC3 (EI800)",
    "logc3": "ARRI LogC3 (EI800)",
    "arrilogc3": "ARRI LogC3 (EI800)",
    "logc4": "ARRI LogC4",
    "arrilogc4": "ARRI LogC4",
    "slog3": "S-Log3 S-Gamut3.Cine",
    "log3g10": "Log3G10 REDWideGamutRGB",
    "vlog": "V-Log V-Gamut",
    "applelog": "Apple Log",
}
"""Nuke's default names (lower case) and other short ones. Nuke's ``AlexaV3LogC`` and the like are curves alone; here
they bring their camera's primaries with them, because that is what such footage has."""

OCIO_ERRORS = (ocio.Exception, ocio.ExceptionMissingFile)
"""In Python, the second is no subclass of the first."""

_NEAR_MATCHES = 5


def resolve_colourspace(name: str) -> str:
    """Return the canonical name of a colourspace.

    Understood are names, aliases and roles of the configurations, without regard to case, and what Nuke's knobs show:
    ``default (sRGB)``, ``scene_linear (ACES - ACEScg)``, ``ACES/ACEScg``.

    Raises:
        ColourspaceError: no configuration knows it; says which names are near.
    """
    for candidate in _readings(name):
        for known in (candidate, NUKE_NAMES.get(candidate.casefold(), "")):
            for config in configurations():
                canonical = known and config.getCanonicalName(known)
                if canonical:
                    return str(canonical)
    names = _all_names()
    near = difflib.get_close_matches(name.casefold(), names, n=_NEAR_MATCHES, cutoff=0.6)
    near_names = ", ".join(repr(choice) for choice in dict.fromkeys(names[match] for match in near))
    advice = f"did you mean {near_names}?" if near else "choose one of the OCIO configuration's names, or 'auto'"
    raise ColourspaceError(f"the plate's colourspace {name!r} is unknown{_where()}; {advice}")


def scene_linear() -> str:
    """Return what floats without a word on their colour are in.

    The studio's scene-linear role where ``$OCIO`` is set, else linear Rec. 709, as the OpenEXR specification says.
    """
    *studio, _ = configurations()
    if studio and studio[0].hasRole(ocio.ROLE_SCENE_LINEAR):
        return str(studio[0].getCanonicalName(ocio.ROLE_SCENE_LINEAR))
    return LINEAR_REC709


def configurations() -> tuple[ocio.Config, ...]:
    """Return the studio's configuration, if any, and the bundled one.

    Raises:
        ColourspaceError: ``$OCIO`` names a configuration that cannot be loaded.
    """
    studio = os.environ.get("OCIO", "").strip()
    return (_load(studio), bundled_configuration()) if studio else (bundled_configuration(),)


@lru_cache(maxsize=1)
def bundled_configuration() -> ocio.Config:
    """Return OpenColorIO's ACES studio configuration with Cineon added."""
    config = copy.deepcopy(ocio.Config.CreateFromBuiltinConfig("studio-config-latest"))
    config.addColorSpace(_cineon())
    return config


@lru_cache(maxsize=4)
def _load(path: str) -> ocio.Config:
    try:
        return ocio.Config.CreateFromFile(path)
    except OCIO_ERRORS as error:
        raise ColourspaceError(
            f"the OCIO configuration {path} cannot be loaded ({error}); correct or unset $OCIO"
        ) from error


def _cineon() -> ocio.ColorSpace:
    """Kodak's Cineon: 685 of 1023 is white (1.0), 95 is black (0.0), 300 code values to a factor of ten.

    Source: Kodak, "Conversion of 10-bit log film data to 8-bit linear or video data" (1995): 0.002 density a code
    value over a negative gamma of 0.6. Nuke reads DPX with the same numbers.
    """
    black = math.pow(10.0, (95 - 685) / 300)
    to_log = ocio.LogAffineTransform(
        logSideSlope=[300 / 1023] * 3,
        logSideOffset=[685 / 1023] * 3,
        linSideSlope=[1.0 - black] * 3,
        linSideOffset=[black] * 3,
        direction=ocio.TRANSFORM_DIR_INVERSE,
    )
    to_log.setBase(10.0)
    space = ocio.ColorSpace(ocio.REFERENCE_SPACE_SCENE, CINEON, aliases=["KodakLog", "cineon_rec709"], family="Nuke")
    to_reference = ocio.GroupTransform([to_log, ocio.ColorSpaceTransform(LINEAR_REC709, "aces_interchange")])
    space.setTransform(to_reference, ocio.COLORSPACE_DIR_TO_REFERENCE)
    return space


def _readings(name: str) -> Iterator[str]:
    """Yield the name itself, then what it may mean as the text of a Nuke knob."""
    name = name.strip()
    yield name
    bracketed = re.fullmatch(r"(?:Roles/)?[a-z0-9_]+ \((?P<inner>.+)\)", name)
    inner = bracketed["inner"] if bracketed else name
    yield inner
    yield inner.rpartition("/")[2].strip()


def _all_names() -> dict[str, str]:
    """Every name that is understood: case-folded to how it is written."""
    names: dict[str, str] = {}
    for config in configurations():
        for space in config.getColorSpaces():
            for name in (space.getName(), *space.getAliases()):
                names.setdefault(name.casefold(), name)
    for name, meaning in NUKE_NAMES.items():
        names.setdefault(name, meaning)
    return names


def _where() -> str:
    return f" to the OCIO configuration {os.environ['OCIO']}" if len(configurations()) > 1 else ""
