"""What the generator's shots contain, and its pieces by hand-worked numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rotomem.errors import SettingError
from rotomem.training.synthetic import generate_batch, load_photographs, write_contact_sheet
from rotomem.training.synthetic.camera import compress_jpeg, record, sample_recording, without_effects
from rotomem.training.synthetic.cast import Slot, order_layers, sample_cast
from rotomem.training.synthetic.distance import canonical_grid, signed_distance
from rotomem.training.synthetic.draws import Draws
from rotomem.training.synthetic.mosaic import Mosaic, procedural_fields
from rotomem.training.synthetic.shapes import HOLES, OUTLINE_POINTS, STROKE_PIECES, Silhouette
from rotomem.training.synthetic.sheet import flow_colours
from rotomem.training.synthetic.textures import to_display, to_linear
from rotomem.training.synthetic.warp import CONTROL_SIDE, TABLE_NODES, Deformation, build_tables


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """On pictures this small, threads that wait for each other cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_draws_are_uniform_and_belong_to_seed_and_name() -> None:
    many = Draws(range(2000)).uniform("x", 2.0, 4.0, (3,))
    assert many.shape == (2000, 3)
    assert many.min() >= 2.0
    assert many.max() < 4.0
    # The mean of 2000 uniform numbers of width 2 has a standard deviation of 0.013.
    assert np.abs(many.mean(0) - 3.0).max() < 0.06
    assert np.array_equal(Draws([7]).uniform("x", 2.0, 4.0, (3,))[0], many[7])
    assert not np.isin(Draws([7]).uniform("y", 2.0, 4.0, (3,)), many).any()


def test_choices_come_as_often_as_their_weights() -> None:
    choice = Draws(range(4000)).choose("kind", (1.0, 2.0, 1.0))
    assert np.abs(np.bincount(choice) / 4000 - [0.25, 0.5, 0.25]).max() < 0.03


def test_casts_have_two_to_six_sprites_above_one_background() -> None:
    cast = sample_cast(Draws(range(300)), 1.0, 2)
    layers = order_layers(cast)
    assert (layers.slot[layers.rank == 0] == Slot.BACKGROUND).all()
    sprites = cast.active[:, Slot.HERO :].sum(1)
    assert sprites.min() == 2
    assert sprites.max() == 6
    depth = cast.inverse_depth[layers.shot, layers.slot]
    assert (np.diff(depth)[np.diff(layers.shot) == 0] > 0).all()


def test_every_kind_of_target_occurs() -> None:
    share = sample_cast(Draws(range(600)), 1.0, 2).share[:, :, 0]
    part, whole = share[..., 1] == 1, share[..., 0] == 1
    assert part[:, Slot.HERO].mean() > 0.2
    assert part[:, Slot.BACKGROUND].mean() > 0.01
    assert (whole[:, Slot.LIMB_A] & ~whole[:, Slot.HERO]).mean() > 0.03
    assert whole[:, Slot.HERO].mean() > 0.3


def test_targets_leave_return_and_hide() -> None:
    shots = generate_batch(range(48), frames=5, height=32, width=32)
    present = shots.present[:, :, 0]
    assert present.any(1).float().mean() > 0.95
    gone = ~present
    returned = (present[:, :-2] & gone[:, 1:-1]).any(1) & (gone[:, 1:-1] & present[:, 2:]).any(1)
    assert gone.any(1).sum() >= 3
    assert returned.sum() >= 1
    modal, amodal = shots.alpha_modal[:, :, 0].sum((-2, -1)), shots.alpha_amodal[:, :, 0].sum((-2, -1))
    assert ((modal < 0.6 * amodal) & (amodal > 10)).any(1).sum() >= 3


def test_easy_shots_move_less_than_hard_ones() -> None:
    speeds = [
        generate_batch(range(24), frames=2, height=32, width=32, difficulty=d).flow_forward[:, 0].norm(dim=1).mean()
        for d in (0.0, 1.0)
    ]
    assert speeds[0] < 0.5 * speeds[1]


def test_thin_plate_passes_through_its_control_points() -> None:
    sway = np.zeros((1, 2, 2, CONTROL_SIDE**2))
    sway[0, 0, 0, 5], sway[0, 0, 1, 5] = 0.1, -0.05
    still = Deformation(
        sway=sway.reshape(1, 2, -1),
        wave=np.zeros((1, 2, 2)),
        wave_vector=np.ones((1, 2, 2)),
        bend=np.zeros(1),
        rate=np.zeros((1, 5)),
        phase=np.full((1, 5), np.pi / 2),
    )
    # Control point 5 is (-1.1 / 3, -1.1 / 3); this placement puts the picture's first pixel centre there.
    corner = -1.1 / 3
    to_canonical = torch.tensor([[1.0, 0, corner + 63 / 64], [0, 1, corner + 63 / 64], [0, 0, 1]])[None, None]
    table = build_tables(to_canonical, still, torch.zeros(1, 1), height=64, width=64)
    assert table.shape == (1, 1, 2, TABLE_NODES, TABLE_NODES)
    assert table[0, 0, :, 0, 0] == pytest.approx([corner + 0.1, corner - 0.05], abs=1e-3)


def test_distance_to_a_square_with_a_hole_and_a_stroke() -> None:
    square = np.repeat([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], OUTLINE_POINTS // 4, 0)
    hole = np.zeros((1, HOLES, 3))
    hole[0, 0] = (0.0, 0.0, 0.2)
    stroke = np.tile([[0.5, 0.0], [0.9, 0.0]], (1, STROKE_PIECES, 1, 1))
    shape = Silhouette(
        outline=square[None],
        filled=np.array([True]),
        stroke=stroke,
        thickness=np.full((1, STROKE_PIECES, 2), 0.1),
        hole=hole,
        lattice=np.zeros((1, 4)),
        rough=np.zeros((1, 3)),
    )
    distance = signed_distance(shape, side=81, noise=procedural_fields("cpu"))[0]
    x, y = canonical_grid(81, 81, torch.device("cpu"))

    def at(column: float, row: float) -> float:
        return float(distance[((x - column).abs() < 1e-4) & ((y - row).abs() < 1e-4)])

    assert at(-0.8, 0.0) == pytest.approx(0.3, abs=0.02)
    assert at(0.0, 0.3) == pytest.approx(-0.1, abs=0.02)
    assert at(0.0, 0.0) == pytest.approx(0.2, abs=0.02)
    assert at(0.8, 0.0) == pytest.approx(-0.1, abs=0.02)
    assert at(0.8, 0.3) == pytest.approx(0.2, abs=0.02)


def test_srgb_curve_has_its_published_values() -> None:
    # IEC 61966-2-1: half is 0.214041 in linear light.
    assert float(to_linear(torch.tensor(0.5))) == pytest.approx(0.214041, abs=1e-6)
    ramp = torch.linspace(0, 1, 101)
    assert torch.allclose(to_display(to_linear(ramp)), ramp, atol=2e-5)


def test_jpeg_keeps_flat_colour_and_loses_more_at_low_quality() -> None:
    grey = torch.full((1, 3, 24, 40), 128 / 255)
    assert torch.allclose(compress_jpeg(grey, torch.tensor([5.0])), grey, atol=1e-4)
    rng = torch.Generator().manual_seed(1)
    noisy = torch.rand(1, 1, 24, 40, generator=rng).expand(1, 3, 24, 40)
    losses = [float((compress_jpeg(noisy, torch.tensor([q])) - noisy).abs().mean()) for q in (100.0, 50.0, 5.0)]
    assert losses[0] < 0.005
    assert losses[0] < losses[1] < losses[2]


def test_opencv_loses_as_much_by_jpeg_as_we_do() -> None:
    ramp = np.linspace(0, 4 * np.pi, 64)
    wave = 0.5 + 0.2 * np.sin(ramp)[None] * np.cos(1.3 * ramp)[:, None]
    picture = np.stack([wave, 0.8 * wave, 0.6 * wave], -1)
    coded = cv2.imencode(".jpg", np.round(picture[..., ::-1] * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 30])
    theirs = cv2.imdecode(coded[1], cv2.IMREAD_COLOR)[..., ::-1] / 255
    source = torch.as_tensor(picture, dtype=torch.float32).movedim(-1, 0)[None]
    ours = compress_jpeg(source, torch.tensor([30.0]))[0].movedim(0, -1).numpy()
    assert np.abs(ours - picture).mean() == pytest.approx(np.abs(theirs - picture).mean(), rel=0.15)
    assert np.abs(ours - theirs).mean() < 0.5 * np.abs(theirs - picture).mean()


def test_a_log_curve_is_flat_between_a_tenth_and_nine_tenths() -> None:
    clean = vars(without_effects(sample_recording(Draws([0]), 1, 1.0)))
    recording = type(sample_recording(Draws([0]), 1, 1.0))(**{**clean, "log_curve": np.array([50.0])})
    linear = torch.tensor([0.0, 1.0, 0.18])[:, None, None, None, None].expand(3, 1, 3, 4, 4)
    for value, encoded in zip(linear, (0.1, 0.9, 0.1 + 0.8 * np.log1p(9) / np.log1p(50)), strict=True):
        assert float(record(value[None].clone(), recording).mean()) == pytest.approx(encoded, abs=1e-5)


def test_mosaic_tiles_repeat_or_mirror_and_never_bleed() -> None:
    tiles = torch.stack([torch.full((1, 4, 4), 0.2), torch.arange(16.0).view(1, 4, 4)])
    place = torch.tensor([[3.0, 4.0, 4.5]])[None]
    position = torch.stack([place, torch.ones_like(place)], 1)[:, :, 0][:, :, None]
    periodic = Mosaic(tiles, mirrored=False).sample(torch.tensor([1]), position)
    assert periodic.flatten().tolist() == pytest.approx([7.0, 4.0, 4.5], abs=1e-4)
    mirrored = Mosaic(tiles, mirrored=True).sample(torch.tensor([1]), position)
    assert mirrored.flatten().tolist() == pytest.approx([7.0, 6.0, 5.5], abs=1e-4)
    low = torch.full((1, 2, 1, 3), 3.9)
    assert Mosaic(tiles, mirrored=False).sample(torch.tensor([0]), low).max() == pytest.approx(0.2)


def test_photographs_are_turned_to_one_format(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((40, 60, 3), (255, 0, 0), np.uint8))
    cv2.imwrite(str(tmp_path / "tall.png"), np.full((60, 40, 3), (0, 0, 255), np.uint8))
    photographs = load_photographs(tmp_path, tile_height=32)
    assert (photographs.count, photographs.channels, photographs.tile_height) == (2, 3, 32)
    colour = photographs.sample(torch.tensor([0, 1]), torch.full((2, 2, 1, 1), 5.0))[..., 0, 0]
    assert colour.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    pictures = generate_batch([1, 2], frames=1, height=48, width=48, photographs=photographs).rgb
    assert pictures.isfinite().all()


def test_an_empty_textures_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"no \.jpg or \.png"):
        load_photographs(tmp_path)


def test_flow_colours_are_white_at_rest_and_red_to_the_left() -> None:
    flow = torch.zeros(1, 2, 1, 2)
    flow[0, 0, 0, 1] = -5.0
    colours = flow_colours(flow, full_px=5.0)[0, :, 0]
    assert colours[:, 0].tolist() == [1.0, 1.0, 1.0]
    assert colours[:, 1].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-4)


def test_contact_sheet_has_five_rows_per_shot(tmp_path: Path) -> None:
    file = write_contact_sheet(tmp_path / "sheet.png", [0, 1, 2], frames=2, size=48, columns=2)
    sheet = cv2.imread(str(file))
    # Two shots beside each other, two frames of 64 pixels each, and a gap of 6; two lines of five rows of 48.
    assert sheet.shape == (2 * (5 * 48 + 6), 2 * (2 * 64 + 6), 3)
    assert sheet.std() > 20


def test_generating_loads_neither_plates_nor_wire() -> None:
    code = (
        "import sys; from rotomem.training.synthetic import generate_batch; "
        "generate_batch([1], frames=1, height=32, width=32); "
        "print(sorted({'OpenImageIO', 'zmq', 'msgpack'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
