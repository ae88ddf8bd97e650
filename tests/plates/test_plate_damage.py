"""Files that are not what their name says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest

from rotomem.errors import PlateUnreadableError
from rotomem.plates import read_alpha, read_plate_frame

FORMATS = [
    ("p.exr", "half", {"compression": "zip"}),
    ("p.exr", "half", {"compression": "none"}),
    ("p.exr", "half", {"compression": "piz", "tile_width": 32, "tile_height": 32}),
    ("p.dpx", "uint16", {"oiio__BitsPerSample": 10}),
    ("p.tif", "uint16", {}),
    ("p.png", "uint8", {}),
    ("p.jpg", "uint8", {}),
]


@pytest.mark.parametrize(("name", "sample", "attributes"), FORMATS)
@pytest.mark.parametrize("kept", [0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused_naming_frame_and_file(
    tmp_path: Path, write_image, name: str, sample: str, attributes: dict[str, object], kept: float
) -> None:
    random = np.random.default_rng(1)
    path = write_image(tmp_path / name, random.random((96, 128, 3), np.float32), sample=sample, **attributes)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(PlateUnreadableError, match=rf"frame 1005: .*{name} .*; .*(render or copy it again)"):
        read_plate_frame(path, 1005)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.exr").touch()
    with pytest.raises(PlateUnreadableError, match=r"frame 1: .*p\.exr is empty \(0 bytes\)"):
        read_plate_frame(tmp_path / "p.exr", 1)


def test_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "p.exr").write_text("not an image at all" * 100)
    with pytest.raises(PlateUnreadableError, match=r"frame 1: .*p\.exr is not an image that can be read"):
        read_plate_frame(tmp_path / "p.exr", 1)


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "p.exr").mkdir()
    with pytest.raises(PlateUnreadableError, match=r"frame 1: .*p\.exr cannot be opened: Is a directory"):
        read_alpha(tmp_path / "p.exr", 1)


def test_a_deep_exr_is_refused_with_what_to_do(tmp_path: Path) -> None:
    spec = oiio.ImageSpec(4, 4, 5, "float")
    spec.channelnames = ("R", "G", "B", "A", "Z")
    spec.deep = True
    deep = oiio.DeepData()
    deep.init(16, 5, [oiio.TypeFloat] * 5, list(spec.channelnames))
    output = oiio.ImageOutput.create("d.exr")
    assert output.open(str(tmp_path / "d.exr"), spec)
    assert output.write_deep_image(deep)
    assert output.close()
    with pytest.raises(PlateUnreadableError, match=r"frame 3: .*d\.exr is a deep image; flatten it"):
        read_plate_frame(tmp_path / "d.exr", 3)


def test_a_header_that_asks_for_absurd_memory_is_refused(tmp_path: Path, write_image) -> None:
    path = write_image(tmp_path / "p.exr", np.ones((4, 4, 3), np.float32), window=(0, 0, 30000, 30000))
    with pytest.raises(PlateUnreadableError, match=r"frame 1: .*says that it is 30000x30000 pixels"):
        read_plate_frame(path, 1)


def test_a_flipped_byte_in_compressed_pixels_is_found(tmp_path: Path, write_image) -> None:
    random = np.random.default_rng(1)
    path = write_image(tmp_path / "p.exr", random.random((64, 64, 3), np.float32), compression="zip")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(PlateUnreadableError, match=r"frame 1: .*cannot be decoded"):
        read_plate_frame(path, 1)
