"""The network sees the same picture, however the plate is encoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotomem.errors import ColourspaceError
from rotomem.plates import encode_srgb, network_image, network_rgb, read_plate_frame, resolve_colourspace, roll_off

REC709_TO_ACESCG = np.array(
    [
        [0.6130974024, 0.3395231462, 0.0473794514],
        [0.0701937225, 0.9163538791, 0.0134523985],
        [0.0206155929, 0.1095697729, 0.8698146342],
    ]
)
"""ACES TB-2014-004 (AP1) with the Bradford adaptation from D65; each row adds up to 1."""

ACESCG = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)
ACES2065_1 = (0.7347, 0.2653, 0.0, 1.0, 0.0001, -0.077, 0.32168, 0.33767)


def encode_acescct(linear: np.ndarray) -> np.ndarray:
    """ACES S-2016-001."""
    return np.where(
        linear <= 0.0078125,
        10.5402377416545 * linear + 0.0729055341958355,
        (np.log2(np.maximum(linear, 1e-9)) + 9.72) / 17.52,
    )


def encode_cineon(linear: np.ndarray) -> np.ndarray:
    """Kodak: 685 is white, 95 is black, 300 code values a decade."""
    black = 10 ** ((95 - 685) / 300)
    return (685 + 300 * np.log10(linear * (1 - black) + black)) / 1023


def encode_camera_rec709(linear: np.ndarray) -> np.ndarray:
    """ITU-R BT.709-6, item 1.2."""
    return np.where(linear < 0.018, 4.5 * linear, 1.099 * np.power(np.maximum(linear, 0), 0.45) - 0.099)


@pytest.fixture
def scene() -> np.ndarray:
    """(60, 80, 3) linear Rec. 709 in [0.01, 0.78]: ramps in every direction of colour, below the shoulder."""
    y, x = np.mgrid[:60, :80].astype(np.float64)
    pixels = np.stack([x / 79, y / 59, (79 - x + y) / 138], axis=2)
    return 0.01 + 0.77 * pixels**2


@pytest.fixture
def expected(scene: np.ndarray) -> np.ndarray:
    return encode_srgb(scene)


@pytest.mark.parametrize(
    ("name", "sample", "colourspace", "encode", "attributes"),
    [
        ("linear.exr", "half", "auto", lambda v: v, {}),
        ("acescg.exr", "half", "auto", lambda v: v @ REC709_TO_ACESCG.T, {"chromaticities": ACESCG}),
        ("acescg.exr", "half", "ACES - ACEScg", lambda v: v @ REC709_TO_ACESCG.T, {}),
        ("acescg.exr", "half", "scene_linear (ACES - ACEScg)", lambda v: v @ REC709_TO_ACESCG.T, {}),
        ("acescct.exr", "half", "acescct", lambda v: encode_acescct(v @ REC709_TO_ACESCG.T), {}),
        ("log.dpx", "uint16", "auto", encode_cineon, {"oiio__BitsPerSample": 10}),
        ("log.dpx", "uint16", "default (Cineon)", encode_cineon, {"oiio__BitsPerSample": 10}),
        ("linear.dpx", "uint16", "auto", lambda v: v, {"dpx__Transfer": "Linear"}),
        ("video.dpx", "uint16", "auto", encode_camera_rec709, {"dpx__Transfer": "ITU-R 709-4"}),
        ("display.png", "uint8", "auto", encode_srgb, {}),
        ("display.tif", "uint8", "auto", encode_srgb, {}),
        ("display.jpg", "uint8", "auto", encode_srgb, {"compression": "jpeg:100"}),
        ("display.exr", "half", "sRGB", encode_srgb, {}),
        ("display.png", "uint16", "rec709", encode_camera_rec709, {}),
        ("display.png", "uint16", "Gamma2.2", lambda v: v ** (1 / 2.2), {}),
        ("linear.tif", "float", "auto", lambda v: v, {}),
        ("linear.tif", "uint16", "linear", lambda v: v, {}),
    ],
)
def test_one_scene_gives_one_network_image(
    tmp_path: Path, write_image, scene, expected, name, sample, colourspace, encode, attributes
) -> None:
    path = write_image(tmp_path / name, encode(scene).astype(np.float32), sample=sample, **attributes)
    image = network_rgb(read_plate_frame(path, 1, colourspace=colourspace))
    assert image.dtype == np.float32
    difference = np.abs(image - expected)
    assert difference.mean() < 0.004
    # One half-float or 10-bit step of a log code is most visible in the darkest channel of a saturated colour.
    assert difference.max() < (0.04 if name.endswith("jpg") else 0.02)


@pytest.mark.parametrize(
    ("colourspace", "code"),
    [
        ("AlexaV3LogC", 0.391007),  # ARRI, "ALEXA Log C Curve" (2012): 18 % grey at EI 800.
        ("ARRI LogC3 (EI800)", 0.391007),
        ("LogC4", 0.278396),  # ARRI, "LogC4 Specification" (2022).
        ("SLog3", 420 / 1023),  # Sony, "Technical Summary for S-Gamut3.Cine/S-Log3".
        ("Log3G10", 1 / 3),  # RED, "REDWideGamutRGB and Log3G10".
        ("ACEScct", 0.413588),
        ("ACES2065-1", 0.18),
        ("Cineon", (685 + 300 * np.log10(0.18 * (1 - 10 ** (-590 / 300)) + 10 ** (-590 / 300))) / 1023),
    ],
)
def test_mid_grey_of_each_camera_is_mid_grey(colourspace: str, code: float) -> None:
    grey = network_image(np.full((2, 2, 3), code, np.float32), colourspace)
    np.testing.assert_allclose(grey, 0.4614, atol=0.002)  # sRGB of 0.18.


def test_the_shoulder_leaves_mid_tones_and_compresses_highlights() -> None:
    values = np.array([0.0, 0.18, 0.5, 0.8])
    np.testing.assert_array_equal(roll_off(values), values)
    # By hand: 0.8 + 0.2 t / (1 + t) with t = (x - 0.8) / 0.2 = 1, 6, 76.
    np.testing.assert_allclose(roll_off([1.0, 2.0, 16.0]), [0.9, 0.8 + 0.2 * 6 / 7, 0.8 + 0.2 * 76 / 77], rtol=1e-12)
    step = 1e-6
    slope = (roll_off(0.8 + step) - roll_off(0.8)) / step
    assert slope == pytest.approx(1.0, abs=1e-4)


@given(st.floats(0.0, 60000.0), st.floats(1e-3, 1.0))
def test_the_shoulder_never_turns_around(value: float, factor: float) -> None:
    brighter = value * (1 + factor) + 1e-3
    assert roll_off(value) < roll_off(brighter) < 1.0


def test_hdr_highlights_stay_apart_and_below_one() -> None:
    ramp = np.array([0.5, 1.0, 2.0, 4.0, 8.0, 16.0], np.float32)
    image = network_image(np.repeat(ramp[None, :, None], 3, axis=2), "linear")
    np.testing.assert_allclose(image[0, :, 0], encode_srgb(roll_off(ramp)), atol=3e-4)
    assert (np.diff(image[0, :, 0]) > 1e-3).all()
    assert image.max() < 1.0


def test_negative_values_become_black() -> None:
    # A pure ACEScg green has negative red and blue in Rec. 709.
    image = network_image(np.array([[[0.0, 0.5, 0.0], [-0.1, -0.1, -0.1]]], np.float32), "ACEScg")
    assert image[0, 0, 0] == 0.0
    assert image[0, 0, 1] > 0.7
    assert (image[0, 1] == 0.0).all()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
@pytest.mark.parametrize("colourspace", ["linear", "ACEScg", "ACEScct", "Cineon", "sRGB"])
def test_any_finite_pixel_gives_a_value_in_0_to_1(colourspace: str, pixel: list[float]) -> None:
    image = network_image(np.array(pixel, np.float32).reshape(1, 1, 3), colourspace)
    assert ((image >= 0.0) & (image <= 1.0)).all()


def test_the_plates_pixels_are_not_changed() -> None:
    pixels = np.full((2, 2, 3), 0.5, np.float32)
    network_image(pixels, "ACEScct")
    assert (pixels == 0.5).all()


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("acescg", "ACEScg"),
        ("lin_ap1", "ACEScg"),
        ("ACES/ACEScg", "ACEScg"),
        ("default (sRGB)", "sRGB"),
        ("scene_linear", "ACEScg"),
        ("default (scene_linear)", "ACEScg"),
        ("Input - ARRI - V3 LogC (EI800) - Wide Gamut", "ARRI LogC3 (EI800)"),
        ("linear", "Linear Rec.709 (sRGB)"),
        ("KodakLog", "Cineon"),
        ("Output - Rec.709", "Rec.1886 Rec.709 - Display"),
    ],
)
def test_nukes_names_are_understood(name: str, canonical: str) -> None:
    assert resolve_colourspace(name) == resolve_colourspace(canonical)
    assert resolve_colourspace(resolve_colourspace(name)) == resolve_colourspace(name)


def test_an_unknown_colourspace_is_named_with_near_ones(tmp_path: Path, write_image, scene) -> None:
    path = write_image(tmp_path / "p.exr", scene.astype(np.float32))
    with pytest.raises(ColourspaceError, match="colourspace 'ACEScgg' is unknown; did you mean 'ACEScg'"):
        read_plate_frame(path, 1, colourspace="ACEScgg")
    with pytest.raises(ColourspaceError, match=r"'!!!' is unknown; choose one of .* or 'auto'"):
        resolve_colourspace("!!!")


@pytest.mark.parametrize(
    ("attributes", "canonical"),
    [
        ({}, "Linear Rec.709 (sRGB)"),
        ({"chromaticities": ACESCG}, "ACEScg"),
        ({"chromaticities": ACES2065_1}, "ACES2065-1"),
        ({"oiio__ColorSpace": "ACEScg"}, "ACEScg"),
        ({"acesImageContainerFlag": 1, "compression": "none"}, "ACES2065-1"),
        ({"chromaticities": (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.313, 0.329)}, "Linear Rec.709 (sRGB)"),
    ],
)
def test_an_exrs_metadata_tells_its_colourspace(
    tmp_path: Path, write_image, scene, attributes: dict[str, object], canonical: str
) -> None:
    frame = read_plate_frame(write_image(tmp_path / "p.exr", scene.astype(np.float32), **attributes), 1)
    assert frame.colourspace == canonical
    assert frame.warnings == ()


def test_unknown_chromaticities_are_doubted_aloud(tmp_path: Path, write_image, scene) -> None:
    odd = (0.6, 0.35, 0.3, 0.6, 0.15, 0.1, 0.3127, 0.329)
    frame = read_plate_frame(write_image(tmp_path / "p.exr", scene.astype(np.float32), chromaticities=odd), 1)
    assert frame.colourspace == "Linear Rec.709 (sRGB)"
    assert "chromaticities (red at 0.600, 0.350) are of no known colourspace" in frame.warnings[0]


def test_the_studios_configuration_comes_first_and_the_bundled_one_helps_out(
    tmp_path: Path, write_image, scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCIO", "ocio://cg-config-v1.0.0_aces-v1.3_ocio-v2.1")
    path = write_image(tmp_path / "p.exr", (scene @ REC709_TO_ACESCG.T).astype(np.float32))
    frame = read_plate_frame(path, 1)
    assert frame.colourspace == "ACEScg"  # Its role scene_linear.
    np.testing.assert_allclose(network_rgb(frame), encode_srgb(scene), atol=0.002)
    assert resolve_colourspace("LogC4") == "ARRI LogC4"  # That configuration has no camera spaces.
    with pytest.raises(ColourspaceError, match="unknown to the OCIO configuration ocio://cg-config"):
        resolve_colourspace("nonsense")


OCIO_1_CONFIG = """ocio_profile_version: 1
search_path: luts
roles: {default: linear, reference: linear, scene_linear: linear}
displays: {default: [!<View> {name: raw, colorspace: linear}]}
active_displays: [default]
active_views: [raw]
colorspaces:
  - !<ColorSpace> {name: linear, family: linear, bitdepth: 32f, isdata: false}
  - !<ColorSpace>
    name: show_log
    bitdepth: 32f
    isdata: false
    to_reference: !<ExponentTransform> {value: [2, 2, 2, 1]}
"""


def test_a_configuration_from_before_ocio_2_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.ocio").write_text(OCIO_1_CONFIG)
    monkeypatch.setenv("OCIO", str(tmp_path / "config.ocio"))
    image = network_image(np.full((1, 1, 3), 0.5, np.float32), "show_log")
    np.testing.assert_allclose(image, encode_srgb(0.25), atol=3e-4)


def test_a_broken_studio_configuration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCIO", str(tmp_path / "none.ocio"))
    with pytest.raises(ColourspaceError, match=r"the OCIO configuration .*none\.ocio cannot be loaded .*\$OCIO"):
        resolve_colourspace("sRGB")
